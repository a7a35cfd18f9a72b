from pathlib import Path

import pytest
import torch

from backmap.chemistry import LinearMapping, Molecule
from backmap.datasets.frame_pairs import molecule_of
from backmap.models.temporal.internal_coordinates import (
    InternalCoordinates,
    InternalValues,
    placement_rows,
)

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
    assert sorted(order) == sorted(list(row[:4]) for row in rows)
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


# ---- Atoms bonded to two placed ones: chignolin from its C-alphas ------------------------------


CHIGNOLIN = Path(__file__).parents[3] / "examples/chignolin/chignolin.pdb.gz"


@pytest.fixture(scope="module")
def chignolin() -> tuple[Molecule, LinearMapping, torch.Tensor]:
    """The molecule, its C-alphas, and distorted frames (frames, atoms, 3) in double precision."""
    import mdtraj

    loaded = mdtraj.load(str(CHIGNOLIN))
    molecule = molecule_of(loaded.topology)
    mapping = LinearMapping.from_atoms([i for i, n in enumerate(molecule.atom_names) if n == "CA"], molecule)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20, molecule.n_atoms, 3, dtype=torch.float64, generator=generator)
    return molecule, mapping, torch.from_numpy(loaded.xyz[0]).double() + 0.005 * noise


def lengths(molecule: Molecule, frames: torch.Tensor) -> torch.Tensor:
    first, second = torch.tensor(molecule.bonds).T
    return (frames[:, first] - frames[:, second]).norm(dim=-1)


def test_peptides_and_rings_close(chignolin):
    molecule, mapping, _ = chignolin
    rows = {row.atom: row for row in placement_rows(molecule, mapping)}
    assert sorted(rows) == sorted(set(range(molecule.n_atoms)) - set(mapping.bead_atoms))
    closing = [molecule.describe(row.atom) for row in rows.values() if row.closes]
    peptides = [name for name in closing if name.endswith("atom N")]
    assert len(peptides) == len(mapping.bead_atoms) - 1
    assert len(closing) == len(peptides) + 6  # three rings of TYR, one of PRO, two of TRP
    atom = {(molecule.residue_numbers[i], molecule.atom_names[i]): i for i in range(molecule.n_atoms)}
    assert rows[atom[3, "C"]][1:] == (atom[3, "CA"], atom[4, "CA"], atom[3, "N"], False)
    assert rows[atom[4, "N"]][1:] == (atom[3, "C"], atom[4, "CA"], atom[3, "CA"], True)


def test_every_bond_is_a_coordinate(chignolin):
    """Each bond has the length that was asked for, whatever the other coordinates are."""
    molecule, mapping, frames = chignolin
    coordinates = InternalCoordinates(molecule, mapping)
    beads = frames[:, list(mapping.bead_atoms)]
    values = coordinates.measure(frames)
    assert torch.allclose(coordinates.place(beads, values), frames, atol=1e-12)
    single = coordinates.place(beads.float(), InternalValues(*(part.float() for part in values)))
    assert (single - frames).norm(dim=-1).mean() < 1e-5
    generator = torch.Generator().manual_seed(1)

    def noise(size: float) -> torch.Tensor:
        return size * torch.randn(values.length.shape, dtype=torch.float64, generator=generator)

    moved = InternalValues(
        values.length,
        values.angle + torch.where(coordinates.closes, 0.0, noise(0.02)),
        values.torsion + noise(0.1),
    )
    placed = coordinates.place(beads, moved)
    assert torch.allclose(lengths(molecule, placed), lengths(molecule, frames), atol=1e-12)
    assert (placed - frames).norm(dim=-1).mean() > 0.01


def test_spheres_that_do_not_meet_give_the_nearest_point_and_gradients(chignolin):
    molecule, mapping, frames = chignolin
    coordinates = InternalCoordinates(molecule, mapping)
    beads = frames[:, list(mapping.bead_atoms)]
    values = coordinates.measure(frames)
    short = torch.where(coordinates.closes, 0.02, values.angle)
    torn = InternalValues(values.length, short, values.torsion)
    for part in torn:
        part.requires_grad_()
    placed = coordinates.place(beads, torn)
    placed.square().sum().backward()
    assert torch.isfinite(placed).all()
    assert all(torch.isfinite(part.grad).all() for part in torn)
    bonded = torch.tensor([row.atom for row in placement_rows(molecule, mapping) if row.closes])
    parents = torch.tensor([row.parent for row in placement_rows(molecule, mapping) if row.closes])
    wanted = {atom: k for k, atom in enumerate(coordinates.atoms[0].tolist())}
    expected = values.length[:, [wanted[int(atom)] for atom in bonded]]
    assert torch.allclose((placed[:, bonded] - placed[:, parents]).norm(dim=-1), expected, atol=1e-5)


def test_nothing_closes_in_the_dipeptide():
    molecule, mapping, _ = dipeptide()
    assert not any(row.closes for row in placement_rows(molecule, mapping))


# ---- What cannot be placed ---------------------------------------------------------------------


def test_a_loose_atom_is_refused():
    molecule = Molecule(tuple("ABCDE"), ("C",) * 5, ("X",) * 5, (7,) * 5, ((0, 1), (1, 2), (2, 3)))
    with pytest.raises(ValueError, match="residue 7 X atom E is not connected to any bead by bonds"):
        placement_rows(molecule, LinearMapping.from_atoms([0, 1, 2], molecule))


def test_means_of_atoms_are_refused():
    molecule, _, _ = dipeptide()
    weights = torch.ones(3, molecule.n_atoms, dtype=torch.float64).numpy() / molecule.n_atoms
    with pytest.raises(ValueError, match="need beads that are single atoms"):
        placement_rows(molecule, LinearMapping(weights, ("A", "B", "C")))


def test_two_beads_are_refused():
    molecule, _, _ = dipeptide()
    with pytest.raises(ValueError, match="at least 3 beads"):
        placement_rows(molecule, LinearMapping.from_atoms([4, 6], molecule))
