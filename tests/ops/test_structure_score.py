import pytest
import torch

from backmap.ops import reference, structure_score

operator = torch.ops.backmap.structure_score.default
NAMES = ["atoms", "present", "side_chain", "following", "bonds", "reference_lengths", "bond_tolerance",
         "clash_distance", "box"]  # fmt: skip
BOXES = ["orthorhombic", "triclinic", "one cell", "two cells", "long and narrow"]


def arguments(batch=(2,), residues=30, slots=6, bonds=40, dtype=torch.float64):
    atoms = residues * slots
    i = torch.randint(0, max(atoms, 1), (bonds,))
    j = (i + torch.randint(1, max(atoms, 2), (bonds,))) % max(atoms, 1)
    return [
        torch.rand(*batch, residues, slots, 3, dtype=dtype),
        torch.rand(*batch, residues, slots) < 0.8,
        torch.rand(residues, slots) < 0.5,
        torch.randint(-1, max(residues, 1), (residues,)),
        torch.stack([i, j], -1),
        torch.rand(bonds, dtype=dtype) + 0.2,
        0.3,
        0.12,
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("residues", [2, 30, 100])
def test_matches_reference(batch, residues, dtype):
    args = arguments(batch, residues, dtype=dtype)
    actual, expected = operator(*args), reference.structure_score(*args)
    torch.testing.assert_close(actual[0], expected[0])
    assert torch.equal(actual[1], expected[1]) and torch.equal(actual[2], expected[2])
    assert residues < 30 or actual[2].min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", BOXES)
def test_matches_reference_in_a_box(boxes, name, dtype):
    """Atoms lie some boxes away; all that counts is the nearest image."""
    args = [*arguments((3,), residues=60, dtype=dtype), boxes[name].to(dtype)]
    args[0] = 5 * args[0] - 2
    actual, expected = operator(*args), reference.structure_score(*args)
    torch.testing.assert_close(actual[0], expected[0])
    assert torch.equal(actual[1], expected[1]) and torch.equal(actual[2], expected[2])
    assert actual[2][:, 2].min() > 0


def test_minimum_image_is_the_nearest(boxes):
    """Up to half of the narrowest direction, against all 125 images around."""
    shifts = torch.cartesian_prod(*[torch.arange(-2.0, 3.0, dtype=torch.float64)] * 3)
    for box in boxes.values():
        difference = torch.rand(500, 3, dtype=torch.float64) @ box
        nearest = (difference[:, None] + shifts @ box).norm(dim=-1).amin(1)
        near = nearest < box.diagonal().min() / 2
        found = reference.minimum_image(difference, box).norm(dim=-1)
        torch.testing.assert_close(found[near], nearest[near])
        assert near.sum() > 10


def test_a_box_for_each_frame(boxes):
    args = [*arguments((2,)), torch.stack([boxes["orthorhombic"], boxes["triclinic"]])]
    args[0] = 3 * args[0]
    for a, b in zip(operator(*args), reference.structure_score(*args), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", BOXES)
def test_lattice_vectors_change_nothing(boxes, name):
    """Moving single atoms by whole boxes."""
    box = boxes[name]
    args = [*arguments(), box]
    turns = torch.randint(-3, 4, args[0].shape).double()
    before, after = operator(*args), operator(args[0] + turns @ box, *args[1:])
    torch.testing.assert_close(after[0], before[0])
    assert torch.equal(after[1], before[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_huge_box_is_no_box(dtype):
    args = arguments(residues=100, dtype=dtype)
    args[0] = args[0] - 0.5
    for a, b in zip(operator(*args), operator(*args, 1000 * torch.eye(3, dtype=dtype)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("in_box", [False, True])
def test_any_number_of_threads(in_box):
    """Large frames are shared among threads, which changes nothing."""
    args = arguments((3,), residues=3000, bonds=40000, dtype=torch.float32)
    args[0] = args[0] * 4
    if in_box:
        args.append(4 * torch.eye(3))
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        atoms = args[0].clone().requires_grad_()
        result = operator(atoms, *args[1:])
        result[0].square().sum().backward()
        results.append([*result, atoms.grad])
    torch.set_num_threads(1)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


@pytest.mark.parametrize("scale", [1e-2, 1e2, 1e6])
def test_clashes_anywhere_in_space(scale):
    """The hash of cells misses nothing far from the origin, nor in long or dense structures."""
    args = arguments((), residues=60)
    args[0] = args[0] * torch.tensor([2.0, 1.0, 0.5]) - scale
    assert torch.equal(operator(*args)[1], reference.structure_score(*args)[1])


def hand_made(distance, *, apart=1, linked=False, side=(False, False)):
    """Two residues of one atom each (and empty ones between) at a distance; whether the first clashes."""
    atoms = torch.zeros(apart + 1, 1, 3, dtype=torch.float64)
    atoms[:, 0, 1] = 10.0 * torch.arange(apart + 1)
    atoms[-1, 0] = torch.tensor([distance, 0, 0], dtype=torch.float64)
    side_chain = torch.zeros(apart + 1, 1, dtype=torch.bool)
    side_chain[0], side_chain[-1] = side
    _, clash, counts = structure_score(
        atoms,
        side_chain,
        torch.arange(1, apart + 2) if linked else torch.full((apart + 1,), -1),
        torch.zeros(0, 2, dtype=torch.int64),
        torch.zeros(0, dtype=torch.float64),
    )
    assert clash.sum() == counts[2] and clash[0] == clash[-1]
    return bool(clash[0])


def test_definition_of_a_clash():
    assert hand_made(0.1199) and not hand_made(0.12) and not hand_made(0.2)
    assert hand_made(0.0)
    assert not hand_made(0.1, linked=True)
    assert not hand_made(0.1, linked=True, side=(True, False))
    assert hand_made(0.1, linked=True, side=(True, True))
    assert hand_made(0.1, linked=True, apart=2)


def test_definition_of_a_good_bond():
    lengths = torch.tensor([0.1, 0.11, 0.1101, 0.09, 0.0899, 0.2], dtype=torch.float64)
    atoms = torch.zeros(1, 7, 3, dtype=torch.float64)
    atoms[0, 1:, 0] = lengths
    present = torch.ones(1, 7, dtype=torch.bool)
    present[0, 6] = False
    bonds = torch.stack([torch.zeros(6, dtype=torch.int64), torch.arange(1, 7)], -1)
    deviation, _, counts = structure_score(
        atoms, present, torch.full((1,), -1), bonds, torch.full((6,), 0.1, dtype=torch.float64),
        present=present, bond_tolerance=0.1 + 1e-12,
    )  # fmt: skip
    torch.testing.assert_close(deviation[:5], lengths[:5] / 0.1 - 1, atol=1e-7, rtol=0)
    assert deviation[5] == 0
    assert counts.tolist() == [3, 5, 0]


def test_values_that_are_not_finite():
    args = arguments((), residues=10)
    args[1][:] = True
    args[0][3] = float("nan")
    deviation, clash, counts = operator(*args)
    touched = (args[4] // 6 == 3).any(-1)
    assert deviation[touched].isnan().all() and deviation[~touched].isfinite().all()
    assert not clash[3] and counts[1] == 40


def test_reference_lengths_of_each_frame():
    args = arguments((3,))
    args[5] = torch.rand(3, 40, dtype=torch.float64) + 0.2
    for a, b in zip(operator(*args), reference.structure_score(*args), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("in_box", [False, True])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_gradcheck(batch, in_box, boxes):
    args = arguments(batch, residues=5, slots=3, bonds=8)
    if in_box:
        args.append(boxes["triclinic"])
    args[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda atoms: operator(atoms, *args[1:])[0], args[:1])


def test_gradient_at_zero_length_is_zero():
    atoms = torch.zeros(2, 1, 3, dtype=torch.float64, requires_grad=True)
    no = torch.zeros(2, 1, dtype=torch.bool)
    structure_score(atoms, no, torch.full((2,), -1), torch.tensor([[0, 1]]), torch.ones(1).double())[
        0
    ].sum().backward()
    assert not atoms.grad.any()


@pytest.mark.parametrize("in_box", [False, True])
def test_opcheck(in_box, boxes):
    args = [*arguments(), boxes["triclinic"] if in_box else None]
    torch.library.opcheck(operator, args)
    args[0].requires_grad_()
    torch.library.opcheck(operator, args)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, boxes, dtype):
    for residues, box in ((1, None), (30, None), (300, None), (300, "triclinic"), (30, "one cell")):
        args = arguments(residues=residues, dtype=dtype)
        if box:
            args = [3 * args[0], *args[1:], boxes[box].to(dtype)]
        on_gpu = to_device(args, cuda)
        actual, expected = to_device(operator(*on_gpu), "cpu"), operator(*args)
        torch.testing.assert_close(actual[0], expected[0])
        assert torch.equal(actual[1], expected[1]) and torch.equal(actual[2], expected[2])
        for a in (args, on_gpu):
            a[0].requires_grad_()
            (operator(*a)[0] ** 2).sum().backward()
        torch.testing.assert_close(on_gpu[0].grad.cpu(), args[0].grad, rtol=1e-4, atol=1e-4)


def test_rotation_translation(rotation):
    args = arguments()
    moved = [args[0] @ rotation.T + torch.randn(3, dtype=torch.float64), *args[1:]]
    before, after = operator(*args), operator(*moved)
    torch.testing.assert_close(after[0], before[0])
    assert torch.equal(after[1], before[1]), rotation


@pytest.mark.parametrize("batch", [(), (0,), (2, 0)])
@pytest.mark.parametrize("residues, slots, bonds", [(0, 3, 0), (1, 1, 1), (3, 0, 0), (2, 2, 0)])
def test_empty_and_single(batch, residues, slots, bonds):
    deviation, clash, counts = operator(*arguments(batch, residues, slots, bonds))
    assert deviation.shape == (*batch, bonds) and clash.shape == (*batch, residues)
    assert counts.shape == (*batch, 3)
    if residues == 0 or slots == 0:
        assert not clash.any() and not counts.any()


def test_non_contiguous(scattered):
    args = arguments()
    spread = [scattered(a) if isinstance(a, torch.Tensor) else a for a in args]
    for a, b in zip(operator(*spread), operator(*args), strict=True):
        assert torch.equal(a, b)


def replaced(bonds, value):
    bonds = bonds.clone()
    bonds[3, 1] = value
    return bonds


@pytest.mark.parametrize(
    "name, change, error, message",
    [
        ("atoms", lambda a: a.half(), TypeError, "atoms must have dtype float32 or float64, got Half"),
        ("atoms", lambda a: a[..., :2], ValueError, r"atoms must have shape \(\*, residues, atoms, 3\)"),
        ("present", lambda a: a.int(), TypeError, "present must have dtype Bool, got Int"),
        ("present", lambda a: a[:1], ValueError, r"present must have shape \[2, 30, 6\] or \[30, 6\]"),
        ("side_chain", lambda a: a.int(), TypeError, "side_chain must have dtype Bool, got Int"),
        ("side_chain", lambda a: a[1:], ValueError, r"side_chain must have shape \[30, 6\], got \[29, 6\]"),
        ("following", lambda a: a.int(), TypeError, "following must have dtype Long, got Int"),
        ("following", lambda a: a[1:], ValueError, r"following must have shape \[30\], got \[29\]"),
        ("bonds", lambda a: a.int(), TypeError, "bonds must have dtype Long, got Int"),
        ("bonds", lambda a: a[0], ValueError, r"bonds must have shape \(bonds, 2\), got \[2\]"),
        ("bonds", lambda a: a[:, :1], ValueError, r"bonds must have shape \[40, 2\], got \[40, 1\]"),
        ("bonds", lambda a: replaced(a, 180), ValueError, r"bonds must lie in \[0, 180\) .*, got 180"),
        ("bonds", lambda a: replaced(a, -1), ValueError, r"bonds must lie in \[0, 180\) .*, got -1"),
        ("reference_lengths", lambda a: a.float(), TypeError, "reference_lengths must have dtype Double"),
        ("reference_lengths", lambda a: a[1:], ValueError, r"reference_lengths must have shape \[2, 40\] or"),
        ("bond_tolerance", lambda a: -0.1, ValueError, "bond_tolerance must be 0 or more, got -0.1"),
        ("clash_distance", lambda a: 0.0, ValueError, "clash_distance must be more than 0 nm, got 0"),
        ("box", lambda a: a.float(), TypeError, "box must have dtype Double, got Float"),
        ("box", lambda a: a[0], ValueError, r"box must have shape \[2, 3, 3\] or \[3, 3\], got \[3\]"),
        ("box", lambda a: 0 * a, ValueError, r"box must have rows \(ax, 0, 0\), .*, got \(\(0, 0, 0\), "),
        ("box", lambda a: a.T, ValueError, r"box must have rows \(ax, 0, 0\), \(bx, by, 0\), "),
        ("box", lambda a: -a, ValueError, "box must have rows .* with ax, by, cz > 0"),
        ("box", lambda a: a * float("nan"), ValueError, "box must have rows"),
        ("box", lambda a: a + torch.eye(3).roll(1, 0), ValueError, "box must have rows"),
        ("box", lambda a: 0.29 * a, ValueError, r"box must be wider than twice clash_distance \(0.24 nm\)"),
        *((n, lambda a: a.to("meta"), ValueError, rf"{n} must be on the device of atoms \(cpu\), got meta")
          for n in (*NAMES[1:6], "box")),
    ],
)  # fmt: skip
def test_bad_input(name, change, error, message, boxes):
    args = [*arguments(), boxes["triclinic"]]
    i = NAMES.index(name)
    args[i] = change(args[i])
    with pytest.raises(error, match=f"structure_score: {message}"):
        operator(*args)


def test_torchscript():
    @torch.jit.script
    def scored(atoms, present, side_chain, following, bonds, lengths, tolerance: float, distance: float):
        return torch.ops.backmap.structure_score(
            atoms, present, side_chain, following, bonds, lengths, tolerance, distance
        )

    args = arguments()
    for a, b in zip(scored(*args), operator(*args), strict=True):
        assert torch.equal(a, b)


def test_compile(boxes):
    args = [*arguments(), boxes["triclinic"]]
    compiled = torch.compile(lambda *a: operator(*a)[0].square().sum(), fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (compiled, lambda *a: operator(*a)[0].square().sum()):
        atoms = args[0].clone().requires_grad_()
        function(atoms, *args[1:]).backward()
        gradients.append(atoms.grad)
    assert torch.equal(*gradients)


def test_export_with_a_dynamic_batch(boxes):
    class Score(torch.nn.Module):
        def forward(self, atoms, present, side_chain, following, bonds, lengths, box):
            return operator(atoms, present, side_chain, following, bonds, lengths, 0.3, 0.12, box)

    def inputs(batch):
        args = arguments((batch,))
        return (*args[:6], boxes["triclinic"].expand(batch, 3, 3))

    batch = torch.export.Dim("batch")
    dynamic = ({0: batch}, {0: batch}, None, None, None, None, {0: batch})
    program = torch.export.export(Score(), inputs(3), dynamic_shapes=dynamic)
    args = inputs(5)
    for a, b in zip(program.module()(*args), Score()(*args), strict=True):
        assert torch.equal(a, b)
