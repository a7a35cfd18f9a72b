import pytest
import torch

from backmap.ops import least_overlap, reference

operator = torch.ops.backmap.least_overlap.default
NAMES = ["atoms", "trials", "penalty", "residue", "target", "distance", "box"]


def arguments(batch=(2,), residues=30, slots=4, groups=6, trials=5, points=3, dtype=torch.float64):
    """Crowded, and with groups whose points meet those of others."""
    atoms = residues * slots
    extent = 0.5 * max(residues, 1) ** (1 / 3)
    centre = torch.rand(*batch, groups, 1, 1, 3, dtype=dtype) * extent
    return [
        torch.rand(*batch, residues, slots, 3, dtype=dtype) * extent,
        centre + 0.2 * torch.randn(*batch, groups, trials, points, 3, dtype=dtype),
        0.01 * torch.rand(*batch, groups, trials, dtype=dtype),
        torch.randint(0, max(residues, 1), (groups,)),
        torch.randint(-1, max(atoms, 1), (groups, points)).clamp(max=atoms - 1),
        0.34,
    ]


@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("residues, groups", [(1, 2), (30, 6), (400, 40)])
def test_matches_reference(batch, residues, groups):
    args = arguments(batch, residues, groups=groups)
    actual = operator(*args)
    assert torch.equal(actual, reference.least_overlap(*args))
    assert residues == 1 or len(actual.unique()) > 1


@pytest.mark.parametrize("name", ["orthorhombic", "triclinic", "two cells"])
@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_matches_reference_in_a_box(boxes, name, scale):
    args = [*arguments((3,), residues=60), scale * boxes[name]]
    assert torch.equal(operator(*args), reference.least_overlap(*args))


@pytest.mark.parametrize("name", ["orthorhombic", "triclinic", "two cells"])
def test_lattice_vectors_change_nothing(boxes, name):
    box = boxes[name]
    args = [*arguments((3,), residues=60), box]
    moved = args.copy()
    moved[0] = args[0] + torch.randint(-3, 4, args[0].shape).to(box) @ box
    moved[1] = args[1] + torch.randint(-3, 4, args[1].shape).to(box) @ box
    assert torch.equal(operator(*moved), operator(*args))


def test_single_precision_chooses_the_same():
    args = arguments((20,))
    single = [a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
    assert (operator(*single) == operator(*args)).double().mean() > 0.98


def choose(atoms, trials, target=-1, residue=2, penalty=(0.0, 0.0), **settings):
    """Of one group with trials of a single point, among residues of one atom."""
    points = torch.tensor(trials)[None, :, None]
    return least_overlap(
        torch.tensor(atoms)[:, None],
        points,
        torch.tensor([penalty]),
        torch.tensor([residue]),
        torch.tensor([[target]]),
        distance=0.3,
        **settings,
    ).tolist()


def test_definition_of_the_score():
    free, near, nearer = [9.0, 9, 9], [0.25, 0, 0], [0.2, 0, 0]
    atoms = [[0.0, 0, 0], [5.0, 0, 0], [6.0, 0, 0], [5.0, 0.1, 0]]
    assert choose(atoms, [near, free]) == [1]
    assert choose(atoms, [nearer, near]) == [1]
    assert choose(atoms, [free, free]) == [0]  # the first of equals
    assert choose(atoms, [near, nearer], penalty=(0.0076, 0.0)) == [1]  # 0.1^2 - 0.05^2 = 0.0075
    assert choose(atoms, [near, nearer], penalty=(0.0074, 0.0)) == [0]
    assert choose(atoms, [near, free], penalty=(0.0, float("nan"))) == [0]
    beside = [5.0, 0.05, 0]  # of the residues before and behind, which do not count
    assert choose(atoms, [beside, free]) == [0]
    assert choose(atoms, [[4.9, 0, 0], [9.0, 9, 9]], box=torch.diag(torch.tensor([5.0, 5, 5]))) == [1]


def test_what_was_chosen_stands_in_the_way():
    atoms = torch.tensor([[0.0, 0, 0], [9.0, 0, 0], [9.0, 0, 0], [9.0, 0, 0], [5.0, 0, 0]])[:, None]
    trials = torch.tensor([[[2.0, 0, 0], [2.0, 0, 0]], [[2.1, 0, 0], [3.0, 0, 0]]])[:, :, None]
    residue, penalty = torch.tensor([0, 4]), torch.zeros(2, 2)
    for target, expected in ((0, [0, 1]), (-1, [0, 0])):
        targets = torch.tensor([[target], [-1]])
        assert least_overlap(atoms, trials, penalty, residue, targets, distance=0.3).tolist() == expected
    assert atoms[0, 0].tolist() == [0, 0, 0]


def test_atoms_that_are_not_finite_touch_nothing():
    args = arguments()
    args[0][:, 5] = float("nan")
    args[0][:, 6] = float("inf")
    far = args.copy()
    far[0] = torch.where(args[0].isfinite(), args[0], 1e3)
    assert torch.equal(operator(*args), operator(*far))


def test_gradcheck():
    """There is no gradient, and none is asked for."""
    args = arguments()
    for i in range(3):
        args[i].requires_grad_()
    assert not operator(*args).requires_grad


@pytest.mark.parametrize("in_box", [False, True])
def test_opcheck(in_box, boxes):
    torch.library.opcheck(operator, [*arguments(), boxes["triclinic"] if in_box else None])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, boxes, dtype):
    for residues, box in ((1, None), (30, None), (300, None), (300, "triclinic")):
        args = arguments(residues=residues, dtype=dtype)
        args.append(None if box is None else boxes[box].to(dtype))
        same = operator(*to_device(args, cuda)).cpu() == operator(*args)
        assert same.double().mean() > (0.98 if dtype == torch.float32 else 0.9999)


