import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backmap.ops import FrameRule, canonical_alignment, reference

operator = torch.ops.backmap.canonical_alignment.default
NAMES = ["atoms", "present", "selectable", "query", "triangle", "exclude", "neighbours", "frame_rule", "box"]
RULES = [FrameRule.GRAM_SCHMIDT, FrameRule.ISOSCELES]


def arguments(batch=(2,), residues=30, slots=4, queries=5, neighbours=6, rule=FrameRule.ISOSCELES,
              dtype=torch.float64):  # fmt: skip
    extent = residues ** (1 / 3)
    return [
        torch.rand(*batch, residues, slots, 3, dtype=dtype) * extent,
        torch.rand(*batch, residues, slots) < 0.8,
        torch.rand(residues, slots) < 0.7,
        torch.rand(*batch, queries, 3, dtype=dtype) * extent,
        torch.rand(*batch, queries, 3, 3, dtype=dtype),
        torch.randint(-1, max(residues, 1), (queries,)),
        neighbours,
        int(rule),
    ]


def assert_same(actual, expected, **tolerance):
    assert torch.equal(actual[1], expected[1])
    torch.testing.assert_close(actual[0], expected[0], **tolerance)
    torch.testing.assert_close(actual[2], expected[2], **tolerance)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("residues, neighbours", [(2, 3), (40, 7), (600, 20)])
