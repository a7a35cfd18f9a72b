import pytest
import torch

from backmap.ops import pack_side_chains, reference

operator = torch.ops.backmap.pack_side_chains.default
NAMES = [
    "candidates",
    "candidate_present",
    "backbone",
    "backbone_present",
    "radii",
    "backbone_radii",
    "following",
    "uniforms",
    "strength",
    "box",
    "energies",
    "contacts",
    "classes",
    "backbone_classes",
    "reach",
]


def arguments(batch=(2,), residues=20, candidates=5, side_slots=4, backbone_slots=4, sweeps=3,
              dtype=torch.float64):  # fmt: skip
    centre = torch.rand(*batch, residues, 1, 3, dtype=dtype) * 1.4
    offsets = 0.2 * torch.randn(*batch, residues, candidates, side_slots, 3, dtype=dtype)
    return [
        centre.unsqueeze(-2) + offsets,
        torch.rand(residues, side_slots) < 0.6,
        centre + 0.1 * torch.randn(*batch, residues, backbone_slots, 3, dtype=dtype),
        torch.rand(*batch, residues, backbone_slots) < 0.9,
        0.15 + 0.04 * torch.rand(residues, side_slots, dtype=dtype),
        0.15 + 0.02 * torch.rand(residues, backbone_slots, dtype=dtype),
        torch.randint(-1, max(residues, 1), (residues,)),
        torch.rand(*batch, sweeps, residues, dtype=dtype),
        200.0,
    ]


def with_contacts(args, box=None, classes=3, knots=9, reach=0.5):
    """Arguments with a table of contacts; some atoms have a class that the table lacks."""
    residues, side_slots = args[1].shape
    table = torch.randn(classes, classes, knots, dtype=args[0].dtype)
    return [
        *args,
        box,
        None,
        table,
        torch.randint(-1, classes + 1, (residues, side_slots)),
        torch.randint(-1, classes + 1, (residues, args[2].shape[-2])),
        reach,
    ]


@pytest.mark.parametrize("batch", [(), (3,), (2, 2)])
@pytest.mark.parametrize("residues, sweeps", [(2, 1), (20, 0), (20, 4), (80, 2)])
def test_matches_reference(batch, residues, sweeps):
    args = arguments(batch, residues, sweeps=sweeps)
    actual, expected = operator(*args), reference.pack_side_chains(*args)
    assert torch.equal(actual[0], expected[0])
    torch.testing.assert_close(actual[1], expected[1])
    assert residues < 20 or (actual[1].max() > 0 and (sweeps == 0 or actual[0].max() > 0))


def test_matches_reference_with_energies_of_candidates():
    args = [*arguments((3,)), None, 5 * torch.rand(3, 20, 5, dtype=torch.float64)]
    actual, expected = operator(*args), reference.pack_side_chains(*args)
    assert torch.equal(actual[0], expected[0])
    torch.testing.assert_close(actual[1], expected[1])
    assert not torch.equal(actual[0], operator(*args[:-1])[0])


@pytest.mark.parametrize("contacts", [False, True])
def test_candidates_that_are_all_the_same_are_drawn_like_others(contacts):
    args = arguments((3,))
    args[0][:, ::2] = args[0][:, ::2, :1]
    args = with_contacts(args) if contacts else args
    actual, expected = operator(*args), reference.pack_side_chains(*args)
    assert torch.equal(actual[0], expected[0])
    torch.testing.assert_close(actual[1], expected[1])


@pytest.mark.parametrize("reach", [0.1, 0.5, 1.0])
def test_matches_reference_with_contacts(reach):
    """Whether contacts reach further than overlaps or not."""
    args = with_contacts(arguments((3,)), reach=reach)
    actual, expected = operator(*args), reference.pack_side_chains(*args)
    assert torch.equal(actual[0], expected[0])
    torch.testing.assert_close(actual[1], expected[1])
    without = operator(*args[:9])
    assert not torch.equal(actual[1], without[1])


