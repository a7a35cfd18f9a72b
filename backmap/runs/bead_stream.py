"""Frames of beads on their way from atoms to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from backmap.io import AtomList, Frames


@dataclass(frozen=True)
class BeadStream:
    """Beads of the frames of a file.

    Parameters
    ----------
    listed : AtomList
        The beads.
    inputs : tuple of Path
        Files that are read.
    frame_interval_ps : float or None
        Time between frames, if it is known.
    frames_per_chunk : int
        Frames that fit into memory together.
    read : callable
        Yields chunks of this many frames with coordinates (frames, beads, 3) in nm.
    """

    listed: AtomList
    inputs: tuple[Path, ...]
    frame_interval_ps: float | None
    frames_per_chunk: int
    read: Callable[[int], Iterator[Frames]]

    def followed_by(self, other: BeadStream) -> BeadStream:
        """Return these beads and then other beads of the same frames."""

        def read(frames_per_chunk: int) -> Iterator[Frames]:
            pairs = zip(self.read(frames_per_chunk), other.read(frames_per_chunk), strict=True)
            for own, further in pairs:
                yield replace(own, coordinates=np.concatenate([own.coordinates, further.coordinates], axis=1))

        inputs = tuple(dict.fromkeys([*self.inputs, *other.inputs]))
        fitting = min(self.frames_per_chunk, other.frames_per_chunk)
        return BeadStream(
            self.listed.followed_by(other.listed), inputs, self.frame_interval_ps, fitting, read
        )