def test_matches_reference(batch, residues, neighbours, dtype, rule):
    args = arguments(batch, residues, neighbours=neighbours, rule=rule, dtype=dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    assert_same(operator(*args), reference.canonical_alignment(*args), **tolerance)


LONG = dict(residues=1500, queries=40)
"""Enough atoms and queries that the CPU sorts residues into blocks, of which it visits the near ones."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("neighbours", [1, 24, 200, 1600])
def test_blocks_match_reference(neighbours, dtype):
    args = arguments(**LONG, neighbours=neighbours, dtype=dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    assert_same(operator(*args), reference.canonical_alignment(*args), **tolerance)


def boxed(name, boxes, scale=3.0, **sizes):
    """Arguments in a box, from whose corner some residues lie some boxes away."""
    args = arguments(**sizes)
    box = (scale * boxes[name]).to(args[0])
    turns = torch.randint(-2, 3, (*args[0].shape[:-2], 1, 3)).to(box)
    args[0] = 0.1 * args[0] + torch.rand_like(args[0][..., :1, :]) @ box + turns @ box
    args[3] = torch.rand_like(args[3]) @ box
    return [*args, box]


BOXES = ["orthorhombic", "triclinic", "two cells", "long and narrow"]


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("sizes", [{}, LONG, {**LONG, "neighbours": 300}, dict(residues=1, queries=2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_matches_reference_in_a_box(boxes, name, sizes, dtype):
    args = boxed(name, boxes, **sizes, dtype=dtype)
    actual, expected = operator(*args), reference.canonical_alignment(*args)
    if dtype == torch.float64:
        assert_same(actual, expected)
        return
    # Rounding decides which image of a residue comes out where two are equally far.
    assert torch.equal(actual[1], expected[1])
    differs = (actual[0] - expected[0]).norm(dim=-1) > 1e-4
    assert differs.double().mean() < 1e-3


@pytest.mark.parametrize("name", BOXES)
def test_lattice_vectors_change_nothing(boxes, name):
    args = boxed(name, boxes, **LONG)
    moved = args.copy()
    moved[0] = args[0] + torch.randint(-3, 4, (*args[0].shape[:2], 1, 3)).to(args[0]) @ args[-1]
    assert_same(operator(*moved), operator(*args))


def test_a_sparse_structure_in_a_box(boxes):
    """Few residues far from the others: blocks of residues are wide then."""
    args = boxed("triclinic", boxes, scale=40.0, **LONG)
    args[0][:, 30:] = args[0][:, 30:] % 5.0
    args[3][:, :20] = args[3][:, :20] % 5.0
    assert_same(operator(*args), reference.canonical_alignment(*args))


def test_neighbours_across_a_face():
    atoms = torch.tensor([[0.1, 1, 1], [4.8, 1, 1], [2.5, 1, 1]])[:, None]
    triangle = torch.tensor([[[0.0, 1, 0], [0, 0, 0], [1, 0, 0]]])
    box = torch.diag(torch.tensor([5.0, 5, 5]))
    settings = {"neighbours": 3, "frame_rule": FrameRule.GRAM_SCHMIDT}
    local, index, _ = canonical_alignment(atoms, atoms[0], triangle, box=box, **settings)
    assert index.tolist() == [[0, 1, 2]]
    torch.testing.assert_close(local[0, :, 0, 0], torch.tensor([0.1, -0.2, 2.5]))


def test_a_box_for_each_frame(boxes):
    args = arguments((2,))
    both = torch.stack([boxes["orthorhombic"], boxes["triclinic"]])
    together = operator(*args, both)
    for frame in range(2):
        own = [
            args[0][frame],
            args[1][frame],
            args[2],
            args[3][frame],
            args[4][frame],
            *args[5:],
            both[frame],
        ]
        for a, b in zip(operator(*own), together, strict=True):
            assert torch.equal(a, b[frame])


@pytest.mark.parametrize("offset", [0.0, 300.0, -1e5])
def test_blocks_of_odd_structures(offset):
    """Queries far away, stretched and clustered structures, few selectable residues."""
    args = arguments((), residues=5000, queries=40, neighbours=30)
    args[0][:2500] *= torch.tensor([30.0, 0.01, 0.01])
    args[2] &= torch.rand(5000, 1) < 0.2
    args[3] *= 3
    args[3][:5] += offset
    assert_same(operator(*args), reference.canonical_alignment(*args), rtol=1e-6, atol=1e-6)


def test_one_query_is_scanned_and_many_are_sorted_with_the_same_result():
    args = arguments((), **LONG, dtype=torch.float32)
    args[0], args[3] = (a.mul(4).round().div(4) for a in (args[0], args[3]))  # many ties
    together = operator(*args)
    for q in range(LONG["queries"]):
        alone = operator(*args[:3], *(a[q : q + 1] for a in args[3:6]), *args[6:])
        for a, b in zip(alone, together, strict=True):
            assert torch.equal(a[0], b[q])


@pytest.mark.parametrize("residues, queries", [(100, 1), (1000, 1), (1000, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ties_go_to_the_lower_index(residues, queries, dtype):
    atoms = torch.randint(-3, 4, (residues, 2, 3), dtype=dtype)
    query = torch.zeros(queries, 3, dtype=dtype)
    _, index, _ = canonical_alignment(atoms, query, torch.rand(queries, 3, 3, dtype=dtype), neighbours=40)
    nearest = (atoms**2).sum(-1).amin(-1)
    expected = sorted(range(residues), key=lambda r: (nearest[r].item(), r))[:40]
    assert index.tolist() == [expected] * queries


@pytest.mark.parametrize("residues", [5, 300, 1500])
def test_all_atoms_in_one_place(residues):
    atoms, query = torch.ones(residues, 2, 3), torch.ones(40, 3)
    _, index, _ = canonical_alignment(atoms, query, torch.rand(40, 3, 3), neighbours=30)
    expected = torch.arange(30).where(torch.arange(30) < residues, -1)
    assert torch.equal(index, expected.expand(40, 30))


def test_chains_and_breaks():
    """Nearness alone counts: beyond a break, and of another chain as soon as the own one is used up."""
    chain = torch.cumsum(torch.rand(12, 3) * 0.3, 0)
    chain[6:] += 20.0
    exclude = torch.arange(12)
    triangle = torch.rand(12, 3, 3)
    _, index, _ = canonical_alignment(chain[:, None], chain, triangle, neighbours=8, exclude=exclude)
    first = exclude < 6
    assert ((index[first, :5] < 6).all() and (index[first, 5:] >= 6).all())  # fmt: skip
    assert ((index[~first, :5] >= 6).all() and (index[~first, 5:] < 6).all())  # fmt: skip
    assert not (index == exclude[:, None]).any()


def test_selects_by_selectable_atoms_and_returns_present_ones():
    atoms = torch.tensor([[[5.0, 0, 0], [0.1, 0, 0]], [[1.0, 0, 0], [9.0, 0, 0]], [[2.0, 0, 0], [7.0, 0, 0]]])
    present = torch.tensor([[True, True], [True, False], [True, True]])
    c_alpha = torch.tensor([[True, False]] * 3)
    query, triangle = torch.zeros(1, 3), torch.tensor([[[0.0, 1, 0], [0, 0, 0], [1, 0, 0]]])
    options = dict(neighbours=3, present=present, frame_rule=FrameRule.GRAM_SCHMIDT)
    by_c_alpha = canonical_alignment(atoms, query, triangle, selectable=c_alpha, **options)
    by_any = canonical_alignment(atoms, query, triangle, **options)
    assert by_c_alpha[1].tolist() == [[1, 2, 0]]
    assert by_any[1].tolist() == [[0, 1, 2]]
    torch.testing.assert_close(by_any[0][0, 1], torch.tensor([[1.0, 0, 0], [0, 0, 0]]))
    excluded = canonical_alignment(atoms, query, triangle, exclude=torch.tensor([1]), **options)
    assert excluded[1].tolist() == [[0, 2, -1]]
    assert not excluded[0][0, 2].any()


@pytest.mark.parametrize("residues", [10, 600])
def test_values_that_are_not_finite_are_never_chosen(residues):
    args = arguments((), residues, neighbours=residues, queries=40)
    args[1][:], args[2][:], args[5][:] = True, True, -1
    args[0][4] = float("nan")
    args[0][5] = float("inf")
    args[3][2] = float("nan")
    args[3][3] = float("inf")
    index = operator(*args)[1]
    assert set(index[0].tolist()) == set(range(residues)) - {4, 5} | {-1}
    assert (index[2:4] == -1).all()


def test_isosceles_is_the_least_squares_superposition():
    """Against the rotation of Kabsch, by singular value decomposition."""
    triangle = torch.rand(100, 3, 3, dtype=torch.float64)
    frame = reference.local_frame(triangle, FrameRule.ISOSCELES)
    target = reference.isosceles_triangle()
    torch.testing.assert_close((target[0] - target[1]).norm().item(), 0.381)
    assert target.mean(0).abs().max() < 1e-15
    centred = triangle - triangle.mean(1, keepdim=True)
    u, _, vt = torch.linalg.svd(centred.mT @ target)
    sign = torch.ones(100, 3, dtype=torch.float64)
    sign[:, 2] = torch.linalg.det(u @ vt).sign()
    rotation = (u * sign.unsqueeze(1)) @ vt  # centred @ rotation is nearest to the target
    torch.testing.assert_close(frame[:, :3], rotation.mT)


def test_gram_schmidt_axes():
    triangle = torch.tensor([[[1.0, 3.0, 0], [1, 1, 0], [4, 1, 0]]])
    frame = canonical_alignment(
        torch.zeros(1, 1, 3), torch.zeros(1, 3), triangle, neighbours=1, frame_rule=FrameRule.GRAM_SCHMIDT
    )[2]
    torch.testing.assert_close(frame[0], torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "points",
    [[[0, 0, 0]] * 3, [[0, 0, 0], [1, 1, 1], [2, 2, 2]], [[0, 0, 1], [0, 0, 0], [0, 0, 0]],
     [[0, 0, 0], [0, 0, 0], [0, 3, 0]], [[1, 0, 0], [0, 0, 0], [2, 0, 0]]],
)  # fmt: skip
def test_collinear_points_give_a_finite_frame(points, rule):
    triangle = torch.tensor([points], dtype=torch.float64, requires_grad=True)
    atoms = torch.rand(3, 2, 3, dtype=torch.float64, requires_grad=True)
    query = torch.zeros(1, 3, dtype=torch.float64)
    local, _, frame = canonical_alignment(atoms, query, triangle, neighbours=3, frame_rule=rule)
    axes = frame[0, :3]
    torch.testing.assert_close(axes @ axes.T, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.det(axes).item(), 1.0)
    (local.sum() + frame.sum()).backward()
    assert triangle.grad.isfinite().all() and atoms.grad.isfinite().all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=9, max_size=9), st.sampled_from(RULES))
def test_every_frame_is_a_rotation(values, rule):
    triangle = torch.tensor(values, dtype=torch.float64).reshape(1, 3, 3)
    args = torch.zeros(1, 1, 3, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    axes = canonical_alignment(*args, triangle, neighbours=1, frame_rule=rule)[2][0, :3]
    torch.testing.assert_close(axes @ axes.T, torch.eye(3, dtype=torch.float64), atol=1e-5, rtol=0)
    assert torch.linalg.det(axes) > 0


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch", [(), (2,)])
def test_gradcheck(batch, rule):
    args = arguments(batch, residues=8, slots=3, queries=3, neighbours=4, rule=rule)
    args[0].requires_grad_()
    args[4].requires_grad_()

    def differentiable(atoms, triangle):
        return operator(atoms, *args[1:4], triangle, *args[5:])[::2]

    assert torch.autograd.gradcheck(differentiable, (args[0], args[4]))


def test_only_atoms_and_triangle_have_gradients():
    args = arguments()
    for i in (0, 3, 4):
        args[i].requires_grad_()
    local, index, frame = operator(*args)
    assert local.requires_grad and frame.requires_grad and not index.requires_grad
    (local.sum() + frame.sum()).backward()
    assert args[0].grad is not None and args[4].grad is not None and args[3].grad is None


def test_second_derivative_is_refused():
    args = arguments()
    args[0].requires_grad_()
    (grad,) = torch.autograd.grad((operator(*args)[0] ** 2).sum(), args[0], create_graph=True)
    with pytest.raises(RuntimeError, match="not implemented"):
        grad.sum().backward()


@pytest.mark.parametrize("rule", RULES)
def test_opcheck(rule):
    args = arguments(rule=rule)
    torch.library.opcheck(operator, args)
    args[0].requires_grad_()
    args[4].requires_grad_()
    torch.library.opcheck(operator, args)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, dtype, rule):
    for residues in (1, 40, 600):
        args = arguments(residues=residues, neighbours=16, rule=rule, dtype=dtype)
        on_gpu = to_device(args, cuda)
        with torch.cuda.stream(torch.cuda.Stream()):
            actual = operator(*on_gpu)
        torch.cuda.synchronize()
        assert_same(to_device(actual, "cpu"), operator(*args))
        for a in (args, on_gpu):
            a[0].requires_grad_()
            a[4].requires_grad_()
            (operator(*a)[0] ** 2).sum().backward()
        torch.testing.assert_close(on_gpu[0].grad.cpu(), args[0].grad, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(on_gpu[4].grad.cpu(), args[4].grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_rotation_translation(rotation, rule):
    """Local coordinates and neighbours do not change when everything moves; frames move along."""
    args = arguments(rule=rule)
    shift = torch.randn(3, dtype=torch.float64)
    moved = [a @ rotation.T + shift if i in (0, 3, 4) else a for i, a in enumerate(args)]
    before, after = operator(*args), operator(*moved)
    assert torch.equal(before[1], after[1]), rotation
    torch.testing.assert_close(after[0], before[0])
    torch.testing.assert_close(after[2][..., :3, :], before[2][..., :3, :] @ rotation.T)


@pytest.mark.parametrize("batch", [(), (0,), (2, 0)])
@pytest.mark.parametrize(
    "residues, slots, queries, neighbours",
    [(0, 2, 1, 3), (1, 1, 1, 1), (3, 0, 2, 2), (2, 1, 0, 1), (3, 2, 1, 0)],
)
def test_empty_and_single(batch, residues, slots, queries, neighbours):
    args = arguments(batch, residues, slots, queries, neighbours)
    local, index, frame = operator(*args)
    assert local.shape == (*batch, queries, neighbours, slots, 3)
    assert index.shape == (*batch, queries, neighbours)
    assert frame.shape == (*batch, queries, 4, 3)
    if residues == 0 or slots == 0:
        assert (index == -1).all()


def test_non_contiguous(scattered):
    args = arguments()
    spread = [scattered(a) if isinstance(a, torch.Tensor) else a for a in args]
    assert not spread[0].is_contiguous() and torch.equal(spread[0], args[0])
    for a, b in zip(operator(*spread), operator(*args), strict=True):
        assert torch.equal(a, b)


def test_masks_of_all_frames_or_of_each():
    args = arguments(batch=(2, 3))
    each = [*args[:2], args[2].expand(2, 3, -1, -1).clone(), *args[3:]]
    for a, b in zip(operator(*each), operator(*args), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "name, change, error, message",
    [
        ("atoms", lambda a: a.half(), TypeError, "atoms must have dtype float32 or float64, got Half"),
        ("atoms", lambda a: a[..., :2], ValueError, r"atoms must have shape \(\*, residues, atoms, 3\), got"),
        ("atoms", lambda a: a[0, 0], ValueError, r"atoms must have shape .*, got \[4, 3\]"),
        ("present", lambda a: a.float(), TypeError, "present must have dtype Bool, got Float"),
        ("present", lambda a: a[:1], ValueError, r"present must have shape \[2, 30, 4\] or \[30, 4\], got"),
        ("selectable", lambda a: a.int(), TypeError, "selectable must have dtype Bool, got Int"),
        ("selectable", lambda a: a[1:], ValueError, r"selectable must have shape .* got \[29, 4\]"),
        ("query", lambda a: a.float(), TypeError, "query must have dtype Double, got Float"),
        ("query", lambda a: a[:1], ValueError, r"query must have shape \[2, 5, 3\], got \[1, 5, 3\]"),
        ("triangle", lambda a: a.float(), TypeError, "triangle must have dtype Double, got Float"),
        ("triangle", lambda a: a[:, 1:], ValueError, r"triangle must have shape \[2, 5, 3, 3\], got \[2, 4,"),
        ("exclude", lambda a: a.int(), TypeError, "exclude must have dtype Long, got Int"),
        ("exclude", lambda a: a[1:], ValueError, r"exclude must have shape \[5\], got \[4\]"),
        ("neighbours", lambda a: -1, ValueError, "neighbours must be 0 or more, got -1"),
        ("frame_rule", lambda a: 2, ValueError, "frame_rule must be 0 .* or 1 .*, got 2"),
        *((n, lambda a: a.to("meta"), ValueError, rf"{n} must be on the device of atoms \(cpu\), got meta")
          for n in NAMES[1:6]),
    ],
)  # fmt: skip
def test_bad_input(name, change, error, message):
    args = arguments()
    i = NAMES.index(name)
    args[i] = change(args[i])
    with pytest.raises(error, match=f"canonical_alignment: {message}"):
        operator(*args)


def test_torchscript(tmp_path):
    @torch.jit.script
    def aligned(atoms, present, selectable, query, triangle, exclude, neighbours: int, frame_rule: int):
        return torch.ops.backmap.canonical_alignment(
            atoms, present, selectable, query, triangle, exclude, neighbours, frame_rule
        )

    args = arguments()
    path = str(tmp_path / "aligned.pt")
    aligned.save(path)
    for a, b in zip(torch.jit.load(path)(*args), operator(*args), strict=True):
        assert torch.equal(a, b)


def test_export_of_any_size():
    class Aligned(torch.nn.Module):
        def forward(self, atoms, present, selectable, query, triangle, exclude):
            return operator(atoms, present, selectable, query, triangle, exclude, 6, 1)

    args = arguments(batch=(3,))
    frames, residues, queries = (torch.export.Dim(n, min=2) for n in ("frames", "residues", "queries"))
    of_atoms, of_queries = {0: frames, 1: residues}, {0: frames, 1: queries}
    shapes = (of_atoms, of_atoms, {0: residues}, of_queries, of_queries, {0: queries})
    program = torch.export.export(Aligned(), tuple(args[:6]), dynamic_shapes=shapes)
    other = arguments(batch=(5,), residues=47, queries=9)
    for a, b in zip(program.module()(*other[:6]), operator(*other[:6], 6, 1), strict=True):
        assert torch.equal(a, b)


def test_compile_of_any_size():
    @torch.compile(fullgraph=True, dynamic=True)
    def aligned(atoms, query, triangle, neighbours: int):
        return canonical_alignment(atoms, query, triangle, neighbours=neighbours)

    for batch, residues, queries, neighbours in [((2,), 30, 5, 6), ((3,), 41, 7, 8), ((4,), 35, 6, 3)]:
        atoms, _, _, query, triangle, *_ = arguments(batch, residues, queries=queries)
        expected = canonical_alignment(atoms, query, triangle, neighbours=neighbours)
        for a, b in zip(aligned(atoms, query, triangle, neighbours), expected, strict=True):
            assert torch.equal(a, b)


def test_memory_is_the_output_alone(allocated):
    args = arguments((4,), residues=300, queries=50)
    local, index, frame = operator(*args)
    assert allocated(lambda: operator(*args)) == local.nbytes + index.nbytes + frame.nbytes
    backward = torch.ops.backmap.canonical_alignment_backward
    grads = torch.ones_like(local), torch.ones_like(frame)
    outputs = args[0].nbytes + args[4].nbytes
    assert allocated(lambda: backward(*grads, *args[:2], index, args[4], 1)) == outputs


def test_threads_do_not_change_the_result():
    args = arguments(batch=(4,), residues=100, queries=90)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(operator(*args))
    torch.set_num_threads(before)
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


def test_gradients_flow_to_what_asks_for_them():
    for wanted in itertools.product([False, True], repeat=2):
        args = arguments()
        args[0].requires_grad_(wanted[0])
        args[4].requires_grad_(wanted[1])
        local, _, frame = operator(*args)
        assert local.requires_grad == any(wanted) and frame.requires_grad == any(wanted)
        if any(wanted):
            local.sum().backward()
        assert (args[0].grad is not None, args[4].grad is not None) == wanted
