"""An alanine dipeptide that jumps between two shapes with a known time scale: trajectories for tests."""

from __future__ import annotations

import mdtraj
import numpy as np

JUMP = 0.04
"""Chance to change the shape from one frame to the next."""

TIME_SCALE = -1.0 / np.log(1.0 - 2.0 * JUMP)
"""Frames: the second eigenvalue of the two shapes' transition matrix is 1 - 2 JUMP."""

SHAPES = np.radians([(0.0, 0.0), (120.0, 100.0)])
"""Turns about N-CA and CA-C."""

ATOMS = """
ACE H1 2.000 1.000 0; ACE CH3 2.000 2.090 0; ACE H2 1.486 2.454 .890; ACE H3 1.486 2.454 -.890
ACE C 3.427 2.641 0; ACE O 4.391 1.877 0; ALA N 3.555 3.970 0; ALA H 2.733 4.556 0; ALA CA 4.853 4.614 0
ALA HA 5.408 4.316 .890; ALA CB 5.661 4.221 -1.232; ALA HB1 5.123 4.521 -2.131; ALA HB2 6.630 4.719 -1.206
ALA HB3 5.809 3.141 -1.241; ALA C 4.713 6.129 0; ALA O 3.601 6.653 0; NME N 5.846 6.835 0; NME H 6.737 6.359 0
NME C 5.846 8.284 0; NME H1 4.819 8.648 0; NME H2 6.360 8.648 .890; NME H3 6.360 8.648 -.890
"""
RECORDS = [record.split() for record in ATOMS.strip().replace("\n", ";").split(";")]
POSITIONS = np.array([record[2:] for record in RECORDS], dtype=float) / 10.0


def topology() -> mdtraj.Topology:
    """Make the molecule with its bonds."""
    made = mdtraj.Topology()
    chain = made.add_chain()
    residues = {
        name: made.add_residue(name, chain, number) for number, name in enumerate(("ACE", "ALA", "NME"), 1)
    }
    for name, atom, *_ in RECORDS:
        made.add_atom(atom, mdtraj.element.get_by_symbol(atom[0]), residues[name])
    made.create_standard_bonds()
    return made


def trajectory(frames: int, seed: int = 0, *, noise: float = 0.002) -> mdtraj.Trajectory:
    """Simulate: jumps between the shapes, wobbling torsions, and noise on every atom (nm); 1 ps a frame."""
    generator = np.random.default_rng(seed)
    shape = np.cumsum(generator.random(frames) < JUMP) % 2
    phi, psi = (SHAPES[shape] + generator.normal(0.0, 0.25, (frames, 2))).T
    positions = np.repeat(POSITIONS[None], frames, axis=0)
    positions = _turned(positions, 6, 8, np.arange(9, 22), phi)
    positions = _turned(positions, 8, 14, np.arange(15, 22), psi)
    positions += generator.normal(0.0, noise, positions.shape)
    return mdtraj.Trajectory(positions.astype(np.float32), topology(), time=np.arange(frames, dtype=float))


def _turned(positions: np.ndarray, start: int, end: int, moved: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Turn atoms about the axis from one atom to another (Rodrigues)."""
    axis = positions[:, end] - positions[:, start]
    axis = (axis / np.linalg.norm(axis, axis=1, keepdims=True))[:, None]
    arm = positions[:, moved] - positions[:, [end]]
    cosine, sine = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    along = (arm * axis).sum(axis=-1, keepdims=True) * axis
    turned = positions.copy()
    turned[:, moved] = (
        positions[:, [end]]
        + along
        + (arm - along) * cosine
        + np.cross(np.broadcast_to(axis, arm.shape), arm) * sine
    )
    return turned
