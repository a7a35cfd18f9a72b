import math

import pytest
import torch

from backmap.ops import bead_prior, reference

KT = 2.49
TABLES = ["bonds", "bond_parameters", "angles", "angle_parameters", "torsions", "torsion_polynomials",
          "centres", "centre_parameters", "pairs", "sigma"]  # fmt: skip


def chain(beads=10, dtype=torch.float64):
    """All terms of a chain, with a branch at the second bead."""
    along = torch.arange(beads)

    def random(*shape):
        return torch.rand(*shape, dtype=dtype)

    torsions = torch.stack([along[n : beads - 3 + n] for n in range(4)], 1)
    pairs = torch.triu_indices(beads, beads, 3).T
    return {
        "bonds": torch.stack([along[:-1], along[1:]], 1),
        "bond_parameters": torch.tensor([0.3, 4000.0], dtype=dtype) * (0.9 + 0.2 * random(beads - 1, 2)),
        "angles": torch.stack([along[:-2], along[1:-1], along[2:]], 1),
        "angle_parameters": torch.tensor([1.9, 100.0], dtype=dtype) * (0.9 + 0.2 * random(beads - 2, 2)),
        "torsions": torsions,
        "torsion_polynomials": 8 * random(len(torsions), 2, 4) - 4,
        "centres": torch.tensor([[1, 0, 2, 3], [4, 3, 5, 8]]),
        "centre_parameters": torch.tensor([[0.6, 50.0], [-0.4, 30.0]], dtype=dtype),
        "pairs": pairs,
        "sigma": 0.2 + 0.1 * random(len(pairs)),
    }


def chains(*batch, beads=10, dtype=torch.float64):
    """Crooked chains of beads 0.3 nm apart."""
    steps = torch.randn(*batch, beads, 3, dtype=dtype)
    steps[..., 0] += 1.5
    return (0.3 * steps / steps.norm(dim=-1, keepdim=True)).cumsum(-2)


def none_of(tables):
    return {name: table[:0] for name, table in tables.items()}


@pytest.mark.parametrize("batch", [(), (3,), (2, 20)])
def test_matches_reference(batch):
    x, tables = chains(*batch), chain()
    expected = reference.bead_prior(x, *tables.values(), KT)
    for actual, wanted in zip(bead_prior(x, **tables, kt=KT), expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kept", [["bonds"], ["angles"], ["torsions"], ["centres"], ["pairs"], TABLES])
def test_gradient_is_that_of_the_energy(kept):
    parameters = dict(zip(TABLES[::2], TABLES[1::2], strict=True))
    names = {*kept, *(parameters[name] for name in kept if name in parameters)}
    full = chain()
    tables = {**none_of(full), **{name: full[name] for name in names}}
    x = chains(100)
    energy, gradient = bead_prior(x, **tables, kt=KT)
    assert (energy != 0).all()
    direction, step = torch.randn_like(x), 1e-7
    there, back = (bead_prior(x + sign * step * direction, **tables, kt=KT)[0] for sign in (1, -1))
    slope = (gradient * direction).sum((1, 2))
    scale = gradient.abs().amax((1, 2))
    assert (((there - back) / (2 * step) - slope).abs() < 1e-5 * scale + 1e-4).all()


def test_energies_as_written():
    x = torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0, 0.3, 0], [0, 0, 0.4]], dtype=torch.float64)

    def energy(**tables):
        made = {name: torch.tensor(table) for name, table in tables.items()}
        double = {n: t.double() if t.is_floating_point() else t for n, t in made.items()}
        return bead_prior(x, **{**none_of(chain()), **double}, kt=KT)[0].item()

    assert energy(bonds=[[0, 1]], bond_parameters=[[0.15, 1000.0]]) == pytest.approx(1.25, abs=1e-4)
    right_angle = energy(angles=[[1, 0, 2]], angle_parameters=[[1.0, 10.0]])
    assert right_angle == pytest.approx(5 * (math.pi / 2 - 1) ** 2, rel=1e-9)
    assert energy(centres=[[0, 1, 2, 3]], centre_parameters=[[0.5, 8.0]]) == pytest.approx(1.0, rel=1e-5)
    assert energy(centres=[[0, 2, 1, 3]], centre_parameters=[[0.5, 8.0]]) == pytest.approx(9.0, rel=1e-5)
    assert energy(pairs=[[1, 0]], sigma=[0.4]) == pytest.approx(KT * 2**12, rel=1e-4)


def test_single_precision():
    x, tables = chains(50), chain()
    single = {n: t.float() if t.is_floating_point() else t for n, t in tables.items()}
    for actual, exact in zip(
        bead_prior(x.float(), **single, kt=KT), bead_prior(x, **tables, kt=KT), strict=True
    ):
        assert (actual - exact).abs().max() < 1e-4 * exact.abs().max()


def test_coinciding_beads_have_finite_gradients():
    energy, gradient = bead_prior(torch.zeros(10, 3, dtype=torch.float64), **chain(), kt=KT)
    assert energy.isfinite() and gradient.isfinite().all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_coordinates_that_are_not_finite(bad):
    x, tables = chains(5), chain()
    expected, expected_gradient = bead_prior(x, **tables, kt=KT)
    x[3, 9, 2] = bad
    energy, gradient = bead_prior(x, **tables, kt=KT)
    assert energy[3].isnan() and gradient[3].isnan().all()
    others = torch.arange(5) != 3
    assert torch.equal(energy[others], expected[others])
    assert torch.equal(gradient[others], expected_gradient[others])


def test_batches_and_threads_change_nothing():
    x, tables = chains(67), chain()
    threads, expected = torch.get_num_threads(), bead_prior(x, **tables, kt=KT)
    try:
        for n_threads, part in ((1, 1), (2, 67), (3, 20)):
            torch.set_num_threads(n_threads)
            found = [bead_prior(frames, **tables, kt=KT) for frames in x.split(part)]
            for actual, wanted in zip(map(torch.cat, zip(*found, strict=True)), expected, strict=True):
                assert torch.equal(actual, wanted)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", TABLES[::2])
def test_beads_out_of_range(name):
    tables = chain()
    tables[name] = tables[name].clone()
    tables[name][0, 0] = 10
    with pytest.raises(ValueError, match=rf"bead_prior: {name} must lie in \[0, 10\).*, got 10"):
        bead_prior(chains(), **tables, kt=KT)


def test_cuda_matches_cpu(cuda):
    x, tables = chains(70), chain()
    on_cuda = {name: table.to(cuda) for name, table in tables.items()}
    for actual, expected in zip(
        bead_prior(x.to(cuda), **on_cuda, kt=KT), bead_prior(x, **tables, kt=KT), strict=True
    ):
        torch.testing.assert_close(actual.cpu(), expected, rtol=1e-6, atol=1e-4)
