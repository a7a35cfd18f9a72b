"""PDB files, read model by model, in all dialects that programs write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from backmap.chemistry import standard_residue_name
from backmap.errors import InputEndsEarly, InputError

from ..frames import NO_SYMMETRY, Frames
from ..selection.links import Links, links_in_pdb
from ..selection.protein_selection import CAPS, IONS, WATERS
from ..selection.records import ResidueRecord
from .structure_file import (
    NM_PER_ANGSTROM,
    AtomRow,
    box_vectors,
    residues_of,
    space_group_of,
    stacked_models,
)
from .text_file import most_letters, open_text, too_large

_NAME, _ALTERNATE, _RESIDUE, _FOURTH_LETTER, _CHAIN = slice(12, 16), 16, slice(17, 20), 20, 21
_NUMBER, _INSERTION, _OCCUPANCY, _SEGMENT = slice(22, 26), 26, slice(54, 60), slice(72, 76)
_COORDINATES, _DIGITS = slice(30, 54), 8
_END_OF_B_FACTOR = 66
_SPACE_GROUP = slice(55, 66)
_CELL = ((6, 15), (15, 24), (24, 33), (33, 40), (40, 47), (47, 54))
_ONE_NUMBER = re.compile(r" *[-+]?(?:\d+\.?\d*|\.\d+|nan|inf)(?:[eE][-+]?\d+)? *", re.IGNORECASE)
_ATOM = ("ATOM  ", "HETATM")
_BEGIN_OF_MODEL = "MODEL "
_END_OF_MODEL = ("ENDMDL", "END")
_LETTERS_PER_ATOM = 81
_BYTE_ORDER_MARK = "\xef\xbb\xbf"


class PdbFile:
    """A PDB file, plain or gzipped. Its models are frames."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def residues(self) -> list[ResidueRecord]:
        """All residues of the first model, in file order."""
        self._coordinates(self._first)
        return residues_of(_rows(self._first))

    @property
    def links(self) -> Links:
        """Bonds named by SSBOND and LINK records."""
        return links_in_pdb(self._first.links)

    @property
    def n_atoms(self) -> int:
        """Number of atoms in a model, including alternate locations."""
        return len(self._atom_names)

    @property
    def n_frames(self) -> int:
        """Number of whole models."""
        return self._extent[0]

    @property
    def ends_early(self) -> bool:
        """Whether part of another model follows the whole ones."""
        return self._extent[1]

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Read the models with the given numbers, a few at a time; the text of others is skipped."""
        waiting: list[tuple[np.ndarray, np.ndarray | None]] = []
        for model in self._models(numbers) if numbers else ():
            waiting.append((self._positions(model), model.cell))
            if len(waiting) == frames_per_read:
                yield stacked_models(waiting, self._first.space_group)
                waiting = []
        if waiting:
            yield stacked_models(waiting, self._first.space_group)

    @cached_property
    def _first(self) -> _Model:
        return next(self._models(range(1)), _Model(0))

    @cached_property
    def _atom_names(self) -> list[str]:
        return [line[_NAME] for line in self._first.atoms]

    @cached_property
    def _extent(self) -> tuple[int, bool]:
        """Count models by their text; one without an end counts if it has as many atoms as the first."""
        models = atoms_of_first = atoms = 0
        begun, line = False, "\n"
        try:
            for line in self._lines():
                if line.startswith(_ATOM):
                    atoms += len(line) > _COORDINATES.stop
                elif line.startswith(_BEGIN_OF_MODEL):
                    begun = True
                elif atoms and _ends_model(line):
                    models += 1
                    atoms_of_first = atoms_of_first or atoms
                    begun, atoms = False, 0
        except InputEndsEarly:
            if not models:
                raise
            return models, True
        if not models or (atoms and atoms == atoms_of_first):
            return models + bool(atoms), False
        unfinished = line.strip() and line[-1] not in "\r\n" and _BEGIN_OF_MODEL.startswith(line)
        return models, bool(begun or atoms or unfinished)

    def _positions(self, model: _Model) -> np.ndarray:
        """Return the (atoms, 3) positions of a model in nm, after checking that it has the first's atoms."""
        if [line[_NAME] for line in model.atoms] != self._atom_names:
            raise InputError(
                f"{self.path}: model {model.name} has different atoms from the first model; give every "
                "model the same atoms or split the file"
            )
        return self._coordinates(model)

    def _coordinates(self, model: _Model) -> np.ndarray:
        """Read the (atoms, 3) positions of a model in nm."""
        columns = range(_COORDINATES.start, _COORDINATES.stop, _DIGITS)
        texts = [[line[first : first + _DIGITS] for first in columns] for line in model.atoms]
        try:
            return np.array(texts, dtype=np.float64).reshape(-1, 3) * NM_PER_ANGSTROM
        except ValueError:
            bad = next(row for row, text in enumerate(texts) if not all(map(_ONE_NUMBER.fullmatch, text)))
            raise InputError(
                f"{self.path}: line {model.line_numbers[bad]} lacks three coordinates in columns 31 to 54 "
                f"({model.atoms[bad][_COORDINATES].strip() or 'nothing there'}); "
                "the file is damaged or not a PDB file"
            ) from None

    def _lines(self) -> Iterator[str]:
        with open_text(self.path, "PDB") as lines:
            yield next(lines, "").removeprefix(_BYTE_ORDER_MARK)
            yield from lines

    def _models(self, numbers: range) -> Iterator[_Model]:
        """Split the file at ENDMDL and END records; only pieces with atoms count."""
        place, has_atoms, begun, cell, space_group = 0, False, False, None, NO_SYMMETRY
        model, wanted, line = _Model(1), 0 in numbers, ""
        most_atoms = most_letters() // _LETTERS_PER_ATOM
        for number, line in enumerate(self._lines(), start=1):
            if line.startswith(_ATOM):
                has_atoms = True
                if wanted:
                    model.add(line, number)
                    if len(model.atoms) > most_atoms:
                        raise too_large(self.path)
            elif line[:6].rstrip() == "TER":
                model.parts += 1
            elif line.startswith(("SSBOND", "LINK  ")):
                model.links.append(line)
            elif line.startswith("CRYST1"):
                cell, space_group = _cell(line), space_group_of(line[_SPACE_GROUP])
            elif line.startswith(_BEGIN_OF_MODEL):
                begun = True
                model.name = line[10:14].strip() or line[5:].strip()
            elif has_atoms and _ends_model(line):
                model.cell, model.space_group = cell, space_group
                if wanted:
                    yield model
                place, has_atoms, begun = place + 1, False, False
                model, wanted = _Model(place + 1), place in numbers
                if place >= numbers.stop:
                    return
        if has_atoms and wanted:
            if not place:
                self._require_end(begun, model, line)
            model.cell, model.space_group = cell, space_group
            yield model

    def _require_end(self, begun: bool, model: _Model, line: str) -> None:
        """Refuse a file that is truncated in its first model; ``line`` is its last line."""
        if begun:
            raise InputEndsEarly(
                f"{self.path}: ends in the middle of its first frame, as no ENDMDL follows its MODEL record; "
                "copy it again, or add ENDMDL if it is complete"
            )
        if line.startswith(_ATOM) and line[-1] not in "\r\n" and len(line) < _length_of_first(model):
            raise InputEndsEarly(f"{self.path}: ends in the middle of an atom record; copy it again")


