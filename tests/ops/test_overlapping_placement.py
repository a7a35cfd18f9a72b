import itertools

import pytest
import torch

from backmap.ops import canonical_placement, overlapping_placement, reference

operator = torch.ops.backmap.overlapping_placement.default
NAMES = ["atoms", "frame", "local", "target"]


def arguments(batch=(2,), residues=4, atoms=3, queries=5, slots=6, dtype=torch.float64):
    """Many targets: most atoms are written several times, some never; some points have none."""
    return [
        torch.randn(*batch, residues, atoms, 3, dtype=dtype),
        torch.randn(*batch, queries, 4, 3, dtype=dtype),
        torch.randn(*batch, queries, slots, 3, dtype=dtype),
        torch.randint(-1, max(residues * atoms - 1, 0), (queries, slots)),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
def test_matches_reference(batch, dtype):
    args = arguments(batch, dtype=dtype)
    torch.testing.assert_close(operator(*args), reference.overlapping_placement(*args))


def test_the_last_query_counts():
    frame = torch.eye(4)[:, :3].expand(3, 4, 3)  # axes x, y, z, origin zero
    local = torch.arange(1.0, 7).reshape(3, 2, 1).expand(3, 2, 3)
    target = torch.tensor([[0, 1], [1, 3], [-1, 0]])
    atoms = torch.full((2, 2, 3), -1.0)
    assert overlapping_placement(atoms, frame, local, target)[..., 0].tolist() == [[6.0, 3.0], [-1.0, 4.0]]
    both = torch.tensor([[2, 2], [-1, -1], [-1, -1]])  # of one query, the last slot
    assert overlapping_placement(atoms, frame, local, both)[..., 0].tolist() == [[-1, -1], [2, -1]]


def test_a_chain_keeps_each_peptide_plane_of_one_query():
    """Residue i places C, O of i - 1, its own atoms, and N of i + 1, from the first residue to the last."""
    residues, (n, ca, c, o) = 6, range(4)
    flat = torch.arange(residues * 4).reshape(residues, 4)
    target = torch.full((residues, 7), -1)
    target[:, :4] = flat
    target[1:, 4:6] = flat[:-1, [c, o]]
    target[:-1, 6] = flat[1:, n]
    frame, local = torch.randn(residues, 4, 3), torch.randn(residues, 7, 3)
    placed = overlapping_placement(torch.zeros(residues, 4, 3), frame, local, target)
    every = canonical_placement(frame, local)
    assert torch.equal(placed[:-1, [c, o]], every[1:, 4:6])
    assert torch.equal(placed[:, [n, ca]], every[:, [n, ca]])
    assert torch.equal(placed[-1], every[-1, :4])


def test_points_without_target_and_atoms_that_are_overwritten_are_never_read():
    args = arguments()
    expected = operator(*args)
    unread = (args[3] < 0) | (args[3] == args[3].flatten()[-1])  # all but the last writer of one atom
    unread[-1, -1] = False
    args[2][:, unread] = float("nan")
    written = args[3][args[3] >= 0].unique()
    args[0].view(2, -1, 3)[:, written] = float("nan")
    assert torch.equal(operator(*args), expected)


def test_gradcheck():
    args = arguments()
    for a in args[:3]:
        a.requires_grad_()
    assert torch.autograd.gradcheck(operator, args)


def test_gradients_flow_to_what_counts():
    for wanted in itertools.product([False, True], repeat=3):
        args = arguments()
        for a, grad in zip(args, wanted, strict=False):
            a.requires_grad_(grad)
        placed = operator(*args)
        assert placed.requires_grad == any(wanted)
        if any(wanted):
            placed.sum().backward()
        assert tuple(a.grad is not None for a in args[:3]) == wanted
    expected = [a.detach().clone().requires_grad_() for a in args[:3]]
    reference.overlapping_placement(*expected, args[3]).sum().backward()
    for a, e in zip(args, expected, strict=False):
        torch.testing.assert_close(a.grad, e.grad)


def test_second_derivative_is_refused():
    args = arguments()
    args[2].requires_grad_()
    (grad,) = torch.autograd.grad((operator(*args) ** 2).sum(), args[2], create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        grad.sum().backward()


def test_opcheck():
    torch.library.opcheck(operator, arguments())
    torch.library.opcheck(operator, [a.requires_grad_(a.is_floating_point()) for a in arguments()])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype):
    args = arguments(residues=40, queries=60, dtype=dtype)
    on_gpu = to_device(args, cuda)
    for a in (args, on_gpu):
        for x in a[:3]:
            x.requires_grad_()
        (operator(*a) ** 2).sum().backward()
    torch.testing.assert_close(operator(*on_gpu).cpu(), operator(*args))
    for a, b in zip(on_gpu[:3], args[:3], strict=True):
        torch.testing.assert_close(a.grad.cpu(), b.grad)


def test_rotation_translation(rotation):
    atoms, frame, local, target = arguments()
    shift = torch.randn(3, dtype=torch.float64)
    moved = frame @ rotation.T
    moved[..., 3, :] += shift
    torch.testing.assert_close(
        operator(atoms @ rotation.T + shift, moved, local, target),
        operator(atoms, frame, local, target) @ rotation.T + shift,
    )


@pytest.mark.parametrize("batch", [(), (0,), (2, 0)])
@pytest.mark.parametrize("residues, atoms, queries, slots", [(1, 1, 1, 1), (2, 2, 0, 3), (2, 2, 3, 0)])
def test_empty_and_single(batch, residues, atoms, queries, slots):
    args = arguments(batch, residues, atoms, queries, slots)
    torch.testing.assert_close(operator(*args), reference.overlapping_placement(*args))


@pytest.mark.parametrize("residues, atoms", [(0, 2), (2, 0)])
def test_no_atoms(residues, atoms):
    args = arguments((2,), residues, atoms)
    args[3][:] = -1
    for a in args[:3]:
        a.requires_grad_()
    placed = operator(*args)
    assert placed.shape == (2, residues, atoms, 3)
    placed.sum().backward()
    assert not args[1].grad.any() and not args[2].grad.any()


def test_non_contiguous(scattered):
    args = arguments()
    spread = [scattered(a) for a in args]
    assert not spread[0].is_contiguous()
    assert torch.equal(operator(*spread), operator(*args))


@pytest.mark.parametrize(
    "name, change, error, message",
    [
        ("atoms", lambda a: a.half(), TypeError, "atoms must have dtype float32 or float64, got Half"),
        ("atoms", lambda a: a[0, 0], ValueError, r"atoms must have shape .*, got \[3, 3\]"),
        ("frame", lambda a: a.float(), TypeError, "frame must have dtype Double, got Float"),
        ("frame", lambda a: a[..., :3, :], ValueError, r"frame must have shape .*, got \[2, 5, 3, 3\]"),
        ("frame", lambda a: a[:1], ValueError, r"frame must have shape \[2, 5, 4, 3\], got \[1, 5, 4, 3\]"),
        ("local", lambda a: a.float(), TypeError, "local must have dtype Double, got Float"),
        ("local", lambda a: a[:, 1:], ValueError, r"local must have shape .*, got \[2, 4, 6, 3\]"),
        ("target", lambda a: a.int(), TypeError, "target must have dtype Long, got Int"),
        ("target", lambda a: a[1:], ValueError, r"target must have shape \[5, 6\], got \[4, 6\]"),
        ("target", lambda a: a.fill_(12), ValueError, r"target must lie in \[-1, 12\) .*, got 12"),
        ("target", lambda a: a.fill_(-2), ValueError, r"target must lie in \[-1, 12\) .*, got -2"),
        *((n, lambda a: a.to("meta"), ValueError, rf"{n} must be on the device of atoms \(cpu\), got meta")
          for n in NAMES[1:]),
    ],
)  # fmt: skip
def test_bad_input(name, change, error, message):
    args = arguments()
    i = NAMES.index(name)
    args[i] = change(args[i])
    with pytest.raises(error, match=f"overlapping_placement: {message}"):
        operator(*args)


def test_torchscript(tmp_path):
    @torch.jit.script
    def placed(atoms, frame, local, target):
        return torch.ops.backmap.overlapping_placement(atoms, frame, local, target)

    args = arguments()
    path = str(tmp_path / "placed.pt")
    placed.save(path)
    assert torch.equal(torch.jit.load(path)(*args), operator(*args))


def test_compile_of_any_size():
    compiled = torch.compile(lambda *args: overlapping_placement(*args) * 2, fullgraph=True, dynamic=True)
    for batch, residues, queries in [((2,), 4, 5), ((3,), 7, 6), ((4,), 5, 8)]:
        args = arguments(batch, residues, queries=queries)
        torch.testing.assert_close(compiled(*args), operator(*args) * 2)


def test_export_of_any_size():
    class Placed(torch.nn.Module):
        def forward(self, atoms, frame, local, target):
            return operator(atoms, frame, local, target)

    frames, residues, queries = (torch.export.Dim(n, min=2) for n in ("frames", "residues", "queries"))
    shapes = ({0: frames, 1: residues}, {0: frames, 1: queries}, {0: frames, 1: queries}, {0: queries})
    program = torch.export.export(Placed(), tuple(arguments()), dynamic_shapes=shapes)
    args = arguments((3,), 7, queries=9)
    assert torch.equal(program.module()(*args), operator(*args))


def test_memory_is_the_output_and_a_constant(allocated):
    args = arguments((8,), residues=50, atoms=14, queries=50, slots=17)
    atoms_of_frame, output = 50 * 14, args[0].nbytes
    assert allocated(lambda: operator(*args)) == output + 8 * atoms_of_frame
    backward = torch.ops.backmap.overlapping_placement_backward
    outputs = sum(a.nbytes for a in args[:3])
    assert allocated(lambda: backward(*args)) == outputs + 8 * atoms_of_frame
