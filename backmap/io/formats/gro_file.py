"""GRO files, read frame by frame: box lines of all programs, and residue numbers that restart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from itertools import count, islice
from pathlib import Path
from typing import NoReturn

import numpy as np

from backmap.errors import InputEndsEarly, InputError

from ..frames import Frames, join_frames
from ..selection.records import ResidueRecord
from .structure_file import ANGSTROM_PER_NM, AtomRow, box_vectors, residues_of
from .text_file import held, open_text

_NUMBER, _RESIDUE, _NAME, _FIRST_COORDINATE = slice(0, 5), slice(5, 10), slice(10, 15), 20
_COUNT = re.compile(r"[0-9]{1,9}")
_TIME = re.compile(r"\bt\s*=\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)")
_FULL_WIDTH = re.compile(r"-?\d+\.\d{5}")
"""A number in a box line whose columns touch."""
GRO_BOX_ORDER = [0, 4, 8, 1, 2, 3, 5, 6, 7]
"""Positions of v1x v2y v3z v1y v1z v2x v2z v3x v3y in a matrix with one box vector per row."""


class GroFile:
    """A GRO file with one frame or several."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def residues(self) -> list[ResidueRecord]:
        """All residues of the first frame, in file order."""
        rows = [
            AtomRow(line[_NAME].strip(), line[_RESIDUE].strip().upper(), _integer(line[_NUMBER]))
            for line in self._first
        ]
        return residues_of(rows)

    @property
    def n_atoms(self) -> int:
        """Number of atoms in a frame."""
        return len(self._first)

    @property
    def n_frames(self) -> int:
        """Number of whole frames."""
        return self._extent[0]

    @property
    def ends_early(self) -> bool:
        """Whether part of another frame follows the whole ones."""
        return self._extent[1]

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Read the frames with the given numbers, a few at a time."""
        waiting: list[Frames] = []
        for number, (title, lines, box) in enumerate(self._texts()):
            if number in numbers:
                waiting.append(self._frame(number, title, lines, box))
            if len(waiting) == frames_per_read or (waiting and number + 1 >= numbers.stop):
                yield join_frames(waiting)
                waiting = []
            if number + 1 >= numbers.stop:
                return
        if waiting:
            yield join_frames(waiting)

    @cached_property
    def _first(self) -> list[str]:
        """The lines of the first frame's atoms."""
        return next(self._texts(), ("", [], ""))[1]

    @cached_property
    def _extent(self) -> tuple[int, bool]:
        frames = 0
        try:
            for _ in self._texts():
                frames += 1
        except InputEndsEarly:
            if not frames:
                raise
            return frames, True
        return frames, False

    def _texts(self) -> Iterator[tuple[str, list[str], str]]:
        """Yield the title, the atom lines and the box line of each frame."""
        words_of_box = 0
        with open_text(self.path, "GRO") as text:
            for number in count(1):
                title = next(text, "")
                if not title or (number > 1 and not title.strip()):
                    return
                atoms = self._count(number, next(text, ""))
                lines = list(held(islice(text, atoms), self.path))
                box = next(text, "")
                words = len(box.split())
                if len(lines) < atoms or (lines and lines[-1][-1] != "\n") or words < words_of_box:
                    raise InputEndsEarly(
                        f"{self.path}: cannot be read as GRO; frame {number} ends before its {atoms} atoms "
                        "and its box; write or copy it again"
                    )
                words_of_box = words if number == 1 else words_of_box
                yield title, lines, box

    def _count(self, number: int, line: str) -> int:
        """Read the number of atoms of a frame."""
        text = line.strip()
        if not line and number > 1:
            raise InputEndsEarly(f"{self.path}: cannot be read as GRO; frame {number} has only a title")
        if not _COUNT.fullmatch(text):
            self._refuse(number, f"has no number of atoms on its second line ({text[:40] or 'empty'})")
        return int(text)

    def _frame(self, number: int, title: str, lines: list[str], box: str) -> Frames:
        if len(lines) != self.n_atoms:
            self._refuse(number + 1, f"has {len(lines)} atoms, but the first frame has {self.n_atoms}")
        vectors = self._box(number, box)
        time = _TIME.search(title)
        return Frames(
            coordinates=self._positions(number, lines)[None],
            time=None if time is None else np.array([float(time.group(1))]),
            box=None if vectors is None else vectors[None],
        )

    def _positions(self, number: int, lines: list[str]) -> np.ndarray:
        """Read (atoms, 3) positions in nm; columns are as wide as the distance between decimal points."""
        if not lines:
            return np.empty((0, 3), dtype=np.float32)
        points = [
            place for place, letter in enumerate(lines[0]) if letter == "." and place >= _FIRST_COORDINATE
        ]
        width = points[1] - points[0] if len(points) > 1 else 8
        starts = range(_FIRST_COORDINATE, _FIRST_COORDINATE + 3 * width, width)
        texts = [[line[start : start + width] for start in starts] for line in lines]
        try:
            return np.array(texts, dtype=np.float64).astype(np.float32)
        except ValueError:
            bad = next(place for place, row in enumerate(texts) if not all(map(_is_number, row)))
            self._refuse(number + 1, f"lacks three coordinates for its atom {bad + 1} ({lines[bad].strip()})")

    def _box(self, number: int, line: str) -> np.ndarray | None:
        """Read the box vectors (3, 3) in nm: 3 or 9 numbers, or lengths and angles; None for no box."""
        words = line.split()
        if not all(map(_is_number, words)):
            words = _FULL_WIDTH.findall(line)
            if "".join(words) != "".join(line.split()):
                self._refuse(number + 1, f"has a box line that is not numeric ({line.strip()})")
        values = [float(word) for word in words]
        if not any(values):
            return None
        if len(values) == 6:
            vectors = box_vectors([*(ANGSTROM_PER_NM * size for size in values[:3]), *values[3:]])
            if vectors is None or not all(0 < angle < 180 for angle in values[3:]):
                self._refuse(number + 1, f"has a box with impossible angles ({line.strip()})")
            return vectors
        if len(values) not in (3, 9):
            self._refuse(number + 1, f"has a box of {len(values)} numbers ({line.strip()}) instead of 3 or 9")
        vectors = np.zeros(9)
        vectors[GRO_BOX_ORDER[: len(values)]] = values
        return vectors.reshape(3, 3)

    def _refuse(self, number: int, reason: str) -> NoReturn:
        raise InputError(
            f"{self.path}: cannot be read as GRO; frame {number} {reason}; write or copy it again"
        )


def _integer(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
