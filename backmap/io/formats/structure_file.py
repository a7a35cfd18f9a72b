"""Common parts of all structure files: frames of coordinates, and atoms grouped into residues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from typing import NamedTuple, Protocol

import gemmi
import numpy as np

from backmap.chemistry import RESIDUE_INDEX, standard_residue_name

from ..frames import NO_SYMMETRY, Frames, join_frames
from ..selection.protein_selection import is_ion
from ..selection.records import AtomRecord, ResidueRecord

NM_PER_ANGSTROM = 0.1
ANGSTROM_PER_NM = 10.0

_TERMINAL_OXYGENS = frozenset({"OXT", "OT2", "OC2"})


class FrameFile(Protocol):
    """Anything that frames can be read from."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms in a frame."""

    @property
    def n_frames(self) -> int:
        """Number of whole frames."""

    @property
    def ends_early(self) -> bool:
        """Whether part of another frame follows the whole ones."""

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Read the frames with the given numbers, a few at a time."""


class NamesFile(Protocol):
    """Anything that names residues."""

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""

    @property
    def residues(self) -> list[ResidueRecord]:
        """All residues, in file order."""


class AtomRow(NamedTuple):
    """One atom as listed in a file.

    ``part`` distinguishes pieces of the file that share a chain name, ``group`` residues that the file itself
    separates. ``hetero`` marks atoms that may not belong to a chain according to the file.
    """

    name: str
    residue: str
    number: int | None
    chain: str = ""
    segment: str = ""
    part: int = 0
    insertion_code: str = ""
    alternate: str = ""
    occupancy: float = 1.0
    hetero: bool = False
    group: int = 0

    @property
    def place(self) -> tuple[object, ...]:
        """The values that all atoms of a residue share."""
        return (self.part, self.chain, self.segment, self.number, self.insertion_code, self.residue)


def residues_of(rows: Sequence[AtomRow]) -> list[ResidueRecord]:
    """Group atoms into residues, in the order of their first atoms.

    The atoms of a residue need not be adjacent: later ones join it if they add to it. A residue without a
    number continues the numbering of the one before. The file's own chains end where their name, segment or
    part changes; chains without a name also end after a terminal oxygen.
    """
    records: list[ResidueRecord] = []
    chain = -1
    last: AtomRow | None = None
    ended = False
    for group in _joined(_runs(rows), rows):
        row = rows[group[0]]
        labelled = bool(row.chain or row.segment)
        label = (row.part, row.chain, row.segment)
        if last is None or label != (last.part, last.chain, last.segment) or (ended and not labelled):
            chain += 1
        counted_on = records[-1].number + 1 if records and records[-1].chain == chain else 1
        atoms = tuple(
            AtomRecord(rows[index].name, index, rows[index].alternate, rows[index].occupancy)
            for index in group
        )
        records.append(
            ResidueRecord(
                chain=chain,
                chain_id=row.chain,
                number=counted_on if row.number is None else row.number,
                insertion_code=row.insertion_code,
                name=row.residue,
                atoms=atoms,
                labelled=labelled,
                numbered=row.number is not None,
            )
        )
        last, ended = row, any(atom.name in _TERMINAL_OXYGENS for atom in atoms)
    return _with_ligands(records, [rows[record.atoms[0].index].hetero for record in records])


def _runs(rows: Sequence[AtomRow]) -> Iterator[list[int]]:
    """Split rows where the residue changes or, in residues without a number, where an atom is repeated."""
    for _, group in groupby(range(len(rows)), key=lambda index: (rows[index].place, rows[index].group)):
        run = list(group)
        if rows[run[0]].number is not None or len(run) == 1:
            yield run
            continue
        names: set[tuple[str, str]] = set()
        begin = 0
        for place, index in enumerate(run):
            name = rows[index].name, rows[index].alternate
            if name in names:
                yield run[begin:place]
                begin, names = place, set()
            names.add(name)
        yield run[begin:]


class _Begun:
    """A residue that more atoms may join: the rows, names and alternate locations of those it has."""

    __slots__ = ("_atoms", "_of_file", "residue", "rows")

    def __init__(self, rows: list[int], of_file: Sequence[AtomRow]) -> None:
        self.rows, self._of_file = rows, of_file
        self.residue = of_file[rows[0]].residue
        self._atoms: set[tuple[str, str]] | None = None

    @property
    def atoms(self) -> set[tuple[str, str]]:
        """Names and alternate locations, computed on demand, as most residues are never joined."""
        if self._atoms is None:
            self._atoms = _names_of(self.rows, self._of_file)
        return self._atoms

    def join(self, rows: list[int], atoms: set[tuple[str, str]]) -> None:
        """Add a later run."""
        self._atoms = self.atoms | atoms
        self.rows.extend(rows)

    def is_joined_by(self, atoms: set[tuple[str, str]], residue: str, adjacent: bool) -> bool:
        """Return whether a later run is part of the residue, rather than another one with its number.

        Such a run has no C-alpha of its own and adds new atoms; an adjacent run may also repeat atoms.
        """
        names = {name for name, _ in atoms}
        if "CA" in names and (residue != self.residue or ("CA", "") in atoms):
            return False
        return not atoms & self.atoms or (adjacent and "CA" not in names)


def _joined(runs: Iterable[list[int]], rows: Sequence[AtomRow]) -> list[list[int]]:
    """Join the runs of atoms that make up one residue, wherever they are."""
    groups: list[_Begun] = []
    begun: dict[tuple[object, ...], list[_Begun]] = {}
    for run in runs:
        row = rows[run[0]]
        amino_acid = standard_residue_name(row.residue) is not None
        waiting = begun.setdefault((*row.place[:-1], amino_acid or row.residue), [])
        candidates = waiting if row.number is not None else ()
        atoms = _names_of(run, rows) if candidates else set()
        joined = next(
            (
                group
                for group in candidates
                if group.is_joined_by(atoms, row.residue, amino_acid and group is groups[-1])
            ),
            None,
        )
        if joined is None:
            groups.append(_Begun(run, rows))
            waiting.append(groups[-1])
        else:
            joined.join(run, atoms)
    return [group.rows for group in groups]


def _names_of(run: Sequence[int], rows: Sequence[AtomRow]) -> set[tuple[str, str]]:
    return {(rows[index].name, rows[index].alternate) for index in run}


def _with_ligands(records: list[ResidueRecord], hetero: list[bool]) -> list[ResidueRecord]:
    """Mark residues after the last one of each chain, or outside all chains, as ligands."""
    in_chain = [
        is_residue and not marked
        for is_residue, marked in zip(map(_has_c_alpha, records), hetero, strict=True)
    ]
    if not any(in_chain):
        return records
    last = {record.chain: index for index, record in enumerate(records) if in_chain[index]}
    for index, record in enumerate(records):
        if (
            hetero[index]
            and _has_c_alpha(record)
            and record.name not in RESIDUE_INDEX
            and record.chain in last
        ):
            last[record.chain] = max(index, last[record.chain])
    return [
        replace(record, ligand=True) if marked and index > last.get(record.chain, -1) else record
        for index, (record, marked) in enumerate(zip(records, hetero, strict=True))
    ]


def _has_c_alpha(record: ResidueRecord) -> bool:
    return any(atom.name == "CA" for atom in record.atoms) and not is_ion(record)


def box_vectors(sizes: Sequence[float]) -> np.ndarray | None:
    """Return the (3, 3) box vectors in nm as rows, given three lengths in Angstrom and angles in degrees.

    Return None for the placeholder cell that means no box, and for impossible angles.
    """
    try:
        cell = gemmi.UnitCell(*sizes)
    except RuntimeError:
        return None
    return np.array(cell.orth.mat.tolist()).T * NM_PER_ANGSTROM if cell.is_crystal() else None


def space_group_of(symbol: str) -> str:
    """Return the symbol of a space group; P 1, as in simulations, if none is named."""
    symbol = symbol.strip()
    group = gemmi.find_spacegroup_by_name(symbol)
    return symbol if symbol and (group is None or group.number > 1) else NO_SYMMETRY


def stacked_models(
    models: Sequence[tuple[np.ndarray, np.ndarray | None]], space_group: str = NO_SYMMETRY
) -> Frames:
    """Make frames from the positions (atoms, 3) and box vectors (3, 3) of models."""
    return join_frames(
        [
            Frames(
                coordinates=positions[None], box=None if box is None else box[None], space_group=space_group
            )
            for positions, box in models
        ]
    )
