"""Which hydrogens there are, where they stand, and that a frame's do not depend on what is beside it."""

from __future__ import annotations

import pickle
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mdtraj
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import backmap
from backmap.errors import InputError
from backmap.io import AtomList
from backmap.io.mdtraj_objects import mdtraj_topology
from backmap.postprocessing import Hydrogens
from backmap.postprocessing.turning_hydrogens import Surroundings, TurningHydrogens

from .conftest import listed

BOND_LENGTHS_NM = {"C": 0.109, "N": 0.101, "O": 0.096, "S": 0.1336}
CRAMBIN = Path(__file__).parents[1] / "data" / "cases" / "beads" / "1ab1_A.calpha.pdb"
CRAMBIN_BONDS = [(3, 40), (4, 32), (16, 26)]
"""C-alphas from the tests of cg2all (Apache 2.0), PDB 1AB1."""
CRYSTAL = Path(__file__).parents[2] / "examples" / "2bf5.pdb.gz"


def names_of(atoms: AtomList) -> list[tuple[str, str]]:
    return [(residue.name, name) for residue in atoms.residues for name in residue.atom_names]


def is_hydrogen(atoms: AtomList) -> np.ndarray:
    return np.array([element == "H" for residue in atoms.residues for element in residue.elements])


def residue_of(atoms: AtomList) -> np.ndarray:
    return np.repeat(np.arange(len(atoms.residues)), [len(listed.atom_names) for listed in atoms.residues])


def number_of(atoms: AtomList, residue: int, name: str) -> int:
    before = sum(len(listed.atom_names) for listed in atoms.residues[:residue])
    return before + atoms.residues[residue].atom_names.index(name)


def torsion(frame: np.ndarray, atoms: AtomList, residue: int, names: str) -> float:
    """IUPAC torsion of four atoms of a residue, degrees from 0 to 360."""
    a, b, c, d = (frame[number_of(atoms, residue, name)] for name in names.split())
    before, after = np.cross(b - a, c - b), np.cross(c - b, d - c)
    sine = np.cross(before, after) @ (c - b) / np.linalg.norm(c - b)
    return float(np.degrees(np.arctan2(sine, before @ after)) % 360.0)


def separations(atoms: AtomList) -> np.ndarray:
    """Number of bonds between atoms, 3 standing for all farther ones too."""
    count = atoms.n_atoms
    bonded = np.eye(count, dtype=np.float32)
    bonded[tuple(np.transpose(atoms.bonds))] = 1
    bonded = np.maximum(bonded, bonded.T)
    return np.where(bonded > 0, 1, np.where(bonded @ bonded > 0, 2, 3))


@pytest.mark.parametrize("ph", [7.0, 4.0, 11.0])
def test_names_are_those_that_openmm_adds(protein, ph):
    from openmm import app, unit

    atoms, coordinates = protein
    added = Hydrogens(atoms, coordinates[0], ph=ph).atoms
    modeller = app.Modeller(mdtraj_topology(atoms).to_openmm(), coordinates[0] * unit.nanometer)
    modeller.addHydrogens(pH=ph)
    expected = sorted((atom.residue.index, atom.name) for atom in modeller.topology.atoms())
    found = [(index, name) for index, listed in enumerate(added.residues) for name in listed.atom_names]
    assert sorted(found) == expected


def test_states_follow_the_ph(protein):
    atoms, coordinates = protein
    neutral = names_of(Hydrogens(atoms, coordinates[0]).atoms)
    acid = names_of(Hydrogens(atoms, coordinates[0], ph=4.0).atoms)
    assert (("HIS", "HD1") in neutral) != (("HIS", "HE2") in neutral)
    assert {("HIS", "HD1"), ("HIS", "HE2"), ("ASP", "HD2"), ("GLU", "HE2")} <= set(acid)
    assert not {("ASP", "HD2"), ("GLU", "HE2")} & set(neutral)


