import numpy as np
import pytest
import torch

from backmap.chemistry import SIDE_CHAIN, penalty_terms
from backmap.io.reader import open_source
from backmap.ops import reference, structure_penalty, structure_score
from tests.proteins import atoms_in_slots, present_atoms

operator = torch.ops.backmap.structure_penalty.default
NAMES = ["atoms", "present", "bonds", "bond_lengths", "angle_ends", "angle_spans", "radii", "exclusion_start",
         "exclusions", "bond_kt_per_nm2", "angle_kt_per_nm2", "repulsion_kt_per_nm2", "radius_scale",
         "box"]  # fmt: skip
BOXES = ["orthorhombic", "triclinic", "one cell", "two cells", "long and narrow"]
TOLERANCE = {torch.float32: {"rtol": 1e-4, "atol": 1e-3}, torch.float64: {"rtol": 1e-10, "atol": 1e-10}}


def arguments(batch=(2,), residues=30, slots=6, pairs=40, dtype=torch.float64):
    atoms = residues * slots

    def some_pairs(count):
        i = torch.randint(0, max(atoms, 1), (count,))
        return torch.stack([i, (i + torch.randint(1, max(atoms, 2), (count,))) % max(atoms, 1)], -1)

    excluded = torch.rand(atoms, atoms) < 0.1
    excluded = excluded | excluded.T
    start = torch.cat([torch.zeros(1, dtype=torch.int64), excluded.sum(1).cumsum(0)])
    return [
        torch.rand(*batch, residues, slots, 3, dtype=dtype),
        torch.rand(*batch, residues, slots) < 0.8,
        some_pairs(pairs),
        torch.rand(pairs, dtype=dtype),
        some_pairs(pairs + 3),
        torch.rand(pairs + 3, dtype=dtype),
        0.08 * torch.rand(residues, slots, dtype=dtype),
        start,
        excluded.nonzero()[:, 1].contiguous(),
        20.0,
        5.0,
        700.0,
        1.1,
    ]


def with_gradient(function, args):
    """Energies, and the gradient of their weighted sum."""
    atoms = args[0].detach().clone().requires_grad_()
    energy = function(atoms, *args[1:])
    (energy * torch.tensor([1.0, 2.0, 3.0], dtype=atoms.dtype, device=atoms.device)).sum().backward()
    return energy.detach(), atoms.grad


def test_bonded_terms_and_overlaps_add_up():
    """Where overlaps have no strength, they are not searched for."""
    args = arguments()
    bonded, overlaps = dict(zip(NAMES, args, strict=False)), dict(zip(NAMES, args, strict=False))
    bonded["repulsion_kt_per_nm2"] = 0.0
    overlaps["bond_kt_per_nm2"] = overlaps["angle_kt_per_nm2"] = 0.0
    parts = [with_gradient(operator, list(each.values())) for each in (bonded, overlaps)]
    assert (parts[0][0][:, 2] == 0).all() and (parts[1][0][:, :2] == 0).all()
    for whole, one, other in zip(with_gradient(operator, args), *parts, strict=True):
        torch.testing.assert_close(one + other, whole)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("residues", [1, 30, 100])
def test_matches_reference(batch, residues, dtype):
    args = arguments(batch, residues, dtype=dtype)
    actual = with_gradient(operator, args)
    torch.testing.assert_close(actual, with_gradient(reference.structure_penalty, args), **TOLERANCE[dtype])
    assert residues == 1 or actual[0].min() > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", BOXES)
def test_matches_reference_in_a_box(boxes, name, dtype):
    """Atoms lie some boxes away; all that counts is the nearest image."""
    args = [*arguments((3,), residues=60, dtype=dtype), boxes[name].to(dtype)]
    args[0] = 5 * args[0] - 2
    actual = with_gradient(operator, args)
    torch.testing.assert_close(actual, with_gradient(reference.structure_penalty, args), **TOLERANCE[dtype])
    assert actual[0].min() > 0


@pytest.mark.parametrize("name", BOXES)
def test_lattice_vectors_change_nothing(boxes, name):
    """Moving single atoms by whole boxes."""
    args = [*arguments(), boxes[name]]
    turns = torch.randint(-3, 4, args[0].shape).double()
    moved = [args[0] + turns @ boxes[name], *args[1:]]
    torch.testing.assert_close(with_gradient(operator, moved), with_gradient(operator, args))


