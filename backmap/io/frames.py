"""Frames of coordinates, with what belongs to each: the one record in which they pass through backmap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

import numpy as np

NO_SYMMETRY = "P 1"
"""Space group of a cell that holds nothing but the atoms of the file, as the box of a simulation."""

_PER_FRAME = ("coordinates", "time", "step", "box", "numbers")


@dataclass(frozen=True, kw_only=True, eq=False)
class Frames:
    """Some frames.

    Indexing with a slice, a mask or indices gives some of them; :func:`join_frames` puts pieces together.

    Parameters
    ----------
    coordinates : ndarray, (frames, ..., 3)
        Positions in nm.
    time : ndarray, (frames,), optional
        Time in ps.
    step : ndarray, (frames,) int64, optional
        Step of the simulation.
    box : ndarray, (frames, 3, 3), optional
        Vectors of the cell in nm, zeros where a frame has none.
    numbers : ndarray, (frames,) int64, optional
        Their numbers in the file, from 0.
    space_group : str
        Hermann-Mauguin symbol: a crystal's cell holds symmetry mates of the atoms as well.
    """

    coordinates: np.ndarray
    time: np.ndarray | None = None
    step: np.ndarray | None = None
    box: np.ndarray | None = None
    numbers: np.ndarray | None = None
    space_group: str = NO_SYMMETRY

    def __len__(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, kept: slice | np.ndarray) -> Self:
        """Give some of the frames."""
        values = {name: getattr(self, name) for name in _PER_FRAME}
        chosen: dict[str, Any] = {name: part if part is None else part[kept] for name, part in values.items()}
        return replace(self, **chosen)

    @property
    def periodic_box(self) -> np.ndarray | None:
        """(frames, 3, 3) vectors in nm of the box of a simulation, if that is what the cell is.

        The cell of a crystal is none, except in space group P 1: what lies around the atoms there are their
        symmetry mates, which the file does not hold.
        """
        return self.box if self.space_group == NO_SYMMETRY else None


AnyFrames = TypeVar("AnyFrames", bound=Frames)


def join_frames(pieces: Sequence[AnyFrames]) -> AnyFrames:
    """Join consecutive pieces. What one of them lacks is dropped; a box is zero where a piece has none."""
    if len(pieces) == 1:
        return pieces[0]
    return replace(
        pieces[0],
        coordinates=np.concatenate([piece.coordinates for piece in pieces]),
        time=_joined([piece.time for piece in pieces]),
        step=_joined([piece.step for piece in pieces]),
        box=_joined_boxes(pieces),
        numbers=_joined([piece.numbers for piece in pieces]),
    )


def _joined(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Join what every piece has, or give None where one lacks it."""
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
    """The sound ones among some consecutive frames that were selected of a file.

    Parameters
    ----------
    numbers : ndarray, (frames,) int64
        Numbers of the frames in the file, from 0.
    first_frame : int
        Place of the first of them, sound or not, among the selected frames, from 0.
    covered : range
        Numbers in the file of all frames that the chunk stands for, with the bad ones that were left out.
    """

    numbers: np.ndarray
    first_frame: int
    covered: range

    def cut(self, looked_at: int) -> FrameChunk:
        """Give what stands for the first so many of its selected frames."""
        covered = self.covered[:looked_at]
        return replace(self[: int(np.searchsorted(self.numbers, covered.stop))], covered=covered)

    @property
    def looked_at(self) -> int:
        """How many selected frames the chunk stands for, those left out included."""
        return len(self.covered)

    @property
    def skipped(self) -> np.ndarray:
        """(left out,) int64 numbers in the file, from 0, of the frames that were left out."""
        return np.setdiff1d(np.asarray(self.covered, dtype=np.int64), self.numbers, assume_unique=True)


def join_chunks(chunks: Sequence[FrameChunk]) -> FrameChunk:
    """Join consecutive chunks."""
    first, last = chunks[0].covered, chunks[-1].covered
    return replace(join_frames(chunks), covered=range(first.start, last.stop, first.step))
