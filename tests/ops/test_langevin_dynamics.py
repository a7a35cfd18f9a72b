import pytest
import torch

from backmap.ops import langevin_dynamics, reference

from .operators import DYNAMICS_TABLES, dynamics

operator = torch.ops.backmap.langevin_dynamics.default
SIZES = {"atoms": 12, "bonds": 6, "angles": 5, "torsions": 7, "constraints": 3, "steps": 4}


def arguments(batch=(5,), dtype=torch.float64, **changes) -> dict:
    return dynamics(batch, dtype, **SIZES | changes)


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"steps": 0},
        {"batch": (2, 3), "atoms": 37, "constraints": 9},
        {"batch": (), "atoms": 4, "constraints": 0},
        {"batch": (1,), "atoms": 1},
        {"batch": (3,), "atoms": 0},
    ],
    ids=str,
)
def test_matches_reference(sizes):
    args = arguments(**sizes)
    for found, expected in zip(operator(**args), reference.langevin_dynamics(**args), strict=True):
        torch.testing.assert_close(found, expected)


def test_single_precision_is_close():
    args = arguments(dtype=torch.float32)
    for found, expected in zip(operator(**args), reference.langevin_dynamics(**args), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_screening_by_atoms_that_enclose_others():
    """Atoms nearer than their radii: the near side lies inside, or the whole sphere does."""
    args = arguments(atoms=6, steps=2, constraints=0)
    args["atoms"] = 0.1 * args["atoms"]
    args["solvent"][3] = torch.tensor([0.02, 0.3, 0.1, 0.25, 0.05, 0.15])
    for found, expected in zip(operator(**args), reference.langevin_dynamics(**args), strict=True):
        torch.testing.assert_close(found, expected)


def test_constrained_pairs_keep_their_distances_and_held_atoms_their_places():
    args = arguments(constraints=0, steps=20) | {"iterations": 30}
    args["constraints"] = torch.tensor([[0, 2], [0, 3], [1, 4]])
    structure = args["atoms"][:1].expand_as(args["atoms"]).clone()
    args["atoms"] = structure
    args["constraint_lengths"] = (structure[0, [0, 0, 1]] - structure[0, [2, 3, 4]]).norm(dim=-1)
    moved, _, _ = operator(**args)
    length = (moved[:, [0, 0, 1]] - moved[:, [2, 3, 4]]).norm(dim=-1)
    torch.testing.assert_close(length, args["constraint_lengths"].expand(5, 3), atol=1e-6, rtol=0)
    assert torch.equal(moved[:, 1], structure[:, 1])
    assert ((moved - structure).norm(dim=-1)[:, 2:] > 1e-4).all()


def test_a_pair_of_held_atoms_changes_nothing():
    args = arguments(constraints=0)
    args["inverse_masses"][:2] = 0.0
    without = operator(**args)
    args |= {"constraints": torch.tensor([[0, 1]]), "constraint_lengths": torch.ones(1, dtype=torch.float64)}
    for found, expected in zip(operator(**args), without, strict=True):
        assert torch.equal(found, expected)


def test_each_frame_gives_the_same_in_every_batch():
    args = arguments(batch=(9,))
    together = operator(**args)
    for frame in (0, 4, 8):
        part = {
            name: value
            if name in DYNAMICS_TABLES or not isinstance(value, torch.Tensor)
            else value[frame : frame + 1]
            for name, value in args.items()
        }
        for found, expected in zip(operator(**part), together, strict=True):
            assert torch.equal(found[0], expected[frame])


def test_a_simulation_in_parts_is_the_same():
    args = arguments(steps=7)
    whole, normals = operator(**args), args["normals"]
    first = operator(**args | {"normals": normals[:, :3]})
    rest = {"atoms": first[0], "velocities": first[1], "normals": normals[:, 3:]}
    for found, expected in zip(operator(**args | rest), whole, strict=True):
        assert torch.equal(found, expected)


def test_a_broken_frame_breaks_no_other():
    args = arguments()
    expected = operator(**args)
    args["atoms"][2, 3] = torch.nan
    found = operator(**args)
    assert found[2][2].isnan()
    others = [0, 1, 3, 4]
    for broken, whole in zip(found, expected, strict=True):
        assert torch.equal(broken[others], whole[others])


def test_gradcheck():
    """There is no gradient, and asking for one is an error."""
    args = arguments()
    args["atoms"].requires_grad_()
    with pytest.raises(RuntimeError, match="langevin_dynamics"):
        operator(**args)[2].sum().backward()


def test_opcheck():
    torch.library.opcheck(operator, tuple(arguments().values()))


def test_cuda_matches_cpu(cuda, to_device):
    for batch in ((1,), (300,)):
        args = arguments(batch=batch)
        on_cuda = operator(*to_device(list(args.values()), cuda))
        for found, expected in zip(on_cuda, operator(**args), strict=True):
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-6)


def test_empty_and_single():
    moved, velocities, energy = operator(**arguments(batch=(0,)))
    assert moved.shape == velocities.shape == (0, 12, 3) and energy.shape == (0,)
    moved, velocities, energy = operator(**arguments(batch=()))
    assert moved.shape == velocities.shape == (12, 3) and energy.shape == ()


def test_non_contiguous(scattered):
    args = arguments()
    moved = {name: scattered(v) if isinstance(v, torch.Tensor) else v for name, v in args.items()}
    for found, expected in zip(operator(**moved), operator(**args), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"atoms": torch.zeros(5, 12, 3).half()}, TypeError, "atoms must have dtype"),
        ({"normals": torch.zeros(5, 4, 11, 3).double()}, ValueError, "normals must have shape"),
        ({"velocities": torch.zeros(5, 3, 12).double()}, ValueError, "velocities must have shape"),
        ({"solvent": torch.zeros(4, 12).double()}, ValueError, "solvent must have shape"),
        ({"pair_tables": torch.zeros(3, 12, 11).double()}, ValueError, "pair_tables must have shape"),
        ({"constraints": torch.tensor([[0, 1], [2, 12], [3, 4]])}, ValueError, "constraints must lie in"),
        ({"bonds": torch.zeros(6, 2)}, TypeError, "bonds must have dtype"),
        ({"step_ps": 0.0}, ValueError, "step_ps must be finite and more than 0"),
        ({"friction_per_ps": -1.0}, ValueError, "friction_per_ps must be finite and at least 0"),
        ({"polarisation": float("nan")}, ValueError, "polarisation must be finite"),
        ({"iterations": 1001}, ValueError, "iterations must lie in"),
    ],
)
def test_bad_input(changes, error, message):
    with pytest.raises(error, match=f"langevin_dynamics: .*{message}"):
        operator(**arguments() | changes)


def test_python_wrapper():
    args = arguments()
    for found, expected in zip(langevin_dynamics(**args), operator(**args), strict=True):
        assert torch.equal(found, expected)
