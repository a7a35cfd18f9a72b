"""Frames of all-atom trajectories with those before them, for models that go along time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backmap.chemistry import Molecule
from backmap.datasets.time_split import split_in_time
from backmap.errors import InputError
from backmap.io import load_topology, load_trajectory

if TYPE_CHECKING:
    import mdtraj

LONGEST_BOND_NM = 0.4
"""Bonded atoms farther apart than this lie on two sides of a periodic box."""


def molecule_of(topology: mdtraj.Topology) -> Molecule:
    """The molecule of an mdtraj topology; bonds are mdtraj's standard ones where the file has none."""
    if topology.n_bonds == 0:
        topology = topology.copy()
        topology.create_standard_bonds()
    atoms = list(topology.atoms)
    unknown = next((atom for atom in atoms if atom.element is None), None)
    if unknown is not None:
        raise InputError(
            f"atom {unknown.index + 1}, {unknown}, has no element; give a topology that names it"
        )
    return Molecule(
        tuple(atom.name for atom in atoms),
        tuple(atom.element.symbol for atom in atoms),
        tuple(atom.residue.name for atom in atoms),
        tuple(atom.residue.resSeq for atom in atoms),
        tuple((first.index, second.index) for first, second in topology.bonds),
    )


@dataclass(frozen=True)
class FramePairs:
    """Consecutive frames of one or more trajectories.

    Parameters
    ----------
    coordinates : ndarray, (frames, atoms, 3) float32
        All trajectories one after another, nm.
    lengths : tuple of int
        Frames of each trajectory.
    previous_frames : int
        Frames needed before a frame that may be drawn.
    frame_interval_ps : float
        Time between frames, as the files say.
    """

    coordinates: np.ndarray
    lengths: tuple[int, ...]
    previous_frames: int
    frame_interval_ps: float = 1.0

    @cached_property
    def present(self) -> np.ndarray:
        """Indices of the frames that have enough frames before them in their trajectory."""
        starts = np.cumsum((0, *self.lengths[:-1]))
        parts = [
            np.arange(start + self.previous_frames, start + length)
            for start, length in zip(starts, self.lengths, strict=True)
        ]
        return np.concatenate(parts)

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 of the coordinates."""
        return hashlib.sha256(np.ascontiguousarray(self.coordinates).data).hexdigest()

    def take(self, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Frames (batch, atoms, 3) and those before them (batch, previous_frames, atoms, 3), newest last."""
        before = present[:, None] - np.arange(self.previous_frames, 0, -1)
        return self.coordinates[present], self.coordinates[before]

    def split(self, train_share: float) -> tuple[FramePairs, FramePairs]:
        """The first part of every trajectory to train on, and the rest to validate.

        Raises
        ------
        InputError
            If one of the parts has no frame with enough frames before it.
        """
        sides = []
        for slices in split_in_time(self.lengths, train_share):
            parts = [self.coordinates[part] for part in slices]
            coordinates = parts[0] if len(parts) == 1 else np.concatenate(parts)
            lengths = tuple(part.stop - part.start for part in slices)
            sides.append(FramePairs(coordinates, lengths, self.previous_frames, self.frame_interval_ps))
        if not all(len(side.present) for side in sides):
            raise InputError(
                f"{sum(self.lengths)} frames cannot be parted with train_share {train_share}: "
                f"each part needs a frame and {self.previous_frames} before it"
            )
        return sides[0], sides[1]


def load_frame_pairs(
    trajectories: Sequence[str | Path], topology: str | Path, previous_frames: int, stride: int = 1
) -> tuple[FramePairs, Molecule]:
    """Read whole trajectories of one molecule.

    Parameters
    ----------
    trajectories : sequence of path
        All-atom trajectories, in any format that holds coordinates.
    topology : path
        Their topology.
    previous_frames : int
        Frames needed before a frame.
    stride : int
        Keep every ``stride``-th frame.

    Raises
    ------
    InputError
        If a file cannot be read, is too short, or holds a molecule torn apart by a periodic box that it does
        not give.
    """
    molecule = molecule_of(load_topology(topology))
    parts = [load_trajectory(path, topology, stride) for path in trajectories]
    for path, part in zip(trajectories, parts, strict=True):
        if len(part) <= previous_frames + 1:
            raise InputError(f"{path} has {len(part)} frames, too few to learn how one follows another")
        if not np.isfinite(part.xyz).all():
            frame = int(np.argwhere(~np.isfinite(part.xyz))[0, 0])
            raise InputError(f"{path}: frame {frame + 1} holds coordinates that are not finite numbers")
        _make_whole(part, molecule, str(path))
    coordinates = parts[0].xyz if len(parts) == 1 else np.concatenate([part.xyz for part in parts])
    interval = float(parts[0].time[1] - parts[0].time[0])
    return FramePairs(coordinates, tuple(len(part) for part in parts), previous_frames, interval), molecule


def _make_whole(trajectory: mdtraj.Trajectory, molecule: Molecule, path: str) -> None:
    """Undo jumps across a periodic box, in place."""
    if _first_torn(trajectory.xyz, molecule) is None:
        return
    if trajectory.unitcell_vectors is not None:
        bonds = np.array(molecule.bonds, dtype=np.int32)
        trajectory.make_molecules_whole(inplace=True, sorted_bonds=bonds[np.argsort(bonds.max(axis=1))])
    torn = _first_torn(trajectory.xyz, molecule)
    if torn is not None:
        raise InputError(
            f"{path}: frame {torn + 1} has a bond longer than {LONGEST_BOND_NM} nm, as across a periodic "
            "box; make the molecule whole first (mdtraj: make_molecules_whole, GROMACS: trjconv -pbc whole)"
        )


def _first_torn(coordinates: np.ndarray, molecule: Molecule) -> int | None:
    first, second = np.array(molecule.bonds, dtype=np.int64).reshape(-1, 2).T
    for start in range(0, len(coordinates), 10_000):
        part = coordinates[start : start + 10_000]
        torn = (np.linalg.norm(part[:, first] - part[:, second], axis=-1) > LONGEST_BOND_NM).any(axis=1)
        if torn.any():
            return start + int(torn.argmax())
    return None
