"""NumPy arrays, as mlcg writes them: beads of one protein, whose sequence is given separately."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from backmap.chemistry.residues import THREE_LETTERS
from backmap.errors import InputError

from ..frames import Frames
from ..selection.records import ResidueRecord
from .fasta import FastaFile
from .reading_errors import explain_reading
from .structure_file import NM_PER_ANGSTROM, AtomRow, residues_of

_CARBONYL = 1.2
"""The distance C-O is 0.8 times the distance CA-C; the distance CB-C is 1.6 times the distance CA-CB."""


class NpyFile:
    """An array (frames, beads, 3), or (trajectories, frames, beads, 3) read one trajectory after another.

    Attributes
    ----------
    nm_per_unit : float
        Length in nm of the unit of the coordinates; 0.1 (Angstrom) unless set otherwise.
    """

    ends_early = False

    def __init__(self, path: Path, sequence: FastaFile | None) -> None:
        self.path = path
        self.nm_per_unit = NM_PER_ANGSTROM
        self._sequence = sequence

    @cached_property
    def residues(self) -> list[ResidueRecord]:
        """The residues of the sequence, each with a bead at the C-alpha, or with N, CA, C, O and CB."""
        sequence = self._known_sequence
        letters = "".join(sequence.records)
        record_of = [number for number, record in enumerate(sequence.records) for _ in record]
        names = self._bead_names(sequence)
        rows = [
            AtomRow(name, THREE_LETTERS[letter], number + 1, segment=str(record), group=number)
            for number, (letter, record) in enumerate(zip(letters, record_of, strict=True))
            for name in (names if letter != "G" or not self._short_glycines else _without_beta(names))
        ]
        return residues_of(rows)

    @property
    def n_atoms(self) -> int:
        """Number of beads."""
        return self._array.shape[1]

    @property
    def n_frames(self) -> int:
        """Number of frames in all trajectories."""
        return self._array.shape[0]

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Read the frames with the given numbers, a few at a time."""
        for first in range(0, len(numbers), frames_per_read):
            piece = numbers[first : first + frames_per_read]
            read = np.asarray(self._array[piece.start : piece.stop : piece.step])
            yield Frames(coordinates=(read * self.nm_per_unit).astype(np.float32))

    @cached_property
    def _array(self) -> np.ndarray:
        with explain_reading(self.path, "a NumPy array"):
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)
        if (
            not isinstance(array, np.ndarray)
            or array.ndim not in (3, 4)
            or not array.shape[-2]
            or array.shape[-1] != 3
        ):
            raise InputError(
                f"{self.path}: has the shape {getattr(array, 'shape', '?')}; give an array of shape (frames, "
                "beads, 3) or (trajectories, frames, beads, 3)"
            )
        if array.dtype.kind not in "fiu":
            raise InputError(
                f"{self.path}: contains {array.dtype} instead of numbers; give coordinates in Angstrom"
            )
        return array.reshape(-1, *array.shape[-2:])

    @property
    def _known_sequence(self) -> FastaFile:
        if self._sequence is None:
            raise InputError(
                f"{self.path}: contains coordinates but no residue names; "
                "give the sequence with --sequence FASTA"
            )
        return self._sequence

    @property
    def _short_glycines(self) -> bool:
        letters = "".join(self._known_sequence.records)
        return self.n_atoms == 5 * len(letters) - letters.count("G")

    def _bead_names(self, sequence: FastaFile) -> tuple[str, ...]:
        """Name the beads of a residue, given their number and their distances in the first frame."""
        letters = "".join(sequence.records)
        if self.n_atoms == len(letters):
            return ("CA",)
        if self.n_atoms != 5 * len(letters) and not self._short_glycines:
            raise InputError(
                f"{self.path}: has {self.n_atoms} beads, but the sequence {sequence.path} has "
                f"{len(letters)} residues; give one bead per residue (C-alphas) or five (N, CA, C, O, CB)"
            )
        return self._order_of_five(letters)

    def _order_of_five(self, letters: str) -> tuple[str, ...]:
        """Tell N, CA, C, O, CB from N, CA, CB, C, O: are the third and fourth bead C and O?"""
        if not self.n_frames:
            return ("N", "CA", "C", "O", "CB")
        sizes = [5 - (letter == "G" and self._short_glycines) for letter in letters]
        starts = np.cumsum([0, *sizes[:-1]])[[letter != "G" for letter in letters]]
        first = np.asarray(self._array[0], dtype=np.float64)
        second, third, fourth = (first[starts + place] for place in (1, 2, 3))
        ratio = np.linalg.norm(fourth - third, axis=-1) / np.linalg.norm(third - second, axis=-1)
        carbonyl = not len(ratio) or np.median(ratio) < _CARBONYL
        return ("N", "CA", "C", "O", "CB") if carbonyl else ("N", "CA", "CB", "C", "O")


def _without_beta(names: tuple[str, ...]) -> tuple[str, ...]:
    """Remove the bead that glycine lacks."""
    return tuple(name for name in names if name != "CB")