@pytest.mark.parametrize("name", ["orthorhombic", "triclinic", "two cells"])
@pytest.mark.parametrize("scale", [1.1, 3.0])
def test_matches_reference_with_contacts_in_a_box(boxes, name, scale):
    args = with_contacts(arguments((3,), residues=60), scale * boxes[name], reach=0.4)
    actual, expected = operator(*args), reference.pack_side_chains(*args)
    assert torch.equal(actual[0], expected[0])
    torch.testing.assert_close(actual[1], expected[1])


def test_a_contact_is_linear_between_knots_of_the_squared_distance():
    """Two atoms 0.3 nm apart, a quarter of the way (0.09 of 0.36) to a reach of 0.6 nm."""
    table = torch.zeros(2, 2, 3)
    table[0, 1] = torch.tensor([8.0, 2.0, 50.0])
    table[1, 0] = torch.tensor([-4.0, 1.0, 50.0])
    _, energy = pack_side_chains(
        torch.tensor([[[[0.0, 0, 0]]], [[[0.3, 0, 0]]]]),
        torch.ones(2, 1, dtype=torch.bool),
        torch.tensor([[[5.0, 5, 5]], [[7.0, 7, 7]]]),
        torch.ones(2, 1, dtype=torch.bool),
        torch.full((2, 1), 0.1),
        torch.full((2, 1), 0.1),
        torch.full((2,), -1),
        torch.zeros(0, 2),
        strength=100.0,
        contacts=table,
        classes=torch.tensor([[0], [1]]),
        backbone_classes=torch.zeros(2, 1, dtype=torch.int64),
        reach=0.6,
    )
    torch.testing.assert_close(energy, torch.tensor([5.0, -1.5]))


def test_the_cheapest_candidate_is_chosen_where_nothing_overlaps():
    args = arguments((), sweeps=1)
    args[1][:] = True
    args[8] = 0.0
    energies = 1000 * torch.rand(20, 5, dtype=torch.float64)
    choice, energy = operator(*args, None, energies)
    assert torch.equal(choice, energies.argmin(1))
    torch.testing.assert_close(energy, energies.amin(1))


def test_single_precision_makes_the_same_choices():
    """In all but the few draws that fall on the edge of an interval."""
    args = arguments((10,))
    single = [a.float() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args]
    assert (operator(*single)[0] == operator(*args)[0]).double().mean() > 0.98


def test_a_large_structure_is_searched_by_cells():
    args = arguments((), residues=400, candidates=2, sweeps=1)
    args[0] += 30 * torch.rand(400, 1, 1, 3, dtype=torch.float64).sort(0)[0]
    args[2] += args[0].mean((1, 2), keepdim=True).squeeze(1) - args[2].mean(1, keepdim=True)
    actual, expected = operator(*args), reference.pack_side_chains(*args)
    assert torch.equal(actual[0], expected[0])
    torch.testing.assert_close(actual[1], expected[1])


@pytest.mark.parametrize("name", ["orthorhombic", "triclinic", "two cells"])
@pytest.mark.parametrize("scale", [1.1, 3.0])
def test_matches_reference_in_a_box(boxes, name, scale):
    """Also where a side chain reaches beyond half of the box."""
    args = [*arguments((3,), residues=60), scale * boxes[name]]
    actual, expected = operator(*args), reference.pack_side_chains(*args)
    assert torch.equal(actual[0], expected[0])
    torch.testing.assert_close(actual[1], expected[1])
    assert actual[1].max() > 0


@pytest.mark.parametrize("name", ["orthorhombic", "triclinic", "two cells"])
@pytest.mark.parametrize("scale", [1.1, 3.0])
def test_lattice_vectors_change_nothing(boxes, name, scale):
    """Moving residues by whole boxes."""
    box = scale * boxes[name]
    args = [*arguments((3,), residues=60), box]
    turns = torch.randint(-3, 4, (3, 60, 1, 3)).to(box) @ box
    moved = [args[0] + turns.unsqueeze(2), args[1], args[2] + turns, *args[3:]]
    before, after = operator(*args), operator(*moved)
    assert torch.equal(before[0], after[0])
    torch.testing.assert_close(before[1], after[1])