def test_list_is_complete_and_in_order(protein):
    atoms, coordinates = protein
    hydrogens = Hydrogens(atoms, coordinates[0])
    added = hydrogens.atoms
    hydrogen = is_hydrogen(added)
    assert hydrogens.apply(coordinates).shape == (len(coordinates), added.n_atoms, 3)
    for before, after in zip(atoms.residues, added.residues, strict=True):
        heavy = len(before.atom_names)
        assert after.atom_names[:heavy] == before.atom_names
        assert set(after.elements[heavy:]) == {"H"}
    ends = np.array(added.bonds)
    assert len(set(map(frozenset, added.bonds))) == len(added.bonds)
    assert (
        np.bincount(ends[hydrogen[ends]], minlength=added.n_atoms)[hydrogen].tolist() == [1] * hydrogen.sum()
    )
    assert len(added.bonds) == len(atoms.bonds) + hydrogen.sum()


@pytest.mark.parametrize("ph", [7.0, 4.0])
def test_geometry(protein, ph):
    atoms, coordinates = protein
    hydrogens = Hydrogens(atoms, coordinates[0], ph=ph)
    frames = hydrogens.apply(coordinates)
    hydrogen, names = is_hydrogen(hydrogens.atoms), names_of(hydrogens.atoms)
    bonds = np.array([bond for bond in hydrogens.atoms.bonds if hydrogen[list(bond)].any()])
    lengths = np.linalg.norm(frames[:, bonds[:, 0]] - frames[:, bonds[:, 1]], axis=-1)
    ideal = np.array([BOND_LENGTHS_NM[names[heavy][1][0]] for heavy in bonds.min(axis=1)])
    assert np.abs(lengths / ideal - 1).max() < 0.02

    separation, residue = separations(hydrogens.atoms)[hydrogen], residue_of(hydrogens.atoms)
    distances = np.linalg.norm(frames[:, hydrogen, None] - frames[:, None], axis=-1)
    assert distances[:, separation == 2].min() > 0.15
    assert distances[:, (separation == 3) & (residue[hydrogen, None] == residue)].min() > 0.15


def test_hydrogens_of_a_crystal_structure_keep_apart():
    atoms, coordinates = listed(mdtraj.load(str(CRYSTAL)))
    hydrogens = Hydrogens(atoms, coordinates[0])
    frame, hydrogen = hydrogens.apply(coordinates)[0], is_hydrogen(hydrogens.atoms)
    distances = np.linalg.norm(frame[hydrogen, None] - frame, axis=-1)
    nearest = np.where(separations(hydrogens.atoms)[hydrogen] == 3, distances, np.inf).min(axis=1)
    assert nearest.min() > 0.10
    assert (nearest < 0.15).mean() < 0.01


def test_hydrogens_have_the_names_of_their_places(protein):
    atoms, coordinates = protein
    hydrogens = Hydrogens(atoms, coordinates[0])
    frame, added = hydrogens.apply(coordinates[:1])[0], hydrogens.atoms
    of_type = {residue.name: index for index, residue in enumerate(added.residues[:20])}

    def between(name: str, first: str, second: str) -> float:
        residue = of_type[name]
        return (torsion(frame, added, residue, second) - torsion(frame, added, residue, first)) % 360.0

    for name, path in (("PHE", "N CA CB CG"), ("SER", "N CA CB OG"), ("LYS", "CG CD CE NZ")):
        start, letter = path.rsplit(" ", 1)[0], path.split()[2][1:]
        assert between(name, path, f"{start} H{letter}2") == pytest.approx(120.0, abs=4.0)
        assert between(name, path, f"{start} H{letter}3") == pytest.approx(240.0, abs=4.0)
    assert between("PRO", "CB CG CD N", "CB CG CD HD2") == pytest.approx(120.0, abs=6.0)
    assert between("ILE", "CA CB CG1 CD1", "CA CB CG1 HG12") == pytest.approx(120.0, abs=4.0)
    for name, cis in (("ASN", "CB CG ND2 HD21"), ("GLN", "CG CD NE2 HE21"), ("ARG", "NE CZ NH1 HH11")):
        assert np.cos(np.radians(torsion(frame, added, of_type[name], cis))) > 0.99
    n, c_alpha, c, first, second = (
        frame[number_of(added, of_type["GLY"], atom)] for atom in ("N", "CA", "C", "HA2", "HA3")
    )
    normal = np.cross(n - c_alpha, c - c_alpha)
    assert (first - c_alpha) @ normal < 0 < (second - c_alpha) @ normal
    assert torsion(frame, added, of_type["ALA"], "N CA CB HB1") == pytest.approx(60.0, abs=1e-6)


