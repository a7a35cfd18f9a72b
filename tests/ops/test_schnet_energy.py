import math

import pytest
import torch

from backmap.ops import reference, schnet_energy

CUTOFF = 0.9
TABLES = ["features", "filters", "incoming", "mixing", "mixing_bias", "outgoing", "outgoing_bias", "readout",
          "readout_bias", "readout_weights"]  # fmt: skip


def network(beads=6, width=9, hidden=5, blocks=2, knots=12, dtype=torch.float64):
    """Random layers, and filters that fall smoothly to zero at the cutoff."""

    def random(*shape):
        return torch.randn(*shape, dtype=dtype)

    at = torch.linspace(0, 1, knots, dtype=dtype)[:, None]
    wave, phase = 4 * random(blocks, 1, width), random(blocks, 1, width)
    values = (1 - at) ** 2 * torch.cos(wave * at + phase)
    slopes = -2 * (1 - at) * torch.cos(wave * at + phase) - (1 - at) ** 2 * wave * torch.sin(
        wave * at + phase
    )
    layers = [random(blocks, width, width) / math.sqrt(width) for _ in range(3)]
    return [
        random(beads, width),
        torch.stack([values, slopes / CUTOFF], dim=2),
        layers[0],
        layers[1],
        random(blocks, width),
        layers[2],
        random(blocks, width),
        random(hidden, width) / math.sqrt(width),
        random(hidden),
        random(hidden),
    ]


def scattered_beads(*batch, beads=6, dtype=torch.float64):
    return 0.3 * torch.randn(*batch, beads, 3, dtype=dtype)


def evaluate(beads, tables, cutoff_nm=CUTOFF):
    return schnet_energy(beads, **dict(zip(TABLES, tables, strict=True)), cutoff_nm=cutoff_nm)


@pytest.mark.parametrize("batch", [(), (3,), (2, 20)])
@pytest.mark.parametrize(
    "beads, width, hidden, blocks", [(6, 32, 16, 2), (10, 9, 3, 3), (1, 8, 4, 1), (40, 5, 2, 1)]
)
def test_matches_reference(batch, beads, width, hidden, blocks):
    tables = network(beads, width, hidden, blocks)
    x = scattered_beads(*batch, beads=beads)
    for actual, expected in zip(
        evaluate(x, tables), reference.schnet_energy(x, *tables, CUTOFF), strict=True
    ):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("knots", [2, 3, 60])
def test_gradient_is_that_of_the_energy(knots):
    """Of the interpolated filters: also where they are coarse."""
    tables = network(knots=knots)
    x = scattered_beads(200)
    _, gradient = evaluate(x, tables)
    direction = torch.randn_like(x)
    step = 1e-6
    there, back = (evaluate(x + sign * step * direction, tables)[0] for sign in (1, -1))
    slope = (gradient * direction).sum((1, 2))
    torch.testing.assert_close((there - back) / (2 * step), slope, rtol=1e-5, atol=1e-4)


def test_single_precision():
    tables = network(10, 32, 16)
    x = scattered_beads(50, beads=10)
    exact = evaluate(x, tables)
    for single, double in zip(evaluate(x.float(), [t.float() for t in tables]), exact, strict=True):
        assert single.dtype == torch.float32
        assert (single - double).abs().max() < 1e-5 * double.abs().max()


def test_one_block_of_one_feature_as_written():
    """Two beads, a filter that is a straight line, and layers that are numbers."""
    r, slope = 0.25, -1 / CUTOFF
    filters = torch.tensor([[[[1.0], [slope]], [[0.0], [slope]]]], dtype=torch.float64)
    numbers = {name: torch.full(shape, value, dtype=torch.float64) for name, shape, value in (
        ("incoming", (1, 1, 1), 2.0), ("mixing", (1, 1, 1), 0.5), ("mixing_bias", (1, 1), 0.1),
        ("outgoing", (1, 1, 1), 3.0), ("outgoing_bias", (1, 1), -0.2), ("readout", (1, 1), 0.7),
        ("readout_bias", (1,), 0.3), ("readout_weights", (1,), 4.0),
    )}  # fmt: skip
    features = torch.tensor([[0.8], [-0.6]], dtype=torch.float64)
    x = torch.tensor([[0.0, 0, 0], [0, 0, r]], dtype=torch.float64)
    energy, gradient = schnet_energy(x, features, filters, **numbers, cutoff_nm=CUTOFF)

    def s(value):
        return math.log((1 + math.exp(value)) / 2)

    expected = 0.0
    for own, other in ((0.8, -0.6), (-0.6, 0.8)):
        gathered = (1 - math.sqrt(r**2 + 1e-8) / CUTOFF) * 2 * other
        h = own + 3 * s(0.5 * gathered + 0.1) - 0.2
        expected += 4 * s(0.7 * h + 0.3)
    assert energy.item() == pytest.approx(expected, rel=1e-12)
    assert gradient[:, :2].abs().max() == 0 and gradient[0, 2] == -gradient[1, 2] != 0