def test_a_huge_box_is_no_box():
    args = arguments(residues=100)
    args[0] = args[0] - 0.5
    huge = 1000 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(with_gradient(operator, [*args, huge]), with_gradient(operator, args))


def test_a_box_for_each_frame(boxes):
    args = [*arguments((2,)), torch.stack([boxes["orthorhombic"], boxes["triclinic"]])]
    args[0] = 3 * args[0]
    torch.testing.assert_close(operator(*args), reference.structure_penalty(*args))


@pytest.mark.parametrize("scale", [1e2, 1e6])
def test_anywhere_in_space(scale):
    """The hash of cells misses nothing far from the origin, nor in long structures."""
    args = arguments((), residues=60)
    args[0] = args[0] * torch.tensor([2.0, 1.0, 0.5]) - scale
    torch.testing.assert_close(operator(*args), reference.structure_penalty(*args))


@pytest.mark.parametrize("in_box", [False, True])
def test_any_number_of_threads(in_box):
    """Large frames are shared among threads, which changes no bit."""
    args = arguments((3,), residues=20, pairs=30000, dtype=torch.float32)
    args[0], args[1] = torch.rand(3, 4000, 6, 3) * 7, torch.rand(3, 4000, 6) < 0.9
    args[6] = 0.16 * torch.ones(4000, 6)
    start, exclusions = torch.zeros(24001, dtype=torch.int64), args[8]
    start[: len(args[7])], start[len(args[7]) :] = args[7], len(exclusions)
    args[7] = start
    if in_box:
        args.append(7 * torch.eye(3))
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(with_gradient(operator, args))
    torch.set_num_threads(1)
    assert results[0][0][:, 2].min() > 0
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, results[0], strict=True))


def hand_made(atoms, excluded=(), **options):
    """Atoms of radius 0.15 in one residue each, with one bond of 0.15 and one angle of 0.25 nm."""
    atoms = torch.tensor(atoms, dtype=torch.float64)[:, None]
    count = len(atoms)
    lists = [[j for pair in excluded for j in pair if i in pair and j != i] for i in range(count)]
    start = torch.tensor([0, *np.cumsum([len(part) for part in lists])])
    return structure_penalty(
        atoms,
        torch.tensor([[0, 1]]),
        torch.tensor([0.15], dtype=torch.float64),
        torch.tensor([[0, 2]]),
        torch.tensor([0.25], dtype=torch.float64),
        torch.full((count, 1), 0.15, dtype=torch.float64),
        start,
        torch.tensor([j for part in lists for j in part], dtype=torch.int64),
        **options,
    )


def test_definition():
    atoms = [[0, 0, 0], [0.25, 0, 0], [0, 0.2, 0], [9, 9, 9]]
    options = {"bond_kt_per_nm2": 100.0, "angle_kt_per_nm2": 200.0, "repulsion_kt_per_nm2": 1000.0}
    all_pairs = [0.05, 0.1]  # overlaps of 0-1 and 0-2; 1-2 are 0.32 apart
    expected = [100 * 0.1**2, 200 * 0.05**2, 1000 * sum(x**2 for x in all_pairs)]
    assert hand_made(atoms, **options).tolist() == pytest.approx(expected)
    assert hand_made(atoms, [(0, 1)], **options)[2].item() == pytest.approx(1000 * 0.1**2)
    assert hand_made(atoms, [(0, 1), (0, 2)], **options)[2] == 0
    wider = hand_made(atoms, [(0, 1), (0, 2)], radius_scale=1.2, **options)[2]
    assert wider.item() == pytest.approx(1000 * (0.36 - np.hypot(0.25, 0.2)) ** 2)
    missing = torch.tensor([[True], [True], [False], [True]])
    assert hand_made(atoms, present=missing, **options).tolist() == pytest.approx([1.0, 0, 1000 * 0.05**2])


