"""Find the beads of a molecule among the residues of a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from backmap.chemistry import LinearMapping, Molecule, standard_atom_name, standard_residue_name
from backmap.errors import InputError

from .records import AtomRecord, ResidueRecord

CAP_SYNONYMS = {"NMA": "NME"}
"""Names of caps as programs write them."""

_NAMES_SHOWN = 12


@dataclass(frozen=True)
class BeadSelection:
    """How the beads of a molecule are computed from the atoms of a file.

    Parameters
    ----------
    atom_index : ndarray, (used,) int64
        Indices of the atoms used, in the coordinates of a frame.
    weights : ndarray, (beads, used) float64
        Weight of each of these atoms in each bead.
    labels : tuple of str
        Name of each of these atoms, for messages.
    """

    atom_index: np.ndarray
    weights: np.ndarray
    labels: tuple[str, ...]


def select_beads(
    residues: Sequence[ResidueRecord], molecule: Molecule, mapping: LinearMapping, *, file: str
) -> BeadSelection:
    """Find the beads of a molecule among the residues of a file.

    The file contains either the atoms that the beads are made of, found by residue and atom names among any
    others; or only the beads, in the order and with the names of the mapping.

    Parameters
    ----------
    residues : sequence of ResidueRecord
        All residues of one frame, in file order.
    molecule : Molecule
        The molecule.
    mapping : LinearMapping
        Its beads.
    file : str
        Name of the file, for messages.

    Raises
    ------
    InputError
        If the file contains neither, or contains the molecule more than once.
    """
    needed = np.flatnonzero((mapping.weights != 0).any(axis=0))
    wanted = _Wanted(molecule, needed)
    matches = wanted.find(residues)
    if len(matches) > 1:
        raise InputError(
            f"{file}: contains {len(matches)} molecules {wanted.residue_names}; give a file with only one"
        )
    if matches:
        labels = tuple(molecule.describe(atom) for atom in needed.tolist())
        return BeadSelection(matches[0], mapping.weights[:, needed], labels)
    _require_beads(residues, wanted, mapping, file)
    return bare_beads(mapping)


def select_atoms(residues: Sequence[ResidueRecord], molecule: Molecule, *, file: str) -> np.ndarray:
    """Find all atoms of a molecule among the residues of a file.

    Returns
    -------
    ndarray, (atoms,) int64
        Indices in the coordinates of a frame.

    Raises
    ------
    InputError
        If the file does not contain the molecule exactly once.
    """
    wanted = _Wanted(molecule, np.arange(molecule.n_atoms))
    matches = wanted.find(residues)
    if len(matches) == 1:
        return matches[0]
    lacking = wanted.lacking(residues)
    reason = lacking or f"contains {len(matches)} molecules {wanted.residue_names}"
    raise InputError(
        f"{file}: {reason}; give a file with all {molecule.n_atoms} atoms of the model's molecule"
    )


def bare_beads(mapping: LinearMapping) -> BeadSelection:
    """Return the selection for a file that contains only the beads."""
    labels = tuple(f"bead {number} {name}" for number, name in enumerate(mapping.bead_names, 1))
    return BeadSelection(np.arange(mapping.n_beads), np.eye(mapping.n_beads), labels)


def bare_atoms(molecule: Molecule, mapping: LinearMapping) -> BeadSelection:
    """Return the selection for a file that contains only the atoms of the molecule."""
    labels = tuple(molecule.describe(atom) for atom in range(molecule.n_atoms))
    return BeadSelection(np.arange(molecule.n_atoms), mapping.weights, labels)


def describe_beads(mapping: LinearMapping) -> str:
    """Name the beads for a message: ``6 beads C N CA CB C N``."""
    return f"{mapping.n_beads} beads {_shown(mapping.bead_names)}"


class _Wanted:
    """Some atoms of a molecule, residue by residue, to be found by name."""

    def __init__(self, molecule: Molecule, atoms: np.ndarray) -> None:
        self._residues: list[tuple[str, list[str]]] = []
        places = [(molecule.residue_numbers[atom], molecule.residue_names[atom]) for atom in atoms]
        for (_, name), group in groupby(range(len(atoms)), key=lambda place: places[place]):
            kind = _residue_kind(name)
            names = [standard_atom_name(kind, molecule.atom_names[atoms[place]]) for place in group]
            self._residues.append((kind, names))

    @property
    def residue_names(self) -> str:
        """The residues, for messages: ``ACE ALA NME``."""
        return _shown([name for name, _ in self._residues])

    def find(self, residues: Sequence[ResidueRecord]) -> list[np.ndarray]:
        """Find runs of residues that have the wanted atoms; return the indices of the atoms in each."""
        found = []
        for run in self._runs(residues):
            places = [self._atoms_of(residue, names) for residue, (_, names) in run]
            if all(None not in atoms for atoms in places):
                found.append(np.array([place for atoms in places for place in atoms], dtype=np.int64))
        return found

    def lacking(self, residues: Sequence[ResidueRecord]) -> str | None:
        """Describe the first missing atom in a run of the right residues, if there is such a run."""
        for run in self._runs(residues):
            for residue, (_, names) in run:
                for name, place in zip(names, self._atoms_of(residue, names), strict=True):
                    if place is None:
                        return f"{residue.describe()} has no atom {name}, or more than one"
        return None

    def count(self) -> int:
        """Number of residues."""
        return len(self._residues)

    def _runs(
        self, residues: Sequence[ResidueRecord]
    ) -> Iterator[list[tuple[ResidueRecord, tuple[str, list[str]]]]]:
        """Iterate over the runs of consecutive residues that have the right names."""
        kinds = [_residue_kind(residue.name) for residue in residues]
        wanted = [kind for kind, _ in self._residues]
        for first in range(len(kinds) - len(wanted) + 1):
            if kinds[first : first + len(wanted)] == wanted:
                yield list(zip(residues[first : first + len(wanted)], self._residues, strict=True))

    @staticmethod
    def _atoms_of(residue: ResidueRecord, names: Iterable[str]) -> list[int | None]:
        """Return the indices of named atoms; None where the residue has no atom of that name, or several."""
        kind = _residue_kind(residue.name)
        named: dict[str, list[AtomRecord]] = {}
        for atom in residue.atoms:
            named.setdefault(standard_atom_name(kind, atom.name), []).append(atom)
        return [_only_one(named.get(name, [])) for name in names]


def _only_one(atoms: list[AtomRecord]) -> int | None:
    """Return the index of the atom (of its most occupied location); None if there are several or none."""
    if not atoms or len({atom.alternate for atom in atoms}) < len(atoms):
        return None
    return max(atoms, key=lambda atom: atom.occupancy).index


def _residue_kind(name: str) -> str:
    name = name.strip().upper()
    return standard_residue_name(name) or CAP_SYNONYMS.get(name, name)


def _require_beads(
    residues: Sequence[ResidueRecord], wanted: _Wanted, mapping: LinearMapping, file: str
) -> None:
    """Require that a file contains only the beads; report its contents otherwise."""
    expected = f"the model's {describe_beads(mapping)}"
    names = [atom.name.strip().upper() for residue in residues for atom in residue.atoms]
    if len(names) != mapping.n_beads:
        lacking = wanted.lacking(residues)
        holds = lacking or f"found {len(names)} atoms in {len(residues)} residues {_shown_residues(residues)}"
        raise InputError(
            f"{file}: expected {expected}, or the molecule {wanted.residue_names} they are made of; {holds}"
        )
    for number, (name, bead) in enumerate(zip(names, mapping.bead_names, strict=True), 1):
        if name != bead.upper():
            raise InputError(f"{file}: expected {expected} in this order; atom {number} is named {name}")
    if len(residues) == wanted.count():
        raise InputError(
            f"{file}: expected {expected} of {wanted.residue_names}; found {_shown_residues(residues)}"
        )


def _shown_residues(residues: Sequence[ResidueRecord]) -> str:
    return _shown([residue.name for residue in residues])


def _shown(names: Sequence[str]) -> str:
    more = f" ... ({len(names)} in all)" if len(names) > _NAMES_SHOWN else ""
    return " ".join(names[:_NAMES_SHOWN]) + more
