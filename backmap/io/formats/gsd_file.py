"""GSD files of HOOMD-blue: one bead per residue, named by its particle type."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from backmap.errors import InputError

from ..frames import Frames, join_frames
from ..selection.records import ResidueRecord
from .reading_process import RemoteGsd
from .structure_file import AtomRow, residues_of


class GsdFile:
    """A GSD file. Reading it needs the package ``gsd``.

    Attributes
    ----------
    nm_per_unit : float
        Length in nm of the unit of the coordinates; 1 (nm) unless set otherwise.
    """

    ends_early = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nm_per_unit = 1.0

    @cached_property
    def residues(self) -> list[ResidueRecord]:
        """One residue per particle; a chain begins where a particle is not bonded to the one before."""
        frame = self._file[0]
        if any(kind >= len(frame.types) for kind in frame.typeid):
            raise InputError(f"{self.path}: has particles of a type without a name; name all types")
        names = [frame.types[kind] for kind in frame.typeid]
        return residues_of(
            [
                AtomRow("CA", name.strip().upper(), None, segment=molecule, group=number)
                for number, (name, molecule) in enumerate(
                    zip(names, self._molecules(frame.bonds), strict=True)
                )
            ]
        )

    @cached_property
    def n_atoms(self) -> int:
        """Number of particles in the first frame."""
        return len(self._file[0].positions) if self.n_frames else 0

    @cached_property
    def n_frames(self) -> int:
        """Number of frames."""
        frames = len(self._file)
        if frames > self.path.stat().st_size:
            raise InputError(f"{self.path}: is damaged: it claims to have {frames} frames; copy it again")
        return frames

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Read the frames with the given numbers, a few at a time."""
        for first in range(0, len(numbers), frames_per_read):
            yield join_frames([self._frame(number) for number in numbers[first : first + frames_per_read]])

    @cached_property
    def _file(self) -> RemoteGsd:
        return RemoteGsd(self.path)

    def _molecules(self, bonds: np.ndarray | None) -> list[str]:
        """Number the runs of consecutively bonded particles; all names are empty if there are no bonds."""
        if bonds is None or not len(bonds):
            return [""] * self.n_atoms
        pairs = np.sort(np.asarray(bonds, dtype=np.int64), axis=1)
        bonded = np.zeros(self.n_atoms, dtype=bool)
        if pairs.max() >= self.n_atoms:
            raise InputError(
                f"{self.path}: has a bond to particle {pairs.max()}, which does not exist; write it again"
            )
        bonded[pairs[pairs[:, 1] - pairs[:, 0] == 1, 1]] = True
        return [str(number) for number in np.cumsum(~bonded)]

    def _frame(self, number: int) -> Frames:
        frame = self._file[number]
        particles = len(frame.positions)
        if particles != self.n_atoms:
            raise InputError(
                f"{self.path}: frame {number + 1} has {particles} particles, but the first has "
                f"{self.n_atoms}; give frames with the same particles"
            )
        return Frames(
            coordinates=(np.asarray(frame.positions) * self.nm_per_unit).astype(np.float32)[None],
            box=None if frame.box is None else _vectors(frame.box) * self.nm_per_unit,
            step=np.array([frame.step]),
        )


def _vectors(box: np.ndarray) -> np.ndarray:
    """Return box vectors (1, 3, 3) as rows, given HOOMD's Lx, Ly, Lz and tilt factors xy, xz, yz."""
    x, y, z, xy, xz, yz = (float(value) for value in box)
    return np.array([[[x, 0, 0], [xy * y, y, 0], [xz * z, yz * z, z]]])