def test_rotation_translation(rotation):
    args = arguments()
    moved = [args[0] @ rotation.T + 5, args[1] @ rotation.T + 5, *args[2:]]
    assert torch.equal(operator(*moved), operator(*args))


def test_empty_and_single():
    for sizes in (dict(residues=0), dict(slots=0), dict(groups=0), dict(points=0), dict(batch=(0,))):
        args = arguments(**sizes)
        assert torch.equal(operator(*args), reference.least_overlap(*args))
    assert operator(*arguments((), 1, 1, 1, 1, 1)).tolist() == [0]


def test_non_contiguous(scattered):
    args = arguments()
    assert torch.equal(operator(*[scattered(a) if torch.is_tensor(a) else a for a in args]), operator(*args))


@pytest.mark.parametrize(
    "name, change, error, message",
    [
        ("atoms", lambda a: a.long(), TypeError, "atoms must have dtype float32 or float64, got Long"),
        ("atoms", lambda a: a[..., 0], ValueError, r"atoms must have shape \(\*, residues, atoms, 3\)"),
        ("trials", lambda a: a[:1], ValueError, r"trials must have shape \[2, 6, 5, 3, 3\]"),
        ("trials", lambda a: a[:, :, :0], ValueError, "trials must contain at least 1 trial per group"),
        ("penalty", lambda a: a[..., 0], ValueError, r"penalty must have shape \[2, 6, 5\]"),
        ("residue", lambda a: a.int(), TypeError, "residue must have dtype Long, got Int"),
        ("target", lambda a: a[:, :1], ValueError, r"target must have shape \[6, 3\]"),
        ("target", lambda a: a + 200, ValueError, r"target must lie in \[-1, 120\) .*, got "),
        ("distance", lambda a: -a, ValueError, "distance must be finite and more than 0 nm, got -0.34"),
        ("box", lambda a: 0.6 * a, ValueError, r"box must be wider than twice distance \(0.68 nm\)"),
        ("box", lambda a: a[0], ValueError, r"box must have shape \[2, 3, 3\] or \[3, 3\]"),
    ],
)
def test_bad_input(boxes, name, change, error, message):
    args = dict(zip(NAMES, [*arguments(), boxes["triclinic"]], strict=True))
    args[name] = change(args[name])
    with pytest.raises(error, match=f"least_overlap: {message}"):
        operator(*args.values())


def test_torchscript():
    @torch.jit.script
    def scripted(a: torch.Tensor, t: torch.Tensor, p: torch.Tensor, r: torch.Tensor, g: torch.Tensor):
        return torch.ops.backmap.least_overlap(a, t, p, r, g, 0.34)

    args = arguments()
    assert torch.equal(scripted(*args[:5]), operator(*args))
