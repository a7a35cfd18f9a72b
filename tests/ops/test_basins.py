import math

import pytest
import torch

from backmap.ops import find_basins, reference, step_angle

PASSES = {36: 4, 72: 18, 1: 2, 2: 1, 3: 0}
NAMES = {
    "find_basins": [],
    "step_angle": ["before", "rate", "window", "uniforms"],
}


def distributions(kind, batch, bins, dtype):
    """Distributions of one kind, each with a maximum of its own where it has any."""
    middles = (torch.arange(bins, dtype=dtype) + 0.5) / bins * (2 * math.pi) - math.pi
    centre = (2 * torch.rand(*batch, 3, 1, dtype=dtype) - 1) * math.pi
    peaks = torch.exp(60 * (torch.cos(middles - centre) - 1)) * torch.rand(*batch, 3, 1, dtype=dtype)
    shapes = {
        "random": torch.rand(*batch, bins, dtype=dtype),
        "peaked": peaks.sum(dim=-2),
        "across the ends": torch.exp(
            20 * torch.cos(middles - math.pi + 0.1 * torch.rand(*batch, 1, dtype=dtype))
        ),
        "with zeros": torch.rand(*batch, bins, dtype=dtype) * (torch.rand(*batch, bins) < 0.3),
        "one bin": torch.nn.functional.one_hot(torch.randint(0, bins, batch), bins).to(dtype),
        "uniform": torch.ones(*batch, bins, dtype=dtype),
        "zero": torch.zeros(*batch, bins, dtype=dtype),
    }
    return shapes[kind] / shapes[kind].sum(dim=-1, keepdim=True).clamp_min(1e-30)


KINDS = ["random", "peaked", "across the ends", "with zeros", "one bin", "uniform", "zero"]


def arguments(kind="random", batch=(2, 50), bins=36, dtype=torch.float64):
    """By name, for all operators."""
    return {
        "probabilities": distributions(kind, batch, bins, dtype),
        "before": (torch.rand(batch, dtype=dtype) - 0.5) * 20,  # several turns
        "rate": 10 ** (6 * torch.rand(batch, dtype=dtype) - 4),
        "window": 2 * torch.rand(batch, dtype=dtype),
        "uniforms": torch.rand(*batch, 5, dtype=dtype),
    }


def of(name, given):
    """Arguments of one operator, in its order."""
    passes = PASSES[given["probabilities"].shape[-1]]
    return [given["probabilities"], *(given[other] for other in NAMES[name]), passes]


def evaluate(module, name, given):
    found = getattr(module, name)(*of(name, given))
    return found if isinstance(found, tuple) else (found,)


every_operator = pytest.mark.parametrize("name", NAMES)
operators = torch.ops.backmap


@every_operator
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bins", PASSES)
def test_matches_reference(name, kind, bins):
    given = arguments(kind, bins=bins)
    for actual, expected in zip(
        evaluate(operators, name, given), evaluate(reference, name, given), strict=True
    ):
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("rate", [0.0, 1e-30, 1e30, math.inf])
@pytest.mark.parametrize("window", [0.0, 1e-9, 2 * math.pi, 1e9])
@pytest.mark.parametrize("share", [0.0, 1 - 2.0**-24])
def test_ends_of_the_ranges(rate, window, share):
    for kind in KINDS:
        given = arguments(kind)
        given["rate"].fill_(rate)
        given["window"].fill_(window)
        given["uniforms"].fill_(share)
        angle, left = evaluate(operators, "step_angle", given)
        torch.testing.assert_close(angle, evaluate(reference, "step_angle", given)[0])
        assert rate > 0 or not left.any()
        assert rate < 1 or kind == "zero" or share > 0 or left.all()


@every_operator
def test_single_precision_is_near(name):
    given = arguments()
    single = {key: value.float() for key, value in given.items()}
    for actual, expected in zip(
        evaluate(operators, name, single), evaluate(operators, name, given), strict=True
    ):
        assert (actual.double() - expected.double()).abs().lt(1e-3).double().mean() > 0.98


@every_operator
def test_each_row_is_on_its_own(name):
    given = {key: value.float() for key, value in arguments(batch=(1000,)).items()}
    together = evaluate(operators, name, given)
    threads = torch.get_num_threads()
    try:
        for parts, n_threads in ((1, 3), (7, 1), (7, 2)):
            torch.set_num_threads(n_threads)
            pieces = [value.tensor_split(parts) for value in given.values()]
            separate = [
                evaluate(operators, name, dict(zip(given, piece, strict=True)))
                for piece in zip(*pieces, strict=True)
            ]
            for whole, *part in zip(together, *separate, strict=True):
                assert torch.equal(torch.cat(part), whole)
    finally:
        torch.set_num_threads(threads)


