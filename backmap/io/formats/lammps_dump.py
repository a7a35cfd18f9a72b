"""LAMMPS dumps, read frame by frame: all kinds of coordinates and boxes; atoms are sorted by id."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NoReturn

import numpy as np

from backmap.errors import InputError

from ..frames import Frames, join_frames
from ..selection.records import ResidueRecord
from .structure_file import NM_PER_ANGSTROM, AtomRow, residues_of
from .text_file import most_letters, too_large

_FRAME = b"ITEM: TIMESTEP"
_ATOMS = "ITEM: ATOMS"
_COUNT = re.compile(r"\s*[0-9]{1,12}\s*")
_COORDINATES = (("xu", "yu", "zu"), ("x", "y", "z"), ("xsu", "ysu", "zsu"), ("xs", "ys", "zs"))
"""Columns of coordinates, the best first: unwrapped before wrapped, lengths before fractions of the box."""


@dataclass(frozen=True)
class _Box:
    """Origin and vectors of a box, and which directions are periodic."""

    origin: np.ndarray
    vectors: np.ndarray
    periodic: np.ndarray


class LammpsDump:
    """A text dump with one frame or several. Image flags are not used: the box makes molecules whole.

    Attributes
    ----------
    nm_per_unit : float
        Length in nm of the unit of the coordinates; 0.1 (Angstrom) unless set otherwise.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.nm_per_unit = NM_PER_ANGSTROM

    @cached_property
    def residues(self) -> list[ResidueRecord]:
        """One bead per residue, named by its type; molecules are chains."""
        columns = self._parse(0, self._text(0))[2]
        types = columns["type"] if "type" in columns else ["?"] * self.n_atoms
        molecules = columns["mol"] if "mol" in columns else [""] * self.n_atoms
        rows = [
            AtomRow("CA", kind.upper(), None, segment=molecule, group=number)
            for number, (kind, molecule) in enumerate(zip(types, molecules, strict=True))
        ]
        return residues_of(rows)

    @cached_property
    def n_atoms(self) -> int:
        """Number of atoms in a frame."""
        return len(next(iter(self._parse(0, self._text(0))[2].values()))) if self.n_frames else 0

    @cached_property
    def _ids(self) -> np.ndarray:
        return self._parse(0, self._text(0))[2].get("id", np.empty(0))

    @property
    def n_frames(self) -> int:
        """Number of whole frames."""
        return len(self._offsets) - 1 - self.ends_early

    @cached_property
    def ends_early(self) -> bool:
        """Whether part of another frame follows the whole ones."""
        if len(self._offsets) < 2:
            return False
        last = self._text(len(self._offsets) - 2)
        place = next((number for number, line in enumerate(last) if line.startswith(_ATOMS)), None)
        count = _count(last)
        if place is None or count is None or len(last) - place - 1 < count:
            return True
        return len(last[place + count].split()) < len(last[place].split()) - 2

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Read the frames with the given numbers, a few at a time."""
        for first in range(0, len(numbers), frames_per_read):
            yield join_frames([self._frame(number) for number in numbers[first : first + frames_per_read]])

    @cached_property
    def _offsets(self) -> list[int]:
        """Offsets of the frames in the file, and of its end."""
        offsets = []
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            place = text.find(_FRAME)
            while place >= 0:
                offsets.append(place)
                place = text.find(_FRAME, place + 1)
            if not offsets:
                raise InputError(
                    f"{self.path}: cannot be read as a LAMMPS dump; it has no line ITEM: TIMESTEP"
                )
            return [*offsets, len(text)]

    def _text(self, number: int) -> list[str]:
        with self.path.open("rb") as file:
            begin, end = self._offsets[number : number + 2]
            if end - begin > most_letters():
                raise too_large(self.path)
            file.seek(begin)
            text = file.read(end - begin)
        return text.decode("latin-1").splitlines()

    def _frame(self, number: int) -> Frames:
        step, box, columns = self._parse(number, self._text(number))
        names = next((names for names in _COORDINATES if set(names) <= columns.keys()), None)
        if names is None:
            self._refuse(number, "has no coordinates (columns x y z, xs ys zs, xu yu zu or xsu ysu zsu)")
        try:
            positions = np.stack([columns[name].astype(np.float64) for name in names], axis=1)
        except ValueError:
            self._refuse(number, "has a coordinate that is not a number")
        if len(positions) != self.n_atoms:
            self._refuse(number, f"has {len(positions)} atoms, but the first frame has {self.n_atoms}")
        if not np.array_equal(columns.get("id", []), self._ids):
            self._refuse(number, "has different atom ids from the first frame; dump the same atoms")
        if "s" in names[0]:
            positions = box.origin + positions @ box.vectors
        vectors = np.where(box.periodic[:, None], box.vectors, 0.0) * self.nm_per_unit
        return Frames(
            coordinates=(positions * self.nm_per_unit).astype(np.float32)[None],
            box=vectors[None] if box.periodic.any() else None,
            step=np.array([step]),
        )

    def _parse(self, number: int, lines: list[str]) -> tuple[np.int64, _Box, dict[str, np.ndarray]]:
        """Read the step, the box and the columns of the atoms, as text, sorted by id."""
        try:
            step = np.int64(int(lines[1]))
            count = _count(lines)
            if count is None:
                raise ValueError("the number of atoms is missing")
            head = next(place for place, line in enumerate(lines) if line.startswith("ITEM: BOX BOUNDS"))
            box = _box(lines[head], [list(map(float, line.split())) for line in lines[head + 1 : head + 4]])
            place = next(place for place, line in enumerate(lines) if line.startswith(_ATOMS))
            names = lines[place].split()[2:]
            rows = [line.split() for line in lines[place + 1 : place + 1 + count]]
            table = np.array(rows, dtype=object).reshape(count, len(names))
            columns = dict(zip(names, table.T, strict=True))
            if "id" in columns:
                order = np.argsort(columns["id"].astype(np.int64), kind="stable")
                columns = {name: column[order] for name, column in columns.items()}
        except (ValueError, IndexError, StopIteration, TypeError, OverflowError):
            self._refuse(number, "is damaged, or was not written by `dump custom` or `dump atom`")
        return step, box, columns

    def _refuse(self, number: int, reason: str) -> NoReturn:
        raise InputError(f"{self.path}: cannot be read as a LAMMPS dump; frame {number + 1} {reason}")


def _count(lines: list[str]) -> int | None:
    """Return the number of atoms that a frame declares, if any."""
    place = next(
        (place for place, line in enumerate(lines) if line.startswith("ITEM: NUMBER OF ATOMS")), None
    )
    if place is None or place + 1 >= len(lines) or not _COUNT.fullmatch(lines[place + 1]):
        return None
    return int(lines[place + 1])


def _box(head: str, bounds: list[list[float]]) -> _Box:
    """Read a box: orthogonal, triclinic in LAMMPS's restricted form (xy xz yz), or by vectors (abc origin).

    The bounds of the restricted form enclose the tilted box, so its edges are found by subtracting the tilts
    (LAMMPS manual, "Triclinic simulation boxes").
    """
    words = head.split()[3:]
    boundaries = [word for word in words if set(word) <= set("pfsm") and len(word) == 2]
    periodic = np.array([word == "pp" for word in boundaries] or [True] * 3)
    if len(periodic) != 3:
        raise ValueError(head)
    numbers = np.array(bounds)
    if "abc" in words:
        return _Box(numbers[:, 3], numbers[:, :3], periodic)
    xy, xz, yz = numbers[:, 2] if numbers.shape[1] > 2 else (0.0, 0.0, 0.0)
    low, high = numbers[:, 0].copy(), numbers[:, 1].copy()
    low[0] -= min(0.0, xy, xz, xy + xz)
    high[0] -= max(0.0, xy, xz, xy + xz)
    low[1] -= min(0.0, yz)
    high[1] -= max(0.0, yz)
    x, y, z = high - low
    return _Box(low, np.array([[x, 0, 0], [xy, y, 0], [xz, yz, z]]), periodic)
