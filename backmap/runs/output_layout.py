"""From built frames to the frames of output files: selection of atoms, and samples per file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backmap.io import FrameChunk, Frames


@dataclass(frozen=True)
class OutputLayout:
    """How built frames are written.

    Parameters
    ----------
    selected : ndarray, (selected,) int64, optional
        Atoms to write; by default all.
    one_file : bool
        Whether all samples of a frame go to one file, one after another, instead of one file per sample.
    """

    selected: np.ndarray | None = None
    one_file: bool = False

    def files(self, samples: int) -> int:
        """Return the number of files for this number of samples."""
        return 1 if self.one_file else samples

    def frames(
        self,
        coordinates: np.ndarray,
        chunk: FrameChunk,
        kept: np.ndarray | slice = slice(None),
        b_factors: np.ndarray | None = None,
    ) -> list[Frames]:
        """Lay out frames with the times, steps and boxes that were read.

        Parameters
        ----------
        coordinates : ndarray, (samples, frames, atoms, 3)
            Built atoms in nm.
        chunk : FrameChunk
            The frames they were built from.
        kept : ndarray, (frames,) bool, or slice
            Frames to write.
        b_factors : ndarray, (frames, atoms), optional
            B-factors of all samples of the frames.

        Returns
        -------
        list of Frames
            One per file.
        """
        coordinates, chunk = coordinates[:, kept], chunk[kept]
        b_factors = None if b_factors is None else b_factors[kept]
        if self.selected is not None:
            coordinates = coordinates[:, :, self.selected]
            b_factors = None if b_factors is None else b_factors[:, self.selected]
        repeats = 1
        if self.one_file:
            repeats = len(coordinates)
            coordinates = coordinates.swapaxes(0, 1).reshape(1, -1, *coordinates.shape[2:])
        extras = {
            name: None if values is None else np.repeat(values, repeats, axis=0)
            for name, values in (
                ("time", chunk.time),
                ("step", chunk.step),
                ("box", chunk.box),
                ("b_factors", b_factors),
            )
        }
        return [Frames(coordinates=frames, **extras, space_group=chunk.space_group) for frames in coordinates]
