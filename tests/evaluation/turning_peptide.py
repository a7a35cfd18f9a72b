"""A peptide at rest whose side chains jump between two wells with a known rate: trajectories for tests."""

from __future__ import annotations

import functools

import mdtraj
import numpy as np

from backmap.chemistry.residues import HEAVY_ATOMS

from . import peptide

SEQUENCE = "ALKFVMTA"
JUMP = 0.02
"""Chance of all side chains to change the well from one frame to the next."""

WELLS = (-65.0, 175.0)
STEP = 5
"""Degrees: side-chain torsions are multiples of it."""


@functools.cache
def shape(chi: int) -> np.ndarray:
    """Return the heavy atoms, (atoms, 3), with all chi at this angle; nm."""
    atoms = peptide.build(SEQUENCE, chi=float(chi))[1].reshape(-1, 3)
    return atoms[np.isfinite(atoms).all(axis=1)]


def topology() -> mdtraj.Topology:
    """Make the molecule with its bonds."""
    made = mdtraj.Topology()
    chain = made.add_chain()
    built = peptide.build(SEQUENCE)[0]
    for index in range(built.n_residues):
        name = built.residue_name(index)
        residue = made.add_residue(name, chain, index + 1)
        for atom in HEAVY_ATOMS[name]:
            made.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residue)
    made.create_standard_bonds()
    return made


def trajectory(frames: int, seed: int = 0, *, jump: float = JUMP, noise: float = 0.001) -> mdtraj.Trajectory:
    """Simulate: jumps between wells, some wobbling, and noise on every atom (nm); 1 ps a frame."""
    generator = np.random.default_rng(seed)
    well = np.cumsum(generator.random(frames) < jump) % 2
    chi = np.take(WELLS, well) + generator.normal(0.0, 8.0, frames)
    positions = np.stack([shape(int(angle)) for angle in (chi / STEP).round() * STEP])
    positions += generator.normal(0.0, noise, positions.shape)
    return mdtraj.Trajectory(positions.astype(np.float32), topology(), time=np.arange(frames, dtype=float))


def with_hydrogens(trajectory: mdtraj.Trajectory) -> mdtraj.Trajectory:
    """Add OXT at the end, and an amide hydrogen before the atoms of every residue but the first."""
    made = mdtraj.Topology()
    chain = made.add_chain()
    places = []
    for residue in trajectory.topology.residues:
        copy = made.add_residue(residue.name, chain, residue.resSeq)
        atoms = [(atom.name, atom.element, atom.index) for atom in residue.atoms]
        if residue.index:
            atoms.insert(0, ("H", mdtraj.element.hydrogen, atoms[0][2]))
        if residue.index == trajectory.n_residues - 1:
            atoms.append(("OXT", mdtraj.element.oxygen, atoms[-1][2]))
        for name, element, place in atoms:
            made.add_atom(name, element, copy)
            places.append(place)
    made.create_standard_bonds()
    positions = trajectory.xyz[:, places].copy()
    positions[:, [atom.index for atom in made.atoms if atom.name in ("H", "OXT")]] += (0.0, 0.0, 0.1)
    return mdtraj.Trajectory(positions, made, time=trajectory.time)


def turned_at_random(positions: np.ndarray, seed: int = 0) -> np.ndarray:
    """Turn and move each frame (frames, atoms, 3) as a whole."""
    generator = np.random.default_rng(seed)
    rotations = np.linalg.qr(generator.normal(size=(len(positions), 3, 3)))[0]
    rotations[:, :, 0] *= np.linalg.det(rotations)[:, None]
    return positions @ rotations + generator.normal(size=(len(positions), 1, 3))
