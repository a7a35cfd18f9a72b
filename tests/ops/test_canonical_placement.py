import pytest
import torch

from backmap.ops import FrameRule, canonical_alignment, canonical_placement, reference

operator = torch.ops.backmap.canonical_placement.default


def arguments(batch=(2,), queries=5, slots=4, dtype=torch.float64):
    return [
        torch.randn(*batch, queries, 4, 3, dtype=dtype),
        torch.randn(*batch, queries, slots, 3, dtype=dtype),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_matches_reference(batch, dtype):
    args = arguments(batch, dtype=dtype)
    torch.testing.assert_close(operator(*args), reference.canonical_placement(*args))


@pytest.mark.parametrize("rule", list(FrameRule))
def test_inverts_the_alignment(rule):
    atoms, triangle = torch.rand(2, 20, 4, 3).double(), torch.rand(2, 6, 3, 3).double()
    local, index, frame = canonical_alignment(
        atoms, triangle[:, :, 1], triangle, neighbours=3, frame_rule=rule
    )
    placed = canonical_placement(frame, local.flatten(-3, -2)).unflatten(-2, (3, 4))
    expected = torch.stack([a[i] for a, i in zip(atoms, index, strict=True)])
    torch.testing.assert_close(placed, expected)


def test_gradcheck():
    args = [a.requires_grad_() for a in arguments()]
    assert torch.autograd.gradcheck(operator, args)


def test_opcheck():
    torch.library.opcheck(operator, arguments())
    torch.library.opcheck(operator, [a.requires_grad_() for a in arguments()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    args = arguments(dtype=dtype)
    on_gpu = [a.requires_grad_() for a in to_device(args, cuda)]
    args = [a.requires_grad_() for a in args]
    torch.testing.assert_close(operator(*on_gpu).cpu(), operator(*args))
    for a in (args, on_gpu):
        (operator(*a) ** 2).sum().backward()
    for a, b in zip(on_gpu, args, strict=True):
        torch.testing.assert_close(a.grad.cpu(), b.grad)


def test_rotation_translation(rotation):
    frame, local = arguments()
    shift = torch.randn(3, dtype=torch.float64)
    moved = frame @ rotation.T
    moved[..., 3, :] += shift
    torch.testing.assert_close(operator(moved, local), operator(frame, local) @ rotation.T + shift)


@pytest.mark.parametrize("batch", [(), (0,)])
@pytest.mark.parametrize("queries, slots", [(0, 2), (1, 1), (2, 0)])
def test_empty_and_single(batch, queries, slots):
    args = arguments(batch, queries, slots)
    torch.testing.assert_close(operator(*args), reference.canonical_placement(*args))


def test_non_contiguous(scattered):
    args = arguments()
    assert torch.equal(operator(*[scattered(a) for a in args]), operator(*args))


@pytest.mark.parametrize(
    "i, change, error, message",
    [
        (0, lambda a: a.half(), TypeError, "frame must have dtype float32 or float64, got Half"),
        (0, lambda a: a[..., :3, :], ValueError, r"frame must have shape \[2, 5, 4, 3\], got \[2, 5, 3, 3\]"),
        (0, lambda a: a[0, 0], ValueError, r"frame must have shape \(\*, queries, 4, 3\), got \[4, 3\]"),
        (1, lambda a: a.float(), TypeError, "local must have dtype Double, got Float"),
        (1, lambda a: a[1:], ValueError, r"local must have shape \[2, 5, 4, 3\], got \[1, 5, 4, 3\]"),
        (1, lambda a: a[..., :2], ValueError, r"local must have shape .*, got \[2, 5, 4, 2\]"),
        (1, lambda a: a.to("meta"), ValueError, r"local must be on the device of frame \(cpu\), got meta"),
    ],
)
def test_bad_input(i, change, error, message):
    args = arguments()
    args[i] = change(args[i])
    with pytest.raises(error, match=f"canonical_placement: {message}"):
        operator(*args)


def test_torchscript():
    @torch.jit.script
    def placed(frame, local):
        return torch.ops.backmap.canonical_placement(frame, local)

    args = arguments()
    assert torch.equal(placed(*args), operator(*args))


def test_memory_is_the_output_alone(allocated):
    frame, local = arguments(queries=50)
    assert allocated(lambda: operator(frame, local)) == local.nbytes
    backward = torch.ops.backmap.canonical_placement_backward
    assert allocated(lambda: backward(local, frame, local)) == frame.nbytes + local.nbytes