def test_a_box_for_each_frame(boxes):
    args = arguments((2,))
    both = torch.stack([boxes["orthorhombic"], boxes["triclinic"]])
    together = operator(*args, both)
    for frame in range(2):
        own = [a[frame] if i in (0, 2, 3, 7) else a for i, a in enumerate(args)]
        for a, b in zip(operator(*own, both[frame]), together, strict=True):
            assert torch.equal(a, b[frame])


@pytest.mark.parametrize("batch", [(1,), (3,)])
@pytest.mark.parametrize("crowded", [True, False])
def test_threads_within_a_frame_change_nothing(batch, crowded):
    """Residues that are redrawn side by side have no neighbours among each other, also in a periodic box."""
    args = with_contacts(arguments(batch, residues=700, sweeps=4), box=3.1 * torch.eye(3).double())
    if not crowded:  # as many layers as neighbours, instead of one of each residue
        place = 3.1 * torch.rand(*batch, 700, 1, 1, 3, dtype=torch.float64)
        args[0], args[2] = args[0] + place, args[2] + place.squeeze(-2)
    before, packed = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            packed.append(operator(*args))
    finally:
        torch.set_num_threads(before)
    for choice, energy in packed[1:]:
        assert torch.equal(choice, packed[0][0]) and torch.equal(energy, packed[0][1])
    assert packed[0][0].unique().numel() == 5


def test_draws_follow_the_boltzmann_distribution():
    """One residue with two candidates beside a fixed atom: choices as often as their weights say."""
    frames = 20_000
    candidates = torch.tensor([[[[0.30, 0, 0]], [[0.26, 0, 0]]]] * 2).double()  # (residues, candidates, 1, 3)
    backbone = torch.tensor([[[9.0, 9, 9]], [[0.0, 0, 0]]]).double()
    choice, _ = pack_side_chains(
        candidates.expand(frames, -1, -1, -1, -1),
        torch.tensor([[True], [False]]),
        backbone.expand(frames, -1, -1, -1),
        torch.ones(2, 1, dtype=torch.bool),
        torch.full((2, 1), 0.16).double(),
        torch.full((2, 1), 0.16).double(),
        torch.full((2,), -1),
        torch.rand(frames, 1, 2, dtype=torch.float64),
        strength=300.0,
    )
    weights = torch.exp(-300 * torch.tensor([0.02, 0.06]).double() ** 2)
    expected = weights[1] / weights.sum()
    share = choice[:, 0].double().mean()
    assert abs(share - expected) < 4 * (expected * (1 - expected) / frames) ** 0.5
    assert not choice[:, 1].any()


def contact(linked, *, through_backbone):
    """Energy of residue 0's only atom, 0.2 nm from an atom of residue 1."""
    one = torch.tensor([[True], [not through_backbone]])
    far, near = [5.0, 5, 5], [0.2, 0, 0]
    _, energy = pack_side_chains(
        torch.tensor([[[[0.0, 0, 0]]], [[near]]]),
        one,
        torch.tensor([[far], [near if through_backbone else [7.0, 7, 7]]]),
        torch.ones(2, 1, dtype=torch.bool),
        torch.full((2, 1), 0.17),
        torch.full((2, 1), 0.17),
        torch.tensor([1 if linked else -1, -1]),
        torch.zeros(0, 2),
        strength=100.0,
    )
    return energy[0].item()


def test_definition_of_the_energy():
    overlap = pytest.approx(100 * 0.14**2, rel=1e-5)
    assert contact(False, through_backbone=False) == overlap
    assert contact(False, through_backbone=True) == overlap
    assert contact(True, through_backbone=False) == overlap
    assert contact(True, through_backbone=True) == 0


def test_packing_lowers_the_energy():
    args = arguments((4,), residues=40, candidates=12, sweeps=6)
    unpacked = operator(*args[:7], args[7][:, :0], args[8])[1]
    assert operator(*args)[1].sum() < 0.8 * unpacked.sum()


