import math

import pytest
import torch

from backmap.ops import reference, step_angle, step_rotamers

from .operators import rotamers

operator = torch.ops.backmap.step_rotamers.default
SIZES = {"torsions": 4, "width": 24, "bins": 36}


def arguments(batch=(200,), dtype=torch.float64, **sizes) -> dict:
    return rotamers(batch, dtype, **(SIZES | sizes))


@pytest.mark.parametrize(
    "sizes",
    [{}, {"torsions": 1}, {"bins": 5}, {"bins": 1}, {"width": 0}, {"batch": ()}, {"batch": (2, 3)}],
    ids=str,
)
def test_matches_reference(sizes):
    args = arguments(**sizes)
    after, first = operator(**args)
    expected, expected_first = reference.step_rotamers(*args.values())
    torch.testing.assert_close(after, expected)
    assert torch.equal(first, expected_first)


def test_one_torsion_steps_as_an_angle():
    args = arguments(torsions=1, dtype=torch.float32)
    args |= {"moves": torch.ones(200, 1, dtype=torch.bool), "leaps_only": torch.zeros(200, dtype=torch.bool)}
    args["repeats"] = torch.zeros(200, 1, dtype=torch.bool)
    logits = torch.nn.functional.silu(args["context"][:, 0]) @ args["weight"][0] + args["bias"][0]
    own = (args[name][:, 0] for name in ("before", "rate"))
    angle, left = step_angle(
        torch.softmax(logits, -1), *own, args["window"], args["uniforms"][:, 0], smoothing_passes=2
    )
    after, first = operator(**args)
    same = (after[:, 0] - angle).abs() < 1e-4
    assert same.float().mean() > 0.98  # a sum may reach a uniform number in another last bit
    assert torch.equal((first == 0)[same], left[same])


def test_torsions_after_one_that_left_are_drawn_anew():
    """Rates of zero, but the first torsion leaves: the second one then takes any place."""
    args = arguments(batch=(3000,), torsions=2)
    args["moves"][:], args["repeats"][:], args["leaps_only"][:] = True, False, False
    args["rate"] = torch.tensor([1e9, 0.0]).double().expand(3000, 2)
    args["window"], args["before"] = torch.full((3000,), 1e-3).double(), torch.zeros(3000, 2).double()
    after, first = operator(**args)
    assert (first == 0).all() and after[:, 1].std() > 1.0
    args["rate"] = torch.zeros(3000, 2).double()
    after, first = operator(**args)
    assert (first == 2).all() and (after.abs() <= 1e-3).all()


def test_what_does_not_move_stays():
    args = arguments()
    after, first = operator(**args)
    still = ~args["moves"]
    assert torch.equal(after[still], args["before"][still])
    unmoved = args["leaps_only"] & (first == 4)
    assert unmoved.any() and torch.equal(after[unmoved], args["before"][unmoved])
    left = args["leaps_only"] & (first < 4)
    assert left.any() and not torch.equal(after[left], args["before"][left])


def test_torsions_that_repeat_are_as_often_in_either_half():
    args = arguments(batch=(8000,), torsions=1)
    args = {n: v[:1].expand_as(v) if n == "context" else v for n, v in args.items()}
    args["moves"][:], args["repeats"][:], args["leaps_only"][:] = True, True, False
    args["rate"], args["window"] = torch.full((8000, 1), 1e9).double(), torch.full((8000,), 1e-6).double()
    after, _ = operator(**args)
    assert abs(float((after > 0).double().mean()) - 0.5) < 4 * math.sqrt(0.25 / 8000)


def test_a_residue_gives_the_same_in_every_batch():
    args = arguments(dtype=torch.float32)
    together = operator(**args)
    shared = ("coefficients", "weight", "bias", "smoothing_passes")
    for residue in (0, 100, 199):
        own = {n: v if n in shared else v[residue : residue + 1] for n, v in args.items()}
        for one, all_of_them in zip(operator(**own), together, strict=True):
            assert torch.equal(one[0], all_of_them[residue])


def test_gradcheck():
    """There is no gradient: a step is a draw."""
    args = arguments()
    args["before"].requires_grad_()
    assert not operator(**args)[0].requires_grad


def test_opcheck():
    torch.library.opcheck(operator, (), arguments(batch=(3,)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    args = arguments(batch=(1000,), dtype=dtype)
    found = operator(*to_device(list(args.values()), cuda))
    near = (found[0].cpu() - operator(**args)[0]).abs() < 1e-3
    assert near.double().mean() > 0.99


def test_empty_and_single():
    assert operator(**arguments(batch=(0,)))[0].shape == (0, 4)
    after, first = operator(**arguments(torsions=0))
    assert after.shape == (200, 0) and (first == 0).all()


def test_non_contiguous(scattered):
    args = arguments()
    moved = {n: scattered(v) if isinstance(v, torch.Tensor) else v for n, v in args.items()}
    assert torch.equal(operator(**moved)[0], operator(**args)[0])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"context": torch.zeros(200, 4, 24).half()}, TypeError, "context must have dtype"),
        ({"context": torch.zeros(4).double()}, ValueError, "context must have shape"),
        ({"coefficients": torch.zeros(4, 2, 3, 24).double()}, ValueError, "coefficients must have shape"),
        ({"weight": torch.zeros(4, 36, 24).double()}, ValueError, "weight must have shape"),
        ({"bias": torch.zeros(4, 0).double()}, ValueError, "bias must have 1 bin or more"),
        ({"moves": torch.zeros(200, 4)}, TypeError, "moves must have dtype"),
        ({"leaps_only": torch.zeros(200, 4, dtype=torch.bool)}, ValueError, "leaps_only must have shape"),
        ({"window": torch.zeros(200, 4).double()}, ValueError, "window must have shape"),
        ({"uniforms": torch.zeros(200, 4, 2).double()}, ValueError, "uniforms must have shape"),
        ({"smoothing_passes": -1}, ValueError, "smoothing_passes must lie in"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=f"step_rotamers: .*{message}"):
        operator(**(arguments() | changes))


def test_wrapper():
    args = arguments()
    for found, expected in zip(step_rotamers(**args), operator(**args), strict=True):
        assert torch.equal(found, expected)
