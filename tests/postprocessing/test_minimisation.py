"""What a minimisation moves and what it holds, that it repeats itself, and what it refuses."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from backmap.errors import InputError
from backmap.io import AtomList
from backmap.io.mdtraj_objects import mdtraj_topology
from backmap.physics.minimisation import FixedSites
from backmap.postprocessing import Hydrogens
from backmap.postprocessing.minimisation import FORCE_FIELD, RestrainedMinimisation, explicit_radii

ITERATIONS = 20
Protein = tuple[AtomList, np.ndarray]


@pytest.fixture(scope="module")
def whole(protein) -> Protein:
    """The protein with hydrogens."""
    atoms, coordinates = protein
    hydrogens = Hydrogens(atoms, coordinates[0])
    return hydrogens.atoms, hydrogens.apply(coordinates)


@pytest.fixture(scope="module")
def minimisation(whole) -> RestrainedMinimisation:
    return RestrainedMinimisation(whole[0], iterations=ITERATIONS)


@pytest.fixture(scope="module")
def relaxed(whole, minimisation) -> np.ndarray:
    return minimisation.apply(whole[1])


def select(atoms: AtomList, name: str) -> np.ndarray:
    return np.array([atom == name for residue in atoms.residues for atom in residue.atom_names])


def energies(atoms: AtomList, frames: np.ndarray) -> np.ndarray:
    """Potential energies (frames,) in kJ/mol in implicit solvent, by OpenMM."""
    import openmm
    from openmm import app, unit

    topology = mdtraj_topology(atoms).to_openmm()
    system = app.ForceField(FORCE_FIELD, "implicit/obc2.xml").createSystem(topology)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)
    found = []
    for frame in frames:
        context.setPositions(frame)
        energy = context.getState(energy=True).getPotentialEnergy()
        found.append(energy.value_in_unit(unit.kilojoule_per_mole))
    return np.array(found)


def test_energies_come_down_and_atoms_stay_near(whole, relaxed):
    atoms, built = whole
    before, after = energies(atoms, built), energies(atoms, relaxed)
    assert (after < before - 1000).all()
    c_alpha = select(atoms, "CA")
    assert np.array_equal(relaxed[:, c_alpha], built[:, c_alpha])
    moved = np.linalg.norm(relaxed - built, axis=-1)
    assert (moved[:, ~c_alpha] > 0).all() and np.median(moved) < 0.02
    assert relaxed.shape == built.shape and relaxed.dtype == np.float64


def test_springs_hold_heavy_atoms(whole, relaxed):
    atoms, built = whole
    heavy = np.array([element != "H" for residue in atoms.residues for element in residue.elements])
    stiff = RestrainedMinimisation(atoms, iterations=ITERATIONS, stiffness=1e6).apply(built)
    by_stiff, by_soft = (
        np.linalg.norm(frames - built, axis=-1)[:, heavy].mean() for frames in (stiff, relaxed)
    )
    assert by_stiff < by_soft / 3


def test_frames_depend_neither_on_others_nor_on_threads_or_copies(whole, minimisation, relaxed):
    _, built = whole
    backwards = [minimisation.apply(frame[None])[0] for frame in built[::-1]]
    assert np.array_equal(np.stack(backwards[::-1]), relaxed)
    copy = pickle.loads(pickle.dumps(minimisation))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(copy.apply, [frame[None] for frame in built]))
    assert np.array_equal(np.concatenate(results), relaxed)


def test_frames_that_fail_are_marked(whole):
    atoms, built = whole
    minimisation = RestrainedMinimisation(atoms, iterations=2)
    frames = built[:2].copy()
    frames[0, 1:40] = frames[0, 0]
    frames[0, 50] = np.inf
    results = minimisation.apply(frames)
    assert np.isnan(results[0, ~select(atoms, "CA")]).all()
    assert np.array_equal(results[1], minimisation.apply(built[1:2])[0])
    assert not np.array_equal(results[1], frames[1])


def test_what_cannot_be_used_is_named(protein, disulfide, whole):
    atoms, coordinates = protein
    with pytest.raises(InputError, match="a minimisation needs hydrogens; add them first"):
        RestrainedMinimisation(atoms, iterations=5)
    complete, built = whole
    with pytest.raises(InputError, match="iterations 0: must be at least 1"):
        RestrainedMinimisation(complete, iterations=0)
    with pytest.raises(InputError, match="stiffness -1: must be finite and at least 0"):
        RestrainedMinimisation(complete, iterations=1, stiffness=-1)
    broken = coordinates.copy()
    broken[:, 90:] += [0.0, 0.0, 2.0]
    with pytest.raises(InputError, match=r"chain A residue \d+ [A-Z]{3}: the chain is broken after this"):
        RestrainedMinimisation(Hydrogens(atoms, broken[0]).atoms, iterations=1)
    without_end = Hydrogens(disulfide[0], disulfide[1][0]).atoms
    with pytest.raises(
        InputError, match="chain A residue 3 GLY: the force field amber14-all.xml has no template"
    ):
        RestrainedMinimisation(without_end, iterations=1)
    unknown = replace(complete, bonds=complete.bonds[1:])
    with pytest.raises(InputError, match="chain A residue 1 ALA: "):
        RestrainedMinimisation(unknown, iterations=1)


def clearance(frames: np.ndarray, atoms: AtomList, beside: FixedSites) -> np.ndarray:
    """How far (frames, atoms) atoms are from touching a site, in nm; negative if they overlap it."""
    apart = np.linalg.norm(frames[:, :, None] - beside.positions[:, None], axis=-1)
    return (apart - explicit_radii(atoms)[:, None] - beside.radii).min(axis=2)


def test_other_molecules_are_avoided(whole):
    """Sites on the far side of the ends of side chains push these away, and nothing else."""
    atoms, frames = whole
    minimisation = RestrainedMinimisation(atoms, iterations=100)
    relaxed = minimisation.apply(frames)
    ends = [np.flatnonzero(select(atoms, name))[0] for name in ("HZ2", "HH21", "HE1")]
    away = frames[:, ends] - frames.mean(axis=1, keepdims=True)
    sites = frames[:, ends] + 0.10 * away / np.linalg.norm(away, axis=-1, keepdims=True)
    beside = FixedSites(sites, np.array([0.14, 0.16, 0.10]))
    moved = minimisation.apply_beside(frames, beside)
    assert clearance(relaxed, atoms, beside).min() < -0.12
    assert clearance(moved, atoms, beside).min() > -0.06
    far = np.linalg.norm(frames[:, :, None] - sites[:, None], axis=-1).min(axis=2) > 1.2
    assert np.abs(moved - relaxed)[far].max() < 0.03
    alone = minimisation.apply_beside(frames[1:2], FixedSites(sites[1:2], beside.radii))
    assert np.array_equal(alone[0], moved[1])
    nothing = FixedSites(sites + 50.0, beside.radii)
    assert np.array_equal(minimisation.apply_beside(frames, nothing), relaxed)
