import pytest
import torch

from backmap.ops import in_panels, reference, remove_noise

from .operators import NOISE_TABLES, noise

operator = torch.ops.backmap.remove_noise.default
SIZES = {"hidden": 40, "steps": 4, "points_of_residue": 19, "around": 64, "layers": 2}


def arguments(batch=(5,), dtype=torch.float32, **changes) -> dict:
    return noise(batch, dtype, **SIZES | changes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"noisy": False},
        {"batch": (2, 3), "hidden": 33, "points_of_residue": 4, "around": 5},
        {"batch": (45,), "hidden": 16, "steps": 2},
        {"batch": (), "hidden": 1, "points_of_residue": 1, "around": 0, "layers": 0},
        {"batch": (7,), "hidden": 384, "layers": 1, "steps": 1},
    ],
    ids=str,
)
def test_matches_reference(sizes, dtype):
    args = arguments(**sizes, dtype=dtype)
    close = {"atol": 5e-4, "rtol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(operator(**args), reference.remove_noise(**args), **close)


def test_given_points_stay_and_clean_ones_are_clipped():
    args = arguments()
    args["moves"][-1] = torch.tensor([1.0, 0.0, 0.0])
    drawn = operator(**args).unflatten(-1, (-1, 3))
    given, generated = args["given"].unflatten(-1, (-1, 3)), args["generated"]
    assert torch.equal(drawn[~generated], given[~generated])
    assert (drawn[generated & args["empty"]] == 0).all()
    assert (drawn[generated].abs() <= args["clip"]).all() and (drawn[generated].abs() > 0.1).any()


def test_each_residue_gives_the_same_in_every_batch():
    args = arguments(batch=(80,), hidden=50)
    together = operator(**args)
    for begin, end in ((0, 1), (17, 19), (20, 23), (40, 47), (3, 80)):
        part = {
            name: value if name in NOISE_TABLES or not isinstance(value, torch.Tensor) else value[begin:end]
            for name, value in args.items()
        }
        assert torch.equal(operator(**part), together[begin:end])


def test_no_steps_give_the_start():
    args = arguments(steps=0, noisy=False)
    start = torch.where(args["generated"].repeat_interleave(3, -1), args["normals"][:, 0], args["given"])
    assert torch.equal(operator(**args), start)


def test_panels_hold_the_weights():
    weight = torch.randn(2, 37, 5)
    panels = in_panels(weight)
    assert panels.shape == (2, 3, 5, 16)
    rows = panels.transpose(-1, -2).flatten(1, 2)
    assert torch.equal(rows[:, :37], weight) and (rows[:, 37:] == 0).all()


def test_gradcheck():
    """There is no gradient, and asking for one is an error."""
    args = arguments()
    args["features"].requires_grad_()
    with pytest.raises(RuntimeError, match="remove_noise"):
        operator(**args).sum().backward()


def test_opcheck():
    torch.library.opcheck(operator, tuple(arguments(hidden=8).values()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    close = {"atol": 5e-4, "rtol": 1e-4} if dtype == torch.float32 else {}
    for batch in ((1,), (600,)):
        args = arguments(batch=batch, dtype=dtype)
        found = operator(*to_device(list(args.values()), cuda)).cpu()
        torch.testing.assert_close(found, operator(**args), **close)


def test_empty_and_single():
    assert operator(**arguments(batch=(0,))).shape == (0, 57)
    assert operator(**arguments(batch=())).shape == (57,)


def test_non_contiguous(scattered):
    args = arguments()
    moved = {name: scattered(v) if isinstance(v, torch.Tensor) else v for name, v in args.items()}
    assert torch.equal(operator(**moved), operator(**args))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"given": torch.zeros(5, 57).half()}, TypeError, "given must have dtype"),
        ({"given": torch.zeros(5, 56)}, ValueError, "given must have shape"),
        ({"generated": torch.zeros(5, 57, dtype=torch.bool)}, ValueError, "generated must have shape"),
        ({"normals": torch.zeros(5, 3, 57)}, ValueError, "normals must have shape"),
        ({"levels": torch.zeros(4, 7)}, ValueError, "levels must have shape"),
        ({"entry": torch.zeros(40, 304)}, ValueError, "entry must have shape"),
        ({"layers": torch.zeros(2, 2, 40, 40)}, ValueError, "layers must have shape"),
        ({"leave": torch.zeros(15, 40, 16).double()}, TypeError, "leave must have dtype"),
        ({"atoms": torch.zeros(5, 3, 64, device="meta")}, ValueError, "atoms must be on the device"),
        ({"clip": 0.0}, ValueError, "clip must be finite and more than 0"),
        ({"furthest": float("nan")}, ValueError, "furthest must be finite and more than 0"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=f"remove_noise: .*{message}"):
        operator(**arguments() | changes)


def test_python_wrapper():
    args = arguments()
    assert torch.equal(remove_noise(**args), operator(**args))
