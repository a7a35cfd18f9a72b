import pytest
import torch

from backmap.chemistry import LinearMapping, Molecule
from backmap.models.temporal.internal_coordinates import InternalCoordinates, placement_rows

from .dipeptide import dipeptide, moving_dipeptide


@pytest.fixture
def frames() -> torch.Tensor:
    return torch.from_numpy(moving_dipeptide(20).coordinates).double()


def test_placing_what_was_measured_gives_the_frames_back(frames):
    molecule, mapping, _ = dipeptide()
    coordinates = InternalCoordinates(molecule, mapping)
    placed = coordinates.place(frames[:, list(mapping.bead_atoms)], coordinates.measure(frames))
    assert torch.allclose(placed, frames, atol=1e-12)


def test_values_agree_with_mdtraj(frames):
    import mdtraj

    molecule, mapping, _ = dipeptide()
    rows = placement_rows(molecule, mapping)
    coordinates = InternalCoordinates(molecule, mapping)
    order = coordinates.atoms.T.tolist()
    assert sorted(order) == sorted(list(row) for row in rows)
    values = coordinates.measure(frames)
    trajectory = mdtraj.Trajectory(frames.numpy(), None)
    lengths = mdtraj.compute_distances(trajectory, [row[:2] for row in order])
    angles = mdtraj.compute_angles(trajectory, [row[:3] for row in order])
    torsions = mdtraj.compute_dihedrals(trajectory, [[row[3], row[2], row[1], row[0]] for row in order])
    assert torch.allclose(values.length, torch.from_numpy(lengths).double(), atol=1e-5)
    assert torch.allclose(values.angle, torch.from_numpy(angles).double(), atol=1e-3)
    apart = values.torsion - torch.from_numpy(torsions).double()
    assert torch.atan2(apart.sin(), apart.cos()).abs().max() < 1e-3


def test_values_do_not_change_with_place_and_orientation(frames):
    molecule, mapping, _ = dipeptide()
    coordinates = InternalCoordinates(molecule, mapping)
    q, r = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    turn = q * r.diagonal().sign() * torch.linalg.det(q * r.diagonal().sign())
    for before, after in zip(
        coordinates.measure(frames), coordinates.measure(frames @ turn.T + 3.0), strict=True
    ):
        apart = before - after
        assert torch.atan2(apart.sin(), apart.cos()).abs().max() < 1e-9


def test_siblings_are_measured_from_each_other():
    molecule, mapping, _ = dipeptide()
    rows = {row[0]: row for row in placement_rows(molecule, mapping)}
    first, second, third = (
        atom for atom, name in enumerate(molecule.atom_names) if name in ("HB1", "HB2", "HB3")
    )
    assert rows[second][3] == first
    assert rows[third][3] == first


def test_a_loose_atom_is_refused():
    molecule = Molecule(tuple("ABCDE"), ("C",) * 5, ("X",) * 5, (7,) * 5, ((0, 1), (1, 2), (2, 3)))
    with pytest.raises(ValueError, match="residue 7 X atom E is not connected with any bead by bonds"):
        placement_rows(molecule, LinearMapping.from_atoms([0, 1, 2], molecule))


def test_means_of_atoms_are_refused():
    molecule, _, _ = dipeptide()
    weights = torch.ones(3, molecule.atoms, dtype=torch.float64).numpy() / molecule.atoms
    with pytest.raises(ValueError, match="need beads that are single atoms"):
        placement_rows(molecule, LinearMapping(weights, ("A", "B", "C")))


def test_two_beads_are_refused():
    molecule, _, _ = dipeptide()
    with pytest.raises(ValueError, match="at least 3 beads"):
        placement_rows(molecule, LinearMapping.from_atoms([4, 6], molecule))
