"""PDB and mmCIF files, read model by model through gemmi: chain names and insertion codes are kept."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import gemmi
import numpy as np

from backmap.errors import InputError

from .disulfide_records import NamedBond, named_in_structure
from .naming import PDB_SUFFIXES, suffix_of
from .protein_selection import AtomRecord, ResidueRecord

NM_PER_ANGSTROM = 0.1
_ALTERNATE, _RESIDUE, _COORDINATES, _SEGMENT = 16, slice(17, 27), slice(30, 54), slice(72, 76)
_THREE_NUMBERS = re.compile(r"(?: *[-+]?(?:\d+\.?\d*|\.\d+|nan|inf)(?:[eE][-+]?\d+)? *){3}", re.IGNORECASE)
_ATOM = ("ATOM  ", "HETATM")
_BEGIN_OF_MODEL = "MODEL "
_END_OF_MODEL = ("ENDMDL", "END   ", "END\n", "END\r")


@dataclass(frozen=True)
class RawFrames:
    """Coordinates of all atoms of a file for some frames.

    Parameters
    ----------
    coordinates : ndarray, (frames, atoms, 3)
        Positions in nm.
    time : ndarray, (frames,), optional
        Time in ps.
    unitcell_vectors : ndarray, (frames, 3, 3), optional
        Box vectors in nm.
    step : ndarray, (frames,) int64, optional
        Step of the simulation.
    """

    coordinates: np.ndarray
    time: np.ndarray | None = None
    unitcell_vectors: np.ndarray | None = None
    step: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, kept: slice | np.ndarray) -> RawFrames:
        """Give some of the frames."""
        return RawFrames(
            self.coordinates[kept],
            None if self.time is None else self.time[kept],
            None if self.unitcell_vectors is None else self.unitcell_vectors[kept],
            None if self.step is None else self.step[kept],
        )


def joined_frames(pieces: Sequence[RawFrames]) -> RawFrames:
    """Join consecutive frames."""
    if len(pieces) == 1:
        return pieces[0]
    return RawFrames(
        np.concatenate([piece.coordinates for piece in pieces]),
        joined_where_known([piece.time for piece in pieces]),
        joined_where_known([piece.unitcell_vectors for piece in pieces]),
        joined_where_known([piece.step for piece in pieces]),
    )


def joined_where_known(parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """Join what every piece has, or give None where one lacks it."""
    return None if any(part is None for part in parts) else np.concatenate(parts)


class StructureFile:
    """A PDB or mmCIF file, plain or gzipped. Its models are frames."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_pdb = suffix_of(path) in PDB_SUFFIXES

    @property
    def residues(self) -> list[ResidueRecord]:
        """All residues of the first model, in file order."""
        return self._first[0]

    @property
    def disulfides(self) -> list[NamedBond]:
        """Disulfides that the file names."""
        return self._first[2]

    @cached_property
    def atoms(self) -> int:
        """Number of atoms in a model, alternate locations included."""
        return sum(len(residue.atoms) for residue in self.residues)

    @property
    def frames(self) -> int:
        """Number of whole models."""
        return self._extent[0]

    @property
    def ends_early(self) -> bool:
        """Whether a part of another model comes after the whole ones."""
        return self._extent[1]

    def read(self, numbers: range, frames_per_read: int) -> Iterator[RawFrames]:
        """Read the models of some numbers, a few at a time; the text of others is passed over."""
        waiting: list[np.ndarray] = []
        for model in self._models(numbers) if numbers else ():
            waiting.append(self._positions(model))
            if len(waiting) == frames_per_read:
                yield _raw_frames(waiting, self._first[1])
                waiting = []
        if waiting:
            yield _raw_frames(waiting, self._first[1])

    @cached_property
    def _first(self) -> tuple[list[ResidueRecord], np.ndarray | None, list[NamedBond]]:
        """Residues, (3, 3) box vectors and disulfides of the first model."""
        first = next(self._structures(), None)
        if first is None or not len(first):
            return [], None, []
        parts = [(residue.segment, residue.subchain) for chain in first[0] for residue in chain]
        first.setup_entities()
        cell = _cell_vectors(first.cell) if first.cell.is_crystal() else None
        return _residue_records(first[0], parts), cell, named_in_structure(first)

    @cached_property
    def _extent(self) -> tuple[int, bool]:
        """Number of whole models, and whether a part of another follows."""
        with self._explain_reading():
            return self._pdb_extent() if self._is_pdb else (sum(map(len, self._structures())), False)

    def _pdb_extent(self) -> tuple[int, bool]:
        """Count models by their text; one without an end counts if it has as many atoms as the first."""
        models = atoms_of_first = atoms = 0
        begun, line = False, "\n"
        try:
            for line in self._lines():
                if line.startswith(_ATOM):
                    atoms += len(line) > _COORDINATES.stop
                elif line.startswith(_BEGIN_OF_MODEL):
                    begun = True
                elif atoms and line.startswith(_END_OF_MODEL):
                    models += 1
                    atoms_of_first = atoms_of_first or atoms
                    begun, atoms = False, 0
        except EOFError:
            if not models:
                raise
            return models, True
        if not models or (atoms and atoms == atoms_of_first):
            return models + bool(atoms), False
        unfinished = line.strip() and line[-1] not in "\r\n" and _BEGIN_OF_MODEL.startswith(line)
        return models, bool(begun or atoms or unfinished)

    def _models(self, numbers: range) -> Iterator[gemmi.Model]:
        """Read the models of some numbers."""
        for structure in self._structures(numbers):
            yield from structure if self._is_pdb else (structure[number] for number in numbers)

    def _positions(self, model: gemmi.Model) -> np.ndarray:
        """Give the (atoms, 3) positions of a model in nm, after making sure it has the atoms of the first."""
        atoms = [atom for chain in model for residue in chain for atom in residue]
        if [atom.name for atom in atoms] != self._atom_names:
            raise InputError(
                f"{self.path}: model {model.num} has other atoms than the first model; give every "
                "model the same atoms or split the file"
            )
        return np.array([atom.pos.tolist() for atom in atoms]).reshape(-1, 3) * NM_PER_ANGSTROM

    @cached_property
    def _atom_names(self) -> list[str]:
        return [atom.name for residue in self.residues for atom in residue.atoms]

    def _structures(self, numbers: range = range(1)) -> Iterator[gemmi.Structure]:
        """Read the models of some numbers from a PDB file, one after another, or an mmCIF file whole."""
        with self._explain_reading():
            if self._is_pdb:
                for text in self._model_texts(numbers):
                    yield gemmi.read_pdb_string(text, split_chain_on_ter=True)
            else:
                yield gemmi.read_structure(
                    str(self.path), merge_chain_parts=False, format=gemmi.CoorFormat.Mmcif
                )

    @contextmanager
    def _explain_reading(self) -> Iterator[None]:
        """Turn what a damaged file raises into one sentence about it."""
        try:
            yield
        except InputError:
            raise
        except EOFError as error:
            raise InputError(
                f"{self.path}: ends too early (the gzip file is cut off); copy it again"
            ) from error
        except (OSError, RuntimeError, ValueError, zlib.error) as error:
            reason = " ".join(str(error).split())
            kind = "PDB" if self._is_pdb else "mmCIF"
            raise InputError(f"{self.path}: cannot be read as {kind} ({reason})") from error

    def _lines(self) -> Iterator[str]:
        opener = gzip.open if suffix_of(self.path).endswith(".gz") else open
        with opener(self.path, "rt", encoding="latin-1") as file:
            yield from file

    def _model_texts(self, numbers: range) -> Iterator[str]:
        """Cut a PDB file at ENDMDL and END records; only pieces that hold atoms count."""
        lines: list[str] = []
        model, has_atoms, parts = 0, False, _ChainParts()
        wanted = model in numbers
        for number, line in enumerate(self._lines(), start=1):
            if line.startswith(_ATOM):
                has_atoms = True
                if wanted:
                    self._check_numbers(line, number)
                    line = parts.mark(line)
            if wanted:
                lines.append(line)
            if has_atoms and line.startswith(_END_OF_MODEL):
                if wanted:
                    yield "".join(lines)
                lines, has_atoms, parts = [], False, _ChainParts()
                model += 1
                if model >= numbers.stop:
                    return
                wanted = model in numbers
        if has_atoms and wanted:
            yield "".join(lines)

    def _check_numbers(self, line: str, number: int) -> None:
        """Refuse coordinates that are no numbers, which gemmi would read as zero."""
        if not _THREE_NUMBERS.fullmatch(line[_COORDINATES]):
            raise InputError(
                f"{self.path}: line {number} has no three coordinates in columns 31 to 54 "
                f"({line[_COORDINATES].strip() or 'nothing there'}); the file is damaged or not PDB"
            )