def test_choices_stay_in_range_whatever_the_uniforms():
    args = arguments()
    for value in (0.0, 1.0, float("nan")):
        args[7][:] = value
        choice, energy = operator(*args)
        assert choice.min() >= 0 and choice.max() < 5 and energy.isfinite().all()


def test_missing_atoms_are_never_read():
    args = arguments()
    expected = operator(*args)
    args[0] = torch.where(args[1][:, None, :, None], args[0], float("nan"))
    args[2] = torch.where(args[3].unsqueeze(-1), args[2], float("nan"))
    for a, b in zip(operator(*args), expected, strict=True):
        assert torch.equal(a, b)


def test_gradcheck():
    """There is no gradient, and none is asked for."""
    args = arguments()
    for i in (0, 2, 4, 5, 7):
        args[i].requires_grad_()
    choice, energy = operator(*args)
    assert not choice.requires_grad and not energy.requires_grad


def test_opcheck():
    args = arguments()
    torch.library.opcheck(operator, args)
    args[0].requires_grad_()
    torch.library.opcheck(operator, args, test_utils=["test_schema", "test_faketensor"])


def test_cuda_matches_cpu(cuda, to_device):
    for residues in (1, 20, 300):
        args = arguments(residues=residues, candidates=9)
        actual, expected = to_device(operator(*to_device(args, cuda)), "cpu"), operator(*args)
        assert torch.equal(actual[0], expected[0])
        torch.testing.assert_close(actual[1], expected[1])
        args = with_contacts(args)
        actual, expected = to_device(operator(*to_device(args, cuda)), "cpu"), operator(*args)
        assert torch.equal(actual[0], expected[0])
        torch.testing.assert_close(actual[1], expected[1])


def test_rotation_translation(rotation):
    args = arguments()
    shift = torch.randn(3, dtype=torch.float64)
    moved = [a @ rotation.T + shift if i in (0, 2) else a for i, a in enumerate(args)]
    before, after = operator(*args), operator(*moved)
    assert torch.equal(after[0], before[0]), rotation
    torch.testing.assert_close(after[1], before[1])


@pytest.mark.parametrize("batch", [(), (0,), (2, 0)])
@pytest.mark.parametrize(
    "residues, candidates, side_slots, backbone_slots, sweeps",
    [(0, 2, 2, 4, 2), (1, 1, 1, 1, 1), (3, 2, 0, 4, 2), (3, 1, 2, 0, 2), (3, 2, 2, 4, 0)],
)
def test_empty_and_single(batch, residues, candidates, side_slots, backbone_slots, sweeps):
    args = arguments(batch, residues, candidates, side_slots, backbone_slots, sweeps)
    choice, energy = operator(*args)
    assert choice.shape == energy.shape == (*batch, residues)
    assert sweeps and side_slots and candidates > 1 or not choice.any()


def test_non_contiguous(scattered):
    args = arguments()
    spread = [scattered(a) if isinstance(a, torch.Tensor) else a for a in args]
    for a, b in zip(operator(*spread), operator(*args), strict=True):
        assert torch.equal(a, b)


def test_frames_are_independent():
    args = arguments((5,))
    alone = [a[3] if i in (0, 2, 3, 7) else a for i, a in enumerate(args)]
    for a, b in zip(operator(*args), operator(*alone), strict=True):
        assert torch.equal(a[3], b)


