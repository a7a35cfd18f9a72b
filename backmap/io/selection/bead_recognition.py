"""Recognition of a coarse-grained mapping by the names of its beads."""

from __future__ import annotations

from collections.abc import Sequence

from backmap.chemistry import standard_atom_name
from backmap.chemistry.bead_mapping import BeadMapping, shipped_mappings
from backmap.chemistry.sites import slot_of
from backmap.errors import InputError

from .records import ResidueRecord

_OF_HYDROGENS = tuple("HD0123456789")


def recognise_mapping(protein: Sequence[tuple[str, ResidueRecord]], file: str) -> BeadMapping | None:
    """Find the shipped mapping whose beads a file contains; None if its names are those of atoms.

    Parameters
    ----------
    protein : sequence of (str, ResidueRecord)
        Residues, and the names of the amino acids as which they are built.
    file : str
        Name of the file, for messages.

    Raises
    ------
    InputError
        If several mappings fit equally well.
    """
    kinds: dict[tuple[str, frozenset[str]], int] = {}
    for name, residue in protein:
        kind = name, frozenset(atom.name.upper() for atom in residue.atoms)
        kinds[kind] = kinds.get(kind, 0) + 1
    if all(_is_atom(residue, name) for residue, names in kinds for name in names):
        return None
    misfits = {
        name: misfit
        for name, mapping in shipped_mappings().items()
        if (misfit := _misfit(mapping, kinds)) is not None
    }
    least = min(misfits.values(), default=None)
    fitting = sorted(name for name, misfit in misfits.items() if misfit == least)
    if len(fitting) > 1:
        raise InputError(
            f"{file}: the names of its beads fit the mappings {' and '.join(fitting)}; say which with --beads"
        )
    return shipped_mappings()[fitting[0]] if fitting else None


def _is_atom(residue: str, name: str) -> bool:
    """Return whether a name is that of an atom of an amino acid, or of a hydrogen."""
    return name.startswith(_OF_HYDROGENS) or slot_of(residue, standard_atom_name(residue, name)) is not None


def _misfit(mapping: BeadMapping, kinds: dict[tuple[str, frozenset[str]], int]) -> int | None:
    """Count beads that a file lacks; None if it has names that the mapping does not know, or no main bead."""
    lacking = 0
    for (residue, names), number in kinds.items():
        beads = {bead.name.upper() for bead in mapping.beads.get(residue, ())}
        if names - beads - mapping.ignored or not names & beads:
            return None
        lacking += number * len(beads - names)
    return lacking
