"""Coarse-grained representations of nucleotides: their beads, and of which atoms each is the mean."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backmap.chemistry.constants import MASSES
from backmap.chemistry.mapping_table import check_entries, read_mapping_file, unreadable
from backmap.chemistry.nucleotides import (
    N_BACKBONE_SLOTS,
    NUCLEOTIDE_NAMES,
    NUCLEOTIDE_SLOTS,
    SLOT_O3,
    SLOT_O5,
    SLOT_P,
    base_letter,
    nucleotide_atoms,
)
from backmap.errors import InputError, OptionError
from backmap.limits import shown

_FOLDER = Path(__file__).with_name("nucleic_bead_mappings")
_GROUPS = {
    "phosphate": "P OP1 OP2 O5'",
    "sugar": "C5' C4' O4' C3' C2' O2' C1'",
    "backbone": "P OP1 OP2 O5' C5' C4' O4' C3' O3' C2' O2' C1'",
}
"""Words that stand for several atoms; ``base`` and ``all`` depend on the nucleotide."""

PREVIOUS_O3 = NUCLEOTIDE_SLOTS
"""Column of weights for O3' of the nucleotide before, which some models count to the phosphate: ``-O3'``."""

_KEYS: dict[str, type] = {
    "description": str,
    "weights": str,
    "every": dict,
    "bases": dict,
    "also_named": dict,
}


@dataclass(frozen=True, eq=False)
class NucleicMapping:
    """A coarse-grained representation of the eight nucleotides.

    Parameters
    ----------
    name : str
        Name of the mapping.
    description : str
        One line that says which models use it.
    beads : mapping of str to tuple of str
        Names of the beads of each nucleotide by its standard name; the first one leads the chain.
    weights : mapping of str to ndarray, (beads, 24)
        Weight of each atom of the nucleotide, and of O3' of the one before.
    also_named : mapping of str to tuple of str
        Other names of a bead.
    """

    name: str
    description: str
    beads: Mapping[str, tuple[str, ...]]
    weights: Mapping[str, np.ndarray]
    also_named: Mapping[str, tuple[str, ...]]

    def places(self, nucleotide: str, found: Mapping[str, int]) -> list[int] | None:
        """Return where the beads of a nucleotide are among named sites; None unless they are all the sites.

        The phosphate may be missing at a 5' end; its place is then -1.
        """
        places = []
        for bead in self.beads[nucleotide]:
            names = (bead, *self.also_named.get(bead, ()))
            places.append(next((found[name] for name in names if name in found), -1))
        missing = [bead for bead, place in zip(self.beads[nucleotide], places, strict=True) if place < 0]
        used = len(places) - len(missing)
        if (
            used != len(found)
            or not used
            or any(not self._is_phosphate(nucleotide, bead) for bead in missing)
        ):
            return None
        return places

    def _is_phosphate(self, nucleotide: str, bead: str) -> bool:
        return self.weights[nucleotide][self.beads[nucleotide].index(bead), 0] > 0


@functools.cache
def shipped_nucleic_mappings() -> Mapping[str, NucleicMapping]:
    """Return the mappings shipped with backmap, by name."""
    return {path.stem: read_nucleic_mapping(path) for path in sorted(_FOLDER.glob("*.toml"))}


def load_nucleic_mapping(name: str | Path) -> NucleicMapping:
    """Return a mapping named by the user: a shipped one, or the file of one.

    Raises
    ------
    InputError
        If there is no such mapping, or the file is not one.
    """
    shipped = shipped_nucleic_mappings()
    if str(name) in shipped:
        return shipped[str(name)]
    path = file_of_nucleic_mapping(name)
    if path is None:
        known = ", ".join(shipped)
        raise OptionError(
            "nucleic_beads", f"{name} is neither a mapping of nucleic acids ({known}) nor a file"
        )
    return read_nucleic_mapping(path)


def file_of_nucleic_mapping(name: str | Path) -> Path | None:
    """Return the file that a name of a mapping stands for; None for shipped mappings."""
    if str(name) in shipped_nucleic_mappings():
        return None
    with suppress(OSError):
        if Path(name).is_file():
            return Path(name)
    return None


def read_nucleic_mapping(path: Path) -> NucleicMapping:
    """Read a mapping from a TOML file.

    A table ``[every]`` has the beads of all nucleotides, tables ``[bases.A]`` those of one base: names of
    atoms, or the words ``phosphate``, ``sugar``, ``backbone``, ``base`` and ``all``. ``weights`` is
    ``"mass"`` or ``"equal"``, ``also_named`` lists other names of beads.

    Raises
    ------
    InputError
        If the file cannot be read or is not such a mapping.
    """
    try:
        table = tomllib.loads(read_mapping_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from None
    try:
        return _parse(path.stem, table)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _parse(name: str, table: dict[str, Any]) -> NucleicMapping:
    kind = check_entries(table, _KEYS)
    bases = table.get("bases", {})
    for letter, entries in bases.items():
        if letter not in "ACGTU" or not isinstance(entries, dict):
            raise ValueError(f"[bases] has {shown(letter)}; give tables [bases.A], C, G, T and U")
    beads: dict[str, tuple[str, ...]] = {}
    weights: dict[str, np.ndarray] = {}
    for nucleotide in NUCLEOTIDE_NAMES:
        entries = {**table.get("every", {}), **bases.get(base_letter(nucleotide), {})}
        if not entries:
            raise ValueError(f"describes no beads of {nucleotide}; give them under [every] or [bases.A]")
        beads[nucleotide] = tuple(entries)
        rows = [_weights(nucleotide, bead, atoms, kind) for bead, atoms in entries.items()]
        weights[nucleotide] = np.stack(rows)
    every_bead = {bead for names in beads.values() for bead in names}
    named = {}
    for bead, names in table.get("also_named", {}).items():
        if bead not in every_bead or not isinstance(names, str):
            raise ValueError(f"[also_named] has {shown(bead)} = {shown(names)}; give other names of a bead")
        named[bead] = tuple(names.split())
    return NucleicMapping(name, table.get("description", ""), beads, weights, named)


def _weights(nucleotide: str, bead: str, atoms: Any, kind: str) -> np.ndarray:
    """Return the weights (24,) of one bead."""
    if not isinstance(atoms, str):
        raise ValueError(f"{bead} is {shown(atoms)}; give names of atoms")
    known = nucleotide_atoms(nucleotide)
    base = [atom for atom in known[N_BACKBONE_SLOTS:] if atom]
    groups = {name: text.split() for name, text in _GROUPS.items()} | {"base": base}
    groups["all"] = [*groups["backbone"], *base]
    row = np.zeros(NUCLEOTIDE_SLOTS + 1)
    for word in atoms.split():
        for atom in groups.get(word, [word]):
            if atom == "-O3'":
                row[PREVIOUS_O3] += MASSES["O"] if kind == "mass" else 1.0
            elif atom in known:
                row[known.index(atom)] += MASSES[atom[0]] if kind == "mass" else 1.0
            elif atom != "O2'":
                raise ValueError(f"{bead}: {nucleotide} has no atom {shown(atom)}")
    if not row.any():
        raise ValueError(f"{bead} has no atoms in {nucleotide}")
    return row / row.sum()


@dataclass(frozen=True, eq=False)
class NucleicLayout:
    """The beads of some nucleotides, one nucleotide after another.

    Parameters
    ----------
    names : tuple of str
        Name of each bead.
    nucleotides : ndarray, (beads,) int64
        Nucleotide of each bead, ascending.
    columns : ndarray, (beads,) int64
        Index of each bead among those of its nucleotide in the mapping.
    weights : ndarray, (beads, 24) float64
        Weight of each atom of its nucleotide, and of O3' of the one before.
    """

    names: tuple[str, ...]
    nucleotides: np.ndarray
    columns: np.ndarray
    weights: np.ndarray

    def image(self, atoms: np.ndarray) -> np.ndarray:
        """Return the beads (..., beads, 3) of atoms (..., nucleotides, 23, 3), in the unit of the atoms."""
        before = np.roll(atoms[..., SLOT_O3, :], 1, axis=-2)[..., None, :]
        every = np.concatenate([atoms, before], axis=-2)[..., self.nucleotides, :, :]
        used = np.where(self.weights[:, :, None] > 0, every, 0.0)
        return np.einsum("bs,...bsx->...bx", self.weights, used)


def layout_of(
    mapping: NucleicMapping, types: np.ndarray, starts: np.ndarray, present: np.ndarray | None = None
) -> NucleicLayout:
    """List the beads of nucleotides.

    5' ends have no phosphate: beads of phosphate and other atoms are there the means of the other atoms.

    Parameters
    ----------
    mapping : NucleicMapping
        The beads of each kind.
    types : ndarray, (nucleotides,) int64
        Index into ``NUCLEOTIDE_NAMES``.
    starts : ndarray, (nucleotides,) bool
        Nucleotides without one before.
    present : ndarray, (nucleotides, most beads) bool, optional
        Beads that exist; all by default.
    """
    names, nucleotides, columns, weights = [], [], [], []
    for number, (kind, begins) in enumerate(zip(types.tolist(), starts.tolist(), strict=True)):
        nucleotide = NUCLEOTIDE_NAMES[kind]
        for column, bead in enumerate(mapping.beads[nucleotide]):
            if present is not None and not present[number, column]:
                continue
            row = mapping.weights[nucleotide][column].copy()
            if begins:
                row[PREVIOUS_O3] = 0.0
                if row[SLOT_O5 + 1 :].any():
                    row[SLOT_P:SLOT_O5] = 0.0
            names.append(bead)
            nucleotides.append(number)
            columns.append(column)
            weights.append(row / row.sum())
    return NucleicLayout(
        tuple(names),
        np.array(nucleotides, dtype=np.int64),
        np.array(columns, dtype=np.int64),
        np.array(weights).reshape(-1, NUCLEOTIDE_SLOTS + 1),
    )


def layout_of_atoms(
    mapping: NucleicMapping, types: np.ndarray, starts: np.ndarray, given: np.ndarray
) -> NucleicLayout:
    """List the beads of nucleotides whose atoms are all given.

    Parameters
    ----------
    mapping, types, starts
        As for :func:`layout_of`.
    given : ndarray, (nucleotides, 23) bool
        Atoms that are given.
    """
    whole = layout_of(mapping, types, starts)
    given = np.column_stack([given, np.roll(given[:, SLOT_O3], 1)])
    complete = ((whole.weights == 0) | given[whole.nucleotides]).all(axis=1)
    present = np.zeros((len(types), int(whole.columns.max()) + 1), dtype=bool)
    present[whole.nucleotides[complete], whole.columns[complete]] = True
    return layout_of(mapping, types, starts, present)