def test_beads_beyond_the_cutoff_do_not_interact():
    tables = network(beads=2)
    x = torch.zeros(2, 2, 3, dtype=torch.float64)
    x[0, 1, 0], x[1, 1, 1] = CUTOFF, 1e6
    energy, gradient = evaluate(x, tables)
    assert energy[0] == energy[1] and not gradient.any()
    x[0, 1, 0] = 0.99 * CUTOFF
    assert evaluate(x, tables)[1][0].any()


def test_beads_on_top_of_each_other_have_finite_gradients():
    energy, gradient = evaluate(torch.zeros(6, 3), [t.float() for t in network()])
    assert energy.isfinite() and not gradient.any()


def test_large_inputs_of_activations():
    """Where exp(x) overflows or vanishes, the activation is a straight line."""
    tables = network()
    tables[4] = 1e4 * torch.randn_like(tables[4])
    x = scattered_beads(4)
    for actual, expected in zip(
        evaluate(x, tables), reference.schnet_energy(x, *tables, CUTOFF), strict=True
    ):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_coordinates_that_are_not_finite(bad):
    tables = network()
    x = scattered_beads(9)
    expected, expected_gradient = evaluate(x, tables)
    x[4, 2, 1] = bad
    energy, gradient = evaluate(x, tables)
    assert energy[4].isnan() and gradient[4].isnan().all()
    others = torch.arange(9) != 4
    assert torch.equal(energy[others], expected[others])
    assert torch.equal(gradient[others], expected_gradient[others])


@pytest.mark.parametrize("beads", [6, 50])
def test_batches_and_threads_change_nothing(beads):
    tables = [t.float() for t in network(beads, 32, 16)]
    x = scattered_beads(67, beads=beads, dtype=torch.float32)
    threads, expected = torch.get_num_threads(), evaluate(x, tables)
    try:
        for n_threads, part in ((1, 1), (2, 67), (3, 20)):
            torch.set_num_threads(n_threads)
            found = [evaluate(frames, tables) for frames in x.split(part)]
            for actual, wanted in zip(map(torch.cat, zip(*found, strict=True)), expected, strict=True):
                assert torch.equal(actual, wanted)
    finally:
        torch.set_num_threads(threads)


def test_results_have_no_gradient():
    energy, gradient = evaluate(scattered_beads(2).requires_grad_(), network())
    assert not energy.requires_grad and not gradient.requires_grad


@pytest.mark.parametrize(
    "name, change, message",
    [
        ("filters", lambda t: t[:, :1], "filters must have 2 knots or more, got 1"),
        ("features", lambda t: t[:5], r"features must have shape \[6, 9\], got \[5, 9\]"),
        ("readout", lambda t: t[:, :4], r"readout must have shape \[5, 9\], got \[5, 4\]"),
    ],
)
def test_wrong_shapes_are_named(name, change, message):
    tables = network()
    tables[TABLES.index(name)] = change(tables[TABLES.index(name)])
    with pytest.raises(ValueError, match=f"schnet_energy: {message}"):
        evaluate(scattered_beads(2), tables)


def test_cuda_matches_cpu(cuda):
    tables = network(10, 32, 16)
    x = scattered_beads(70, beads=10)
    for actual, expected in zip(
        evaluate(x.to(cuda), [t.to(cuda) for t in tables]), evaluate(x, tables), strict=True
    ):
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-9, atol=1e-9)