def test_coinciding_atoms_feel_no_force():
    args = arguments((), residues=2, slots=1, pairs=1)
    args[0], args[1] = torch.zeros_like(args[0]), torch.ones(2, 1, dtype=torch.bool)
    args[7], args[8] = torch.zeros(3, dtype=torch.int64), torch.zeros(0, dtype=torch.int64)
    energy, gradient = with_gradient(operator, args)
    assert energy[2] > 0 and not gradient.any()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(value):
    """Energies of bonds and angles show them; repulsion and the gradient of other atoms do not."""
    args = arguments((), residues=10)
    args[1][:] = True
    without = [args[0], args[1].clone(), *args[2:]]
    without[1][3] = False
    args[0][3] = value
    energy, gradient = with_gradient(operator, args)
    expected, expected_gradient = with_gradient(operator, without)
    bonded = torch.cat([args[2], args[4]])
    touched = torch.zeros(60, dtype=torch.bool)
    touched[bonded[(bonded // 6 == 3).any(-1)]] = True
    untouched = ~touched.view(10, 6)
    untouched[3] = False
    assert not energy[:2].isfinite().any() and energy[2] == expected[2]
    torch.testing.assert_close(gradient[untouched], expected_gradient[untouched])
    assert not gradient.view(60, 3)[touched].isfinite().all(-1).any()


def test_absent_atoms_are_never_read():
    args = arguments()
    hidden = [torch.where(args[1].unsqueeze(-1), args[0], float("nan")), *args[1:]]
    for a, b in zip(with_gradient(operator, hidden), with_gradient(operator, args), strict=True):
        assert torch.equal(a, b)
    assert not with_gradient(operator, hidden)[1][~args[1]].any()


def test_lengths_and_mask_of_each_frame():
    args = arguments((3,))
    args[3], args[5] = torch.rand(3, 40, dtype=torch.float64), torch.rand(3, 43, dtype=torch.float64)
    torch.testing.assert_close(operator(*args), reference.structure_penalty(*args))
    args[1] = args[1][0]
    torch.testing.assert_close(operator(*args), reference.structure_penalty(*args))


@pytest.mark.parametrize("in_box", [False, True])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_gradcheck(batch, in_box, boxes):
    args = arguments(batch, residues=8, slots=3, pairs=8)
    args[6] = args[6] + 0.05
    if in_box:
        args.append(boxes["triclinic"])
    args[0].requires_grad_()
    assert operator(*args)[..., 2].min() > 0
    assert torch.autograd.gradcheck(lambda atoms: operator(atoms, *args[1:]), args[:1])


def test_a_second_derivative_is_refused():
    args = arguments()
    args[0].requires_grad_()
    (gradient,) = torch.autograd.grad(operator(*args).sum(), args[0], create_graph=True)
    with pytest.raises(RuntimeError, match="structure_penalty_backward"):
        gradient.sum().backward()


@pytest.mark.parametrize("in_box", [False, True])
def test_opcheck(in_box, boxes):
    args = [*arguments(), boxes["triclinic"] if in_box else None]
    torch.library.opcheck(operator, args)
    args[0].requires_grad_()
    torch.library.opcheck(operator, args)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_cuda_matches_cpu(cuda, to_device, boxes, dtype):
    for residues, box in ((1, None), (30, None), (200, None), (200, "triclinic"), (30, "one cell")):
        args = arguments(residues=residues, dtype=dtype)
        if box:
            args = [3 * args[0], *args[1:], boxes[box].to(dtype)]
        actual = with_gradient(operator, to_device(args, cuda))
        torch.testing.assert_close(
            to_device(actual, "cpu"), list(with_gradient(operator, args)), **TOLERANCE[dtype]
        )
        again = with_gradient(operator, to_device(args, cuda))
        assert all(torch.equal(a, b) for a, b in zip(actual, again, strict=True))


def test_rotation_translation(rotation):
    args = arguments()
    moved = [args[0] @ rotation.T + torch.randn(3, dtype=torch.float64), *args[1:]]
    energy, gradient = with_gradient(operator, args)
    energy_after, gradient_after = with_gradient(operator, moved)
    torch.testing.assert_close(energy_after, energy)
    torch.testing.assert_close(gradient_after, gradient @ rotation.T, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(gradient.sum((1, 2)), torch.zeros(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("batch", [(), (0,), (2, 0)])
@pytest.mark.parametrize("residues, slots", [(0, 3), (1, 1), (3, 0), (2, 2)])
def test_empty_and_single(batch, residues, slots):
    args = arguments(batch, residues, slots, pairs=0)
    args[4], args[5] = args[4][:0], args[5][:0]
    energy, gradient = with_gradient(operator, args)
    assert energy.shape == (*batch, 3) and gradient.shape == args[0].shape
    if residues * slots < 2:
        assert not energy.any() and not gradient.any()


def test_non_contiguous(scattered):
    args = arguments()
    spread = [scattered(a) if isinstance(a, torch.Tensor) else a for a in args]
    for a, b in zip(with_gradient(operator, spread), with_gradient(operator, args), strict=True):
        assert torch.equal(a, b)


def replaced(tensor, place, value):
    tensor = tensor.clone()
    tensor[place] = value
    return tensor


@pytest.mark.parametrize(
    "name, change, error, message",
    [
        ("atoms", lambda a: a.half(), TypeError, "atoms must have dtype float32 or float64, got Half"),
        ("atoms", lambda a: a[..., :2], ValueError, r"atoms must have shape \(\*, residues, atoms, 3\)"),
        ("present", lambda a: a.int(), TypeError, "present must have dtype Bool, got Int"),
        ("present", lambda a: a[:1], ValueError, r"present must have shape \[2, 30, 6\] or \[30, 6\]"),
        ("bonds", lambda a: a.int(), TypeError, "bonds must have dtype Long, got Int"),
        ("bonds", lambda a: a[:, :1], ValueError, r"bonds must have shape \[40, 2\], got \[40, 1\]"),
        ("bonds", lambda a: replaced(a, (3, 1), 180), ValueError, "bonds must lie in .*, got 180"),
        ("bond_lengths", lambda a: a[1:], ValueError, r"bond_lengths must have shape \[2, 40\] or \[40\]"),
        ("bond_lengths", lambda a: a.float(), TypeError, "bond_lengths must have dtype Double, got Float"),
        ("angle_ends", lambda a: a.int(), TypeError, "angle_ends must have dtype Long, got Int"),
        ("angle_ends", lambda a: a[0], ValueError, r"angle_ends must have shape \(angles, 2\), got \[2\]"),
        ("angle_ends", lambda a: replaced(a, (0, 0), -1), ValueError, r"angle_ends must lie in .*, got -1"),
        ("angle_spans", lambda a: a[1:], ValueError, r"angle_spans must have shape \[2, 43\] or \[43\]"),
        ("radii", lambda a: a.float(), TypeError, "radii must have dtype Double, got Float"),
        ("radii", lambda a: a[1:], ValueError, r"radii must have shape \[30, 6\], got \[29, 6\]"),
        ("radii", lambda a: replaced(a, (2, 1), -0.5), ValueError, "radii must be 0 nm .*, got -0.5"),
        ("radii", lambda a: replaced(a, (2, 1), np.inf), ValueError, "radii must be 0 nm .*, got inf"),
        ("radii", lambda a: replaced(a, (2, 1), np.nan), ValueError, "radii must be 0 nm .*, got -?nan"),
        ("exclusion_start", lambda a: a.int(), TypeError, "exclusion_start must have dtype Long, got Int"),
        ("exclusion_start", lambda a: a[1:], ValueError, r"exclusion_start must have shape \[181\]"),
        ("exclusion_start", lambda a: a + 1, ValueError, "exclusion_start must ascend from 0 to"),
        ("exclusion_start", lambda a: replaced(a, 7, 9999), ValueError, "exclusion_start must ascend"),
        ("exclusions", lambda a: a.int(), TypeError, "exclusions must have dtype Long, got Int"),
        ("exclusions", lambda a: a[None], ValueError, r"exclusions must have shape \(exclusions,\), got"),
        ("exclusions", lambda a: replaced(a, 5, 180), ValueError, "exclusions must lie in .*, got 180"),
        ("bond_kt_per_nm2", lambda a: -1.0, ValueError, "bond_kt_per_nm2 must be 0 or more, got -1"),
        ("angle_kt_per_nm2", lambda a: np.nan, ValueError, "angle_kt_per_nm2 must be 0 or more, got nan"),
        ("repulsion_kt_per_nm2", lambda a: np.inf, ValueError, "repulsion_kt_per_nm2 must be .*, got inf"),
        ("radius_scale", lambda a: -0.1, ValueError, "radius_scale must be 0 or more, got -0.1"),
        ("box", lambda a: a.float(), TypeError, "box must have dtype Double, got Float"),
        ("box", lambda a: 0 * a, ValueError, r"box must have rows \(ax, 0, 0\), "),
        ("box", lambda a: 0.3 * a, ValueError, "box must be wider than twice the largest contact"),
        *((n, lambda a: a.to("meta"), ValueError, rf"{n} must be on the device of atoms \(cpu\), got meta")
          for n in (*NAMES[1:9], "box")),
    ],
)  # fmt: skip
def test_bad_input(name, change, error, message, boxes):
    args = [*arguments(), boxes["triclinic"]]
    i = NAMES.index(name)
    args[i] = change(args[i])
    with pytest.raises(error, match=f"structure_penalty: {message}"):
        operator(*args)


def test_torchscript():
    @torch.jit.script
    def penalised(atoms, present, bonds, lengths, ends, spans, radii, start, exclusions):
        return torch.ops.backmap.structure_penalty(
            atoms, present, bonds, lengths, ends, spans, radii, start, exclusions, 20.0, 5.0, 700.0, 1.1
        )

    args = arguments()
    assert torch.equal(penalised(*args[:9]), operator(*args))


def test_compile(boxes):
    args = [*arguments(), boxes["triclinic"]]
    compiled = torch.compile(operator, fullgraph=True, backend="aot_eager")
    for a, b in zip(with_gradient(compiled, args), with_gradient(operator, args), strict=True):
        assert torch.equal(a, b)


def test_export_with_a_dynamic_batch(boxes):
    class Penalty(torch.nn.Module):
        def forward(self, atoms, present, bonds, lengths, ends, spans, radii, start, exclusions, box):
            return operator(
                atoms,
                present,
                bonds,
                lengths,
                ends,
                spans,
                radii,
                start,
                exclusions,
                20.0,
                5.0,
                700.0,
                1.1,
                box,
            )

    args = arguments((5,))[:9]

    def inputs(frames):
        return (args[0][:frames], args[1][:frames], *args[2:], boxes["triclinic"].expand(frames, 3, 3))

    batch = torch.export.Dim("batch")
    dynamic = ({0: batch}, {0: batch}, *[None] * 7, {0: batch})
    program = torch.export.export(Penalty(), inputs(3), dynamic_shapes=dynamic)
    assert torch.equal(program.module()(*inputs(5)), Penalty()(*inputs(5)))


def test_descent_repairs_a_structure():
    """Clashes go and bonds become good when a shaken crystal structure runs downhill."""
    source = open_source("examples/2bf5.pdb.gz")
    crystal = torch.from_numpy(atoms_in_slots(source)[0]).double()
    terms = {n: torch.from_numpy(t) for n, t in penalty_terms(source.topology, source.linked).items()}
    terms["present"] = torch.from_numpy(present_atoms(source))
    side_chain = torch.zeros_like(terms["present"])
    side_chain[:, SIDE_CHAIN] = True
    following = torch.from_numpy(source.topology.following(source.linked))

    def good_bonds_and_clashes(atoms):
        _, _, counts = structure_score(
            atoms, side_chain, following, terms["bonds"], terms["bond_lengths"],
            present=terms["present"],
        )  # fmt: skip
        return (counts[0] / counts[1]).item(), counts[2].item()

    generator = torch.Generator().manual_seed(3)
    atoms = crystal + 0.08 * torch.randn(crystal.shape, dtype=torch.float64, generator=generator)
    before = good_bonds_and_clashes(atoms)
    atoms.requires_grad_()
    optimizer = torch.optim.Adam([atoms], lr=2e-3)
    for _ in range(300):
        optimizer.zero_grad()
        structure_penalty(atoms, **terms).sum().backward()
        optimizer.step()
    after = good_bonds_and_clashes(atoms.detach())
    assert before[0] < 0.5 and before[1] > 5
    assert after[0] > 0.99 and after[1] == 0
    assert (atoms.detach() - crystal)[terms["present"]].norm(dim=-1).mean() < 0.12