def test_peptide_hydrogens_are_in_the_plane_and_trans_to_oxygen(protein):
    atoms, coordinates = protein
    hydrogens = Hydrogens(atoms, coordinates[0])
    frame, added = hydrogens.apply(coordinates[:1])[0], hydrogens.atoms
    for residue in (1, 8, 19):
        c, o = (frame[number_of(added, residue - 1, name)] for name in "CO")
        n, h = (frame[number_of(added, residue, name)] for name in "NH")
        carbonyl, amide = (o - c) / np.linalg.norm(o - c), (h - n) / np.linalg.norm(h - n)
        assert carbonyl @ amide < -0.97


def test_heavy_atoms_are_bit_identical_and_frames_independent(protein):
    atoms, coordinates = protein
    hydrogens = Hydrogens(atoms, coordinates[0])
    given = coordinates.copy()
    together = hydrogens.apply(coordinates)
    assert together.shape == (len(coordinates), hydrogens.atoms.n_atoms, 3) and together.dtype == np.float64
    assert np.array_equal(together[:, ~is_hydrogen(hydrogens.atoms)], given)
    assert np.array_equal(coordinates, given)
    alone = [hydrogens.apply(frame[None]) for frame in coordinates]
    assert np.array_equal(together, np.concatenate(alone))
    assert hydrogens.apply(coordinates[:0]).shape == (0, hydrogens.atoms.n_atoms, 3)


def test_hydrogens_turn_with_the_frame(protein):
    atoms, coordinates = protein
    hydrogens = Hydrogens(atoms, coordinates[0])
    rotation, shift = Rotation.from_rotvec([0.3, -1.2, 2.0]), np.array([4.0, -7.0, 1.0])
    turned = rotation.apply(coordinates.reshape(-1, 3)).reshape(coordinates.shape) + shift
    expected = rotation.apply(hydrogens.apply(coordinates).reshape(-1, 3)) + shift
    assert np.allclose(hydrogens.apply(turned).reshape(-1, 3), expected, atol=1e-9)


def test_copies_and_threads_agree(protein):
    atoms, coordinates = protein
    hydrogens = Hydrogens(atoms, coordinates[0])
    expected = hydrogens.apply(coordinates)
    copy = pickle.loads(pickle.dumps(hydrogens))
    assert copy.atoms.residues == hydrogens.atoms.residues
    assert np.array_equal(copy.apply(coordinates), expected)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(hydrogens.apply, [coordinates] * 8))
    assert all(np.array_equal(result, expected) for result in results)


def test_hydroxyl_turns_to_an_acceptor_and_away_from_carbon():
    """In each of three frames the other atom stands behind another place of the hydrogen."""
    candidates = np.array([[0.03, 0.09, 0.0], [0.03, -0.045, 0.08], [0.03, -0.045, -0.08]])
    everywhere = np.repeat(candidates[None, None], 3, axis=0)

    def chosen(contact_nm: float, accepts: bool, distance: float) -> np.ndarray:
        standing = np.zeros((3, 3, 3))
        standing[:, 1, 0] = -0.143
        standing[:, 2] = candidates * distance
        surroundings = Surroundings(np.array([0.16, 0.25, contact_nm]), np.array([True, False, accepts]))
        turning = TurningHydrogens(np.array([0]), np.array([1]), surroundings)
        return turning.choose(everywhere, standing)[:, 0]

    assert np.array_equal(chosen(0.16, True, 2.9), candidates)
    assert not (chosen(0.25, False, 2.0) == candidates).all(axis=-1).any()


