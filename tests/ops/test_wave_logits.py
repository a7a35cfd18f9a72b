import pytest
import torch

from backmap.ops import reference, wave_logits

operator = torch.ops.backmap.wave_logits.default
NAMES = ["context", "waves", "coefficients", "weight", "bias"]


def arguments(batch=(5,), draws=16, waves=4, width=160, classes=36, shared="", dtype=torch.float32) -> list:
    """``shared`` names what all sites have in common."""
    of_waves, of_coefficients = (() if name in shared else batch for name in ("waves", "coefficients"))
    return [
        torch.randn(*batch, width, dtype=dtype),
        torch.randn(*of_waves, draws, waves, dtype=dtype),
        torch.randn(*of_coefficients, waves, width, dtype=dtype),
        torch.randn(classes, width, dtype=dtype) / max(width, 1) ** 0.5,
        torch.randn(classes, dtype=dtype),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sizes",
    [
        {"shared": "coefficients"},
        {"shared": "waves", "draws": 12, "waves": 3, "classes": 12},
        {"draws": 1, "waves": 0, "classes": 72},
        {"batch": (2, 3), "width": 21, "classes": 5, "draws": 7},
        {"batch": (), "width": 1, "classes": 1, "draws": 1},
        {"batch": (), "width": 0},
    ],
    ids=str,
)
def test_matches_reference(sizes, dtype):
    args = arguments(**sizes, dtype=dtype)
    torch.testing.assert_close(operator(*args), reference.wave_logits(*args))


def test_a_site_gives_the_same_in_every_batch():
    args = arguments(batch=(40,), draws=5)
    together = operator(*args)
    for site in (0, 17, 39):
        alone = [arg[site : site + 1] for arg in args[:3]]
        assert torch.equal(operator(*alone, *args[3:])[0], together[site])


def test_gradcheck():
    """There is no gradient, and asking for one is an error."""
    args = arguments()
    args[0].requires_grad_()
    with pytest.raises(RuntimeError, match="wave_logits"):
        operator(*args).sum().backward()


def test_opcheck():
    torch.library.opcheck(operator, arguments(width=8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    for batch in ((1,), (3000,)):
        args = arguments(batch=batch, shared="coefficients", dtype=dtype)
        torch.testing.assert_close(operator(*to_device(args, cuda)).cpu(), operator(*args))


def test_empty_and_single():
    assert operator(*arguments(batch=(0,))).shape == (0, 16, 36)
    assert operator(*arguments(draws=0)).shape == (5, 0, 36)
    assert operator(*arguments(classes=0)).shape == (5, 16, 0)


def test_non_contiguous(scattered):
    args = arguments()
    assert torch.equal(operator(*map(scattered, args)), operator(*args))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"context": torch.zeros(5, 160).half()}, TypeError, "context must have dtype"),
        ({"waves": torch.zeros(4, 16, 4)}, ValueError, "waves must have shape"),
        ({"waves": torch.zeros(4)}, ValueError, "waves must have shape"),
        ({"coefficients": torch.zeros(5, 3, 160)}, ValueError, "coefficients must have shape"),
        ({"weight": torch.zeros(36, 159)}, ValueError, "weight must have shape"),
        ({"weight": torch.zeros(36, 160).double()}, TypeError, "weight must have dtype"),
        ({"bias": torch.zeros(35)}, ValueError, "bias must have shape"),
        ({"bias": torch.zeros(36, device="meta")}, ValueError, "bias must be on the device"),
    ],
)
def test_bad_input(changes, error, message):
    args = dict(zip(NAMES, arguments(), strict=True)) | changes
    with pytest.raises(error, match=f"wave_logits: .*{message}"):
        operator(*args.values())


def test_torchscript():
    @torch.jit.script
    def classify(
        context: torch.Tensor,
        waves: torch.Tensor,
        coefficients: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
    ) -> torch.Tensor:
        return torch.ops.backmap.wave_logits(context, waves, coefficients, weight, bias)

    args = arguments()
    assert torch.equal(classify(*args), wave_logits(*args))