@pytest.mark.parametrize(
    "name, change, error, message",
    [
        ("candidates", lambda a: a.half(), TypeError, "candidates must have dtype float32 or float64"),
        ("candidates", lambda a: a[..., :2], ValueError,
         r"candidates must have shape \(\*, residues, candidates, side_slots, 3\)"),
        ("candidates", lambda a: a[:, :, :0], ValueError, "candidates must contain at least 1 candidate"),
        ("candidate_present", lambda a: a.int(), TypeError, "candidate_present must have dtype Bool"),
        ("candidate_present", lambda a: a[1:], ValueError, r"candidate_present must have shape \[20, 4\]"),
        ("backbone", lambda a: a.float(), TypeError, "backbone must have dtype Double, got Float"),
        ("backbone", lambda a: a[1:], ValueError, r"backbone must have shape \[2, 20, 4, 3\], got \[1, 20"),
        ("backbone_present", lambda a: a.int(), TypeError, "backbone_present must have dtype Bool, got Int"),
        ("backbone_present", lambda a: a[..., 1:], ValueError, r"backbone_present must have shape .* or"),
        ("radii", lambda a: a.float(), TypeError, "radii must have dtype Double, got Float"),
        ("radii", lambda a: a[1:], ValueError, r"radii must have shape \[20, 4\], got \[19, 4\]"),
        ("backbone_radii", lambda a: a.float(), TypeError, "backbone_radii must have dtype Double"),
        ("backbone_radii", lambda a: a[1:], ValueError, r"backbone_radii must have shape \[20, 4\]"),
        ("following", lambda a: a.int(), TypeError, "following must have dtype Long, got Int"),
        ("following", lambda a: a[1:], ValueError, r"following must have shape \[20\], got \[19\]"),
        ("uniforms", lambda a: a.float(), TypeError, "uniforms must have dtype Double, got Float"),
        ("uniforms", lambda a: a[..., 1:], ValueError, r"uniforms must have shape \[2, 3, 20\], got \[2, 3,"),
        ("strength", lambda a: -1.0, ValueError, "strength must be finite and 0 or more, got -1"),
        ("strength", lambda a: float("inf"), ValueError, "strength must be finite and 0 or more, got inf"),
        *((n, lambda a: a.to("meta"), ValueError, rf"{n} must be on the device of candidates \(cpu\)")
          for n in NAMES[1:8]),
    ],
)  # fmt: skip
def test_bad_input(name, change, error, message):
    args = arguments()
    i = NAMES.index(name)
    args[i] = change(args[i])
    with pytest.raises(error, match=f"pack_side_chains: {message}"):
        operator(*args)


@pytest.mark.parametrize(
    "name, change, error, message",
    [
        ("contacts", lambda a: None, ValueError, "contacts, classes and backbone_classes belong together"),
        ("classes", lambda a: None, ValueError, "contacts, classes and backbone_classes belong together"),
        ("contacts", lambda a: a.float(), TypeError, "contacts must have dtype Double, got Float"),
        ("contacts", lambda a: a[0], ValueError, r"contacts must have shape \(classes, classes, knots\)"),
        ("contacts", lambda a: a[1:], ValueError, r"contacts must have shape \[2, 2, 9\], got \[2, 3, 9\]"),
        ("contacts", lambda a: a[..., :1], ValueError, "contacts must have at least 2 knots"),
        ("classes", lambda a: a.int(), TypeError, "classes must have dtype Long, got Int"),
        ("classes", lambda a: a[1:], ValueError, r"classes must have shape \[20, 4\], got \[19, 4\]"),
        ("backbone_classes", lambda a: a.int(), TypeError, "backbone_classes must have dtype Long, got Int"),
        ("backbone_classes", lambda a: a[1:], ValueError, r"backbone_classes must have shape \[20, 4\]"),
        ("reach", lambda a: 0.0, ValueError, "reach must be finite and more than 0, got 0"),
        ("reach", lambda a: float("nan"), ValueError, "reach must be finite and more than 0, got nan"),
        *((n, lambda a: a.to("meta"), ValueError, rf"{n} must be on the device of candidates \(cpu\)")
          for n in NAMES[11:14]),
    ],
)  # fmt: skip
def test_bad_contacts(name, change, error, message):
    args = with_contacts(arguments())
    i = NAMES.index(name)
    args[i] = change(args[i])
    with pytest.raises(error, match=f"pack_side_chains: {message}"):
        operator(*args)


def test_torchscript():
    @torch.jit.script
    def packed(
        candidates, there, backbone, backbone_there, radii, backbone_radii, following, uniforms, stiff: float
    ):
        return torch.ops.backmap.pack_side_chains(
            candidates, there, backbone, backbone_there, radii, backbone_radii, following, uniforms, stiff
        )

    args = arguments()
    for a, b in zip(packed(*args), operator(*args), strict=True):
        assert torch.equal(a, b)
