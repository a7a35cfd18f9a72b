"""mmCIF files, read with gemmi, which keeps chain names and insertion codes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from itertools import groupby
from pathlib import Path

import gemmi
import numpy as np

from backmap.errors import InputError, InputWarning

from ..frames import Frames
from ..selection.links import Links, links_in_mmcif
from ..selection.records import ResidueRecord
from .pdb_file import read_residue_number
from .reading_errors import explain_reading
from .structure_file import (
    NM_PER_ANGSTROM,
    AtomRow,
    box_vectors,
    residues_of,
    space_group_of,
    stacked_models,
)
from .text_file import held, open_text

_CATEGORY = "_atom_site."
_COORDINATES = ("Cartn_x", "Cartn_y", "Cartn_z")
_NEEDED = ("label_atom_id", "label_comp_id", *_COORDINATES)
_USUAL = ("id", "type_symbol", "label_alt_id", "label_asym_id")
"""Columns that the format requires but backmap does not."""
_OTHERS = (
    "group_PDB", "label_seq_id", "pdbx_PDB_ins_code", "occupancy", "auth_seq_id", "auth_asym_id",
    "pdbx_PDB_model_num",
)  # fmt: skip


class MmcifFile:
    """An mmCIF file, plain or gzipped, read whole. Its models are frames."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def residues(self) -> list[ResidueRecord]:
        """All residues of the first model, in file order."""
        return residues_of([self._row(index) for index in self._models[0]]) if self._models else []

    @property
    def links(self) -> Links:
        """Bonds named by ``_struct_conn``."""
        return links_in_mmcif(self._block) if self._block is not None else Links()

    @property
    def n_atoms(self) -> int:
        """Number of atoms in a model, including alternate locations."""
        return len(self._models[0]) if self._models else 0

    @property
    def n_frames(self) -> int:
        """Number of whole models."""
        return len(self._models) - self.ends_early

    @cached_property
    def ends_early(self) -> bool:
        """Whether the last model has only the first atoms of a model."""
        first, last = self._names_of(0), self._names_of(-1)
        return len(self._models) > 1 and len(last) < len(first) and first[: len(last)] == last

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Read the models with the given numbers, a few at a time."""
        for first in range(0, len(numbers), frames_per_read):
            models = [self._positions(number) for number in numbers[first : first + frames_per_read]]
            yield stacked_models([(positions, self._cell) for positions in models], self._space_group)

    @cached_property
    def _block(self) -> gemmi.cif.Block | None:
        """The first block that lists atoms."""
        with open_text(self.path, "mmCIF", "utf-8-sig", "replace") as lines:
            text = "".join(held(lines, self.path))
        with explain_reading(self.path, "mmCIF"):
            document = gemmi.cif.read_string(text)
            return next((block for block in document if block.find_mmcif_category(_CATEGORY)), None)

    @cached_property
    def _columns(self) -> dict[str, list[str]]:
        """The columns by name. Raise InputError if a required one is missing."""
        if self._block is None:
            return {}
        table = self._block.find_mmcif_category(_CATEGORY)
        found = {tag.removeprefix(_CATEGORY): place for place, tag in enumerate(table.tags)}
        for name in _NEEDED:
            if name not in found:
                raise InputError(f"{self.path}: has no column {_CATEGORY}{name}; write the file with it")
        missing = [_CATEGORY + name for name in _USUAL if name not in found]
        if missing:
            warnings.warn(
                f"{self.path}: has no column {', '.join(missing)}, which mmCIF requires; read without it",
                InputWarning,
                stacklevel=2,
            )
        wanted = [name for name in _NEEDED + _USUAL + _OTHERS if name in found]
        return {name: list(table.column(found[name])) for name in wanted}

    @cached_property
    def _models(self) -> list[range]:
        """The rows of each model."""
        rows = range(len(self._columns.get(_NEEDED[0], ())))
        numbers = self._columns.get("pdbx_PDB_model_num")
        groups = (list(group) for _, group in groupby(rows, key=lambda row: numbers and numbers[row]))
        return [range(group[0], group[-1] + 1) for group in groups]

    @cached_property
    def _cell(self) -> np.ndarray | None:
        """Box vectors (3, 3) in nm, if there is a box."""
        tags = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
        sizes = [gemmi.cif.as_number(self._value_of(f"_cell.{tag}")) for tag in tags]
        return box_vectors(sizes) if np.isfinite(sizes).all() else None

    @cached_property
    def _space_group(self) -> str:
        tags = ("_symmetry.space_group_name_H-M", "_space_group.name_H-M_alt")
        named = (gemmi.cif.as_string(self._value_of(tag)) for tag in tags)
        return space_group_of(next(filter(None, named), ""))

    def _value_of(self, tag: str) -> str:
        """Return the value of a tag as written; ``?`` if it is missing."""
        return (self._block.find_value(tag) if self._block is not None else None) or "?"

    def _names_of(self, number: int) -> list[str]:
        """Return the atom names of a model; an empty list if there are no models."""
        if not self._models:
            return []
        rows = self._models[number]
        return self._columns["label_atom_id"][rows.start : rows.stop]

    def _positions(self, number: int) -> np.ndarray:
        """Return the (atoms, 3) positions of a model in nm, after checking that it has the first's atoms."""
        rows = self._models[number]
        if self._names_of(number) != self._names_of(0):
            raise InputError(
                f"{self.path}: model {number + 1} has different atoms from the first model; give every "
                "model the same atoms or split the file"
            )
        texts = [self._columns[name][rows.start : rows.stop] for name in _COORDINATES]
        numbers = [[gemmi.cif.as_number(text) for text in column] for column in texts]
        return np.array(numbers).T * NM_PER_ANGSTROM

    def _row(self, index: int) -> AtomRow:
        asym = self._text("label_asym_id", index)
        sequence = self._text("label_seq_id", index)
        number = self._text("auth_seq_id", index) or sequence
        return AtomRow(
            name=self._text("label_atom_id", index),
            residue=self._text("label_comp_id", index).upper(),
            number=read_residue_number(number),
            chain=self._text("auth_asym_id", index) or asym,
            segment=asym,
            insertion_code=self._text("pdbx_PDB_ins_code", index),
            alternate=self._text("label_alt_id", index),
            occupancy=self._number("occupancy", index),
            hetero=self._text("group_PDB", index) == "HETATM" and not sequence,
        )

    def _text(self, column: str, index: int) -> str:
        """Return the text of a column, empty if it has no value or is missing."""
        return gemmi.cif.as_string(self._columns[column][index]) if column in self._columns else ""

    def _number(self, column: str, index: int) -> float:
        value = gemmi.cif.as_number(self._columns[column][index]) if column in self._columns else 1.0
        return value if np.isfinite(value) else 1.0
