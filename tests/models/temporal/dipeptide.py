"""Alanine dipeptide that moves: all internal coordinates fluctuate, each frame following the one before."""

from pathlib import Path

import mdtraj
import numpy as np
import torch

from backmap.chemistry import LinearMapping, Molecule
from backmap.datasets.frame_pairs import FramePairs, molecule_of
from backmap.models.temporal.internal_coordinates import InternalCoordinates, InternalValues

STRUCTURE = Path(__file__).parents[3] / "examples/alanine_dipeptide/alanine_dipeptide.pdb"
BEAD_ATOMS = [4, 6, 8, 10, 14, 16]


def dipeptide() -> tuple[Molecule, LinearMapping, torch.Tensor]:
    """The molecule, its beads, and one frame (atoms, 3)."""
    loaded = mdtraj.load(str(STRUCTURE))
    molecule = molecule_of(loaded.topology)
    return molecule, LinearMapping.from_atoms(BEAD_ATOMS, molecule), torch.from_numpy(loaded.xyz[0])


def moving_dipeptide(frames: int, seed: int = 0, previous_frames: int = 1) -> FramePairs:
    """A trajectory: noise that is half of the frame before on beads, lengths, angles and torsions."""
    molecule, mapping, start = dipeptide()
    coordinates = InternalCoordinates(molecule, mapping)
    generator = np.random.default_rng(seed)

    def noise(*shape: int) -> torch.Tensor:
        values = generator.normal(size=(frames, *shape)).astype(np.float32)
        for t in range(1, frames):
            values[t] = 0.5 * values[t - 1] + 0.87 * values[t]
        return torch.from_numpy(values)

    beads = start[BEAD_ATOMS] + 0.002 * noise(mapping.n_beads, 3)
    rest = coordinates.measure(start.unsqueeze(0))
    placed = coordinates.placed
    values = InternalValues(
        rest.length + 0.002 * noise(placed),
        rest.angle + 0.05 * noise(placed),
        rest.torsion + 0.1 * noise(placed),
    )
    return FramePairs(coordinates.place(beads, values).numpy(), (frames,), previous_frames)


def following_frames(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (count, atoms, 3) and those before them (count, 1, atoms, 3)."""
    pairs = moving_dipeptide(count + 1, seed)
    frame, previous = pairs.take(pairs.present)
    return torch.from_numpy(frame), torch.from_numpy(previous)
