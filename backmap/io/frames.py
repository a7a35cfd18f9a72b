"""Frames of coordinates with their times, steps and boxes: the record in which they pass through backmap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np

NO_SYMMETRY = "P 1"
"""Space group of a cell that contains only the atoms of the file, such as the box of a simulation."""

_PER_FRAME = ("coordinates", "time", "step", "box", "numbers", "b_factors")


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Some frames.

    Indexing with a slice, a mask or indices selects frames; :func:`join_frames` joins pieces.

    Parameters
    ----------
    coordinates : ndarray, (frames, ..., 3)
        Positions in nm.
    time : ndarray, (frames,), optional
        Time in ps.
    step : ndarray, (frames,) int64, optional
        Step of the simulation.
    box : ndarray, (frames, 3, 3), optional
        Cell vectors in nm, zeros for frames without a cell.
    numbers : ndarray, (frames,) int64, optional
        Numbers of the frames in the file, from 0.
    b_factors : ndarray, (frames, atoms), optional
        Values for the B-factor column of PDB and mmCIF files.
    space_group : str
        Hermann-Mauguin symbol: the cell of a crystal also contains symmetry mates of the atoms.
    """

    coordinates: np.ndarray
    time: np.ndarray | None = None
    step: np.ndarray | None = None
    box: np.ndarray | None = None
    numbers: np.ndarray | None = None
    b_factors: np.ndarray | None = None
    space_group: str = NO_SYMMETRY

    def __len__(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, kept: slice | np.ndarray) -> Self:
        """Return some of the frames."""
        values = {name: getattr(self, name) for name in _PER_FRAME}
        chosen: dict[str, Any] = {name: part if part is None else part[kept] for name, part in values.items()}
        return replace(self, **chosen)

    def with_coordinates(self, coordinates: np.ndarray) -> Frames:
        """Return frames of other positions (frames, ..., 3) in nm, with the times and boxes of these."""
        return Frames(
            coordinates=coordinates,
            time=self.time,
            step=self.step,
            box=self.box,
            space_group=self.space_group,
        )

    @property
    def periodic_box(self) -> np.ndarray | None:
        """(frames, 3, 3) box vectors in nm, if the cell is the box of a simulation.

        The cell of a crystal is not, except in space group P 1: the atoms are surrounded by their symmetry
        mates, which the file does not contain.
        """
        return self.box if self.space_group == NO_SYMMETRY else None


AnyFrames = TypeVar("AnyFrames", bound=Frames)


def join_frames(pieces: Sequence[AnyFrames]) -> AnyFrames:
    """Join consecutive pieces. Fields that any piece lacks are dropped; missing boxes become zero."""
    if len(pieces) == 1:
        return pieces[0]
    return replace(
        pieces[0],
        coordinates=np.concatenate([piece.coordinates for piece in pieces]),
        time=_joined([piece.time for piece in pieces]),
        step=_joined([piece.step for piece in pieces]),
        box=_joined_boxes(pieces),
        numbers=_joined([piece.numbers for piece in pieces]),
        b_factors=_joined([piece.b_factors for piece in pieces]),
    )


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Join the parts, or return None if any piece lacks its part."""
    known = [part for part in parts if part is not None]
    return np.concatenate(known) if len(known) == len(parts) else None


def _joined_boxes(pieces: Sequence[Frames]) -> np.ndarray | None:
    if all(piece.box is None for piece in pieces):
        return None
    return np.concatenate(
        [np.zeros((len(piece), 3, 3)) if piece.box is None else piece.box for piece in pieces]
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameChunk(Frames):
    """The sound frames among some consecutive selected frames of a file.

    Parameters
    ----------
    numbers : ndarray, (frames,) int64
        Numbers of the frames in the file, from 0.
    first_frame : int
        Index of the first covered frame, sound or not, among the selected frames, from 0.
    covered : range
        Numbers in the file of all frames that the chunk covers, including bad ones that were left out.
    """

    numbers: np.ndarray
    first_frame: int
    covered: range

    def cut(self, looked_at: int) -> FrameChunk:
        """Return the part that covers the first ``looked_at`` of its selected frames."""
        covered = self.covered[:looked_at]
        return replace(self[: int(np.searchsorted(self.numbers, covered.stop))], covered=covered)

    @property
    def looked_at(self) -> int:
        """Number of selected frames that the chunk covers, including those left out."""
        return len(self.covered)

    @property
    def skipped(self) -> np.ndarray:
        """(skipped frames,) int64: numbers in the file, from 0, of the frames that were left out."""
        return np.setdiff1d(np.asarray(self.covered, dtype=np.int64), self.numbers, assume_unique=True)


def join_chunks(chunks: Sequence[FrameChunk]) -> FrameChunk:
    """Join consecutive chunks."""
    first, last = chunks[0].covered, chunks[-1].covered
    return replace(join_frames(chunks), covered=range(first.start, last.stop, first.step))