def test_definition_of_basins():
    def found(*values, smoothing_passes=0):
        return find_basins(torch.tensor(values), smoothing_passes=smoothing_passes).tolist()

    assert found(1.0, 3.0, 2.0, 0.0, 5.0) == [4, 1, 1, 4, 4]
    assert found(3.0, 0.0, 3.0, 1.0) == [0, 0, 2, 0]  # of equal neighbours, the lower index
    assert found(2.0, 1.0, 0.0, 0.0, 1.0, 2.0) == [0, 0, 0, 0, 0, 0]
    assert found(1.0, 1.0, 1.0) == [0, 0, 0]
    assert found(0.0, 9.0, 0.0, 1.0, 0.0, 0.0) == [1, 1, 1, 3, 3, 1]
    assert found(0.0, 9.0, 0.0, 1.0, 0.0, 0.0, smoothing_passes=8) == [1] * 6


def test_definition_of_a_step():
    """Two basins of masses 0.64 and 0.36: S = 1.4."""
    probabilities = torch.tensor([0.0, 0.64, 0.0, 0.36], dtype=torch.float64)
    rate = torch.tensor(0.5, dtype=torch.float64)
    leave = 0.7 / 1.5

    def step(before, *uniforms, window=0.0):
        angle, left = step_angle(
            probabilities,
            torch.tensor(before, dtype=torch.float64),
            rate,
            torch.tensor(window, dtype=torch.float64),
            torch.tensor(uniforms, dtype=torch.float64),
            smoothing_passes=0,
        )
        return angle.item(), left.item()

    assert step(-0.5, leave + 1e-9, 0.0, 0.0, 0.0, 0.0) == (-0.5, False)
    landing = 0.64 * leave / (0.64 * leave + 0.36 * 0.7 / 1.3)
    for share, turn in ((landing - 1e-9, 0.25), (landing + 1e-9, 0.75)):
        angle, left = step(-0.5, leave - 1e-9, share, 0.3, 0.0, 0.0)
        assert left and angle == pytest.approx((turn + 0.25 * 0.3 - 0.5) * 2 * math.pi)
    # A window of half a bin on either side of the bin's end, of which only one half has probability.
    angle, left = step(0.0, 0.9, 0.0, 0.0, 0.5, 0.5, window=math.pi / 2)
    assert not left and angle == pytest.approx(-math.pi / 8)


@every_operator
def test_gradcheck(name):
    """There is no gradient, and none is asked for."""
    given = {key: value.requires_grad_() for key, value in arguments().items()}
    assert not any(found.requires_grad for found in evaluate(operators, name, given))


@every_operator
def test_opcheck(name):
    torch.library.opcheck(getattr(operators, name).default, of(name, arguments()))


@every_operator
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, name, dtype):
    for kind in KINDS:
        given = arguments(kind, dtype=dtype)
        moved = dict(zip(given, to_device(list(given.values()), cuda), strict=True))
        for actual, expected in zip(
            evaluate(operators, name, moved), evaluate(operators, name, given), strict=True
        ):
            torch.testing.assert_close(actual.cpu(), expected)


@every_operator
def test_empty_and_single(name):
    for batch in ((), (0,), (2, 0)):
        given = arguments(batch=batch)
        for actual, expected in zip(
            evaluate(operators, name, given), evaluate(reference, name, given), strict=True
        ):
            torch.testing.assert_close(actual, expected)


@every_operator
def test_non_contiguous(scattered, name):
    given = arguments()
    spread = {key: scattered(value) for key, value in given.items()}
    for actual, expected in zip(
        evaluate(operators, name, spread), evaluate(operators, name, given), strict=True
    ):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    "name, change, error, message",
    [
        ("probabilities", lambda a: a.long(), TypeError, "probabilities must have dtype float32 or float64"),
        ("probabilities", lambda a: a[..., :0], ValueError, r"probabilities must have shape \(\*, bins\)"),
        ("before", lambda a: a.float(), TypeError, "before must have dtype Double, got Float"),
        ("before", lambda a: a[..., :1], ValueError, r"before must have shape \[2, 50\], got \[2, 1\]"),
        ("rate", lambda a: a[0], ValueError, r"rate must have shape \[2, 50\], got \[50\]"),
        ("window", lambda a: a[0, 0], ValueError, r"window must have shape \[2, 50\], got \[\]"),
        ("uniforms", lambda a: a[..., :2], ValueError, r"uniforms must have shape \[2, 50, 5\]"),
        ("smoothing_passes", lambda a: -1, ValueError, r"smoothing_passes must lie in \[0, 4096\], got -1"),
    ],
)
def test_bad_input(name, change, error, message):
    given = arguments() | {"smoothing_passes": 4}
    given[name] = change(given[name])
    with pytest.raises(error, match=f"step_angle: {message}"):
        operators.step_angle(*given.values())


def test_torchscript():
    @torch.jit.script
    def scripted(p: torch.Tensor, b: torch.Tensor, r: torch.Tensor, w: torch.Tensor, u: torch.Tensor):
        return torch.ops.backmap.step_angle(p, b, r, w, u, 4)

    given = arguments()
    for actual, expected in zip(
        scripted(*given.values()), evaluate(operators, "step_angle", given), strict=True
    ):
        assert torch.equal(actual, expected)