def test_disulfide(disulfide):
    atoms, coordinates = disulfide
    added = Hydrogens(atoms, coordinates[0]).atoms
    assert ("CYS", "HG") not in names_of(added)
    sulfurs = (number_of(added, 1, "SG"), number_of(added, 4, "SG"))
    assert sulfurs in added.bonds
    apart = coordinates.copy()
    apart[:, apart.shape[1] // 2 :] += 0.3 * (apart[0, -1] - apart[0, 0])
    free = Hydrogens(atoms, apart[0]).atoms
    assert names_of(free).count(("CYS", "HG")) == 2 and len(free.bonds) == len(added.bonds) + 1


def test_all_frames_have_the_disulfides_of_the_first():
    trajectory = mdtraj.load(str(CRAMBIN))
    noise = np.random.default_rng(0).normal(0.0, 0.01, (6, *trajectory.xyz.shape[1:]))
    frames = mdtraj.Trajectory(trajectory.xyz + noise, trajectory.topology)
    for sample in backmap.reconstruct(frames, seed=5, samples=2, hydrogens=True, device="cpu"):
        atoms = list(sample.topology.atoms)
        assert not any(atom.name == "HG" and atom.residue.name == "CYS" for atom in atoms)
        bonds = [bond for bond in sample.topology.bonds if all(atom.name == "SG" for atom in bond)]
        assert sorted(tuple(atom.residue.resSeq for atom in bond) for bond in bonds) == CRAMBIN_BONDS
        pairs = [[atom.index for atom in bond] for bond in bonds]
        lengths = mdtraj.compute_distances(sample, pairs)
        assert np.mean(np.abs(lengths - 0.203) < 0.005) > 0.9


def test_residues_at_a_chain_break_are_internal(protein):
    atoms, coordinates = protein
    broken = coordinates.copy()
    start = number_of(atoms, 10, "N")
    broken[:, start:] += [0.0, 0.0, 2.0]
    whole, hydrogens = Hydrogens(atoms, coordinates[0]), Hydrogens(atoms, broken[0])
    assert names_of(hydrogens.atoms) == names_of(whole.atoms)
    ends = (number_of(hydrogens.atoms, 9, "C"), number_of(hydrogens.atoms, 10, "N"))
    assert ends in whole.atoms.bonds and ends not in hydrogens.atoms.bonds
    frame = hydrogens.apply(broken)[0]
    n, h, c_alpha = (frame[number_of(hydrogens.atoms, 10, name)] for name in ("N", "H", "CA"))
    assert np.linalg.norm(h - n) == pytest.approx(0.101) and 0.18 < np.linalg.norm(h - c_alpha) < 0.22


def test_random_numbers_of_python_stay(protein):
    atoms, coordinates = protein
    random.seed(5)
    expected = random.random()
    random.seed(5)
    Hydrogens(atoms, coordinates[0])
    assert random.random() == expected


def test_what_cannot_be_used_is_named(protein):
    atoms, coordinates = protein
    with pytest.raises(InputError, match="ph 15.0: must be from 0 to 14"):
        Hydrogens(atoms, coordinates[0], ph=15.0)
    hydrogens = Hydrogens(atoms, coordinates[0])
    message = re.escape("chain A residue 1 ALA: hydrogens can be added only to the twenty amino acids")
    with pytest.raises(InputError, match=message):
        Hydrogens(hydrogens.atoms, hydrogens.apply(coordinates[:1])[0])