class _Model:
    """The text of one model: its atoms with line numbers and parts between TER records, and its box."""

    def __init__(self, number: int) -> None:
        self.name = str(number)
        self.atoms: list[str] = []
        self.line_numbers: list[int] = []
        self.part_of: list[int] = []
        self.parts = 0
        self.links: list[str] = []
        self.cell: np.ndarray | None = None
        self.space_group = NO_SYMMETRY

    def add(self, line: str, number: int) -> None:
        """Add the record of an atom."""
        self.atoms.append(line)
        self.line_numbers.append(number)
        self.part_of.append(self.parts)


def _ends_model(line: str) -> bool:
    return line.startswith("END") and line[:6].rstrip() in _END_OF_MODEL


def _length_of_first(model: _Model) -> int:
    """Return the length of a complete record: coordinates, and a B factor if the first atom has one."""
    return max(_COORDINATES.stop, min(_END_OF_B_FACTOR, len(model.atoms[0].rstrip())))


def _rows(model: _Model) -> list[AtomRow]:
    """Read the columns of a model's atoms except coordinates."""
    long_chains = has_long_chain_names(line[17:21] for line in model.atoms)
    return [_row(line, part, long_chains) for line, part in zip(model.atoms, model.part_of, strict=True)]


def _row(line: str, part: int, long_chains: bool) -> AtomRow:
    line = line.rstrip("\r\n")
    residue, chain = line[_RESIDUE], line[_CHAIN : _CHAIN + 1]
    fourth = line[_FOURTH_LETTER : _FOURTH_LETTER + 1]
    if long_chains:
        chain = fourth + chain
    else:
        residue += fourth
    return AtomRow(
        name=line[_NAME].strip(),
        residue=residue.strip().upper(),
        number=read_residue_number(line[_NUMBER]),
        chain=chain.strip(),
        segment=line[_SEGMENT].strip(),
        part=part,
        insertion_code=line[_INSERTION : _INSERTION + 1].strip(),
        alternate=line[_ALTERNATE : _ALTERNATE + 1].strip(),
        occupancy=_number_or(line[_OCCUPANCY], 1.0),
        hetero=line.startswith("HETATM"),
    )


def has_long_chain_names(written: Iterable[str]) -> bool:
    """Return whether column 21 starts the chain name, rather than ending a residue name (LYSH, NALA ...).

    ``written`` are columns 18 to 21 of all atoms.
    """
    return any(name[3:].strip() and _is_known(name[:3]) and not _is_known(name) for name in set(written))


def _is_known(name: str) -> bool:
    name = name.strip().upper()
    return standard_residue_name(name) is not None or name in CAPS | WATERS | IONS


def read_residue_number(text: str) -> int | None:
    """Read a residue number, including hybrid-36 (A000 after 9999); None if there is none."""
    text = text.strip()
    try:
        return int(text)
    except ValueError:
        pass
    if len(text) != 4 or not text.isascii() or not text.isalnum() or not text[0].isalpha():
        return None
    behind = 10**4 if text[0].isupper() else 10**4 + 26 * 36**3
    return int(text, 36) - 10 * 36**3 + behind


def _number_or(text: str, otherwise: float) -> float:
    try:
        return float(text)
    except ValueError:
        return otherwise


def _cell(line: str) -> np.ndarray | None:
    """Read the box vectors (3, 3) in nm of a CRYST1 record; None if it stands for no box."""
    try:
        sizes = [float(line[first:last]) for first, last in _CELL]
    except ValueError:
        return None
    return box_vectors(sizes)