class _ChainParts:
    """Keeps apart residues of one chain name that share a number.

    That happens where chains have no names, and where the numbers of many waters start again. gemmi takes
    such residues for one, unless their segments differ: from the first repetition on, segments are numbered.
    """

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._last = ""
        self._segment = ""
        self._part = 0

    def mark(self, line: str) -> str:
        """Give the record of an atom, with the number of its part as segment where there are several."""
        residue, segment = line[_RESIDUE], line[_SEGMENT]
        if residue != self._last and residue in self._seen and line[_ALTERNATE] == " ":
            self._part += 1
            self._seen.clear()
        elif self._part and segment != self._segment:
            self._part += 1
        self._last, self._segment = residue, segment
        self._seen.add(residue)
        return f"{line[:72]:<72}{self._part:>4}{line[76:]}" if self._part else line


def _residue_records(model: gemmi.Model, parts: list[tuple[str, str]]) -> list[ResidueRecord]:
    """List the residues of a model; a chain ends at TER, or where its name or the given part changes."""
    records: list[ResidueRecord] = []
    chain_number = -1
    atom_number = 0
    for chain in model:
        part = None
        for residue in chain:
            if parts[len(records)] != part:
                part = parts[len(records)]
                chain_number += 1
            atoms = tuple(
                AtomRecord(atom.name, atom_number + offset, atom.altloc.strip("\0 "), atom.occ)
                for offset, atom in enumerate(residue)
            )
            atom_number += len(atoms)
            records.append(
                ResidueRecord(
                    chain=chain_number,
                    chain_id=chain.name.strip(),
                    number=residue.seqid.num,
                    insertion_code=residue.seqid.icode.strip(),
                    name=residue.name.strip().upper(),
                    atoms=atoms,
                    ligand=residue.het_flag == "H" and residue.entity_type != gemmi.EntityType.Polymer,
                )
            )
    return records


def _cell_vectors(cell: gemmi.UnitCell) -> np.ndarray:
    """Give the (3, 3) box vectors in nm, one a row."""
    return np.array(cell.orth.mat.tolist()).T * NM_PER_ANGSTROM


def _raw_frames(models: list[np.ndarray], cell: np.ndarray | None) -> RawFrames:
    coordinates = np.stack(models)
    vectors = None if cell is None else np.broadcast_to(cell, (len(models), 3, 3))
    return RawFrames(coordinates, unitcell_vectors=vectors)
