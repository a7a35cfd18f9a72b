"""Recognition of a coarse-grained mapping by the names of its beads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from backmap.chemistry import standard_atom_name
from backmap.chemistry.bead_mapping import BeadMapping, shipped_mappings
from backmap.chemistry.sites import slot_of
from backmap.errors import InputError

from .records import ResidueRecord

_OF_HYDROGENS = tuple("HD0123456789")
_MOST_LACKING = 0.3
"""Share of the beads of a mapping that a file may lack."""
_LEAST_FITTING = 0.5
"""Share of the beads of a file that fit a mapping which is worth naming."""

_Kind = tuple[str, frozenset[str]]
"""An amino acid, and the names of the beads of a residue."""


def recognise_mapping(protein: Sequence[tuple[str, ResidueRecord]], file: str) -> BeadMapping | None:
    """Find the shipped mapping whose beads a file contains; None if its names are those of a file of atoms.

    Parameters
    ----------
    protein : sequence of (str, ResidueRecord)
        Residues, and the names of the amino acids as which they are built.
    file : str
        Name of the file, for messages.

    Raises
    ------
    InputError
        If several mappings fit equally well, if most beads fit a mapping but not all, or if most beads of the
        mapping are missing.
    """
    kinds: dict[_Kind, list[ResidueRecord]] = {}
    for name, residue in protein:
        kinds.setdefault((name, frozenset(atom.name.upper() for atom in residue.atoms)), []).append(residue)
    if all(_is_atom(residue, name) for residue, names in kinds for name in names):
        return _mapping_of_atoms(kinds)
    fits = {
        name: fit for name, mapping in shipped_mappings().items() if (fit := _Fit.of(mapping, kinds)).complete
    }
    if not fits:
        _refuse_near_miss(kinds, file)
        return None
    least = min(fit.n_lacking for fit in fits.values())
    fitting = sorted(name for name, fit in fits.items() if fit.n_lacking == least)
    best = fits[fitting[0]]
    if best.n_lacking > _MOST_LACKING * best.n_expected:
        _refuse_few_beads(fits, kinds, file)
    if len(fitting) > 1:
        raise InputError(
            f"{file}: the names of its beads fit the mappings {' and '.join(fitting)}; say which with --beads"
        )
    return shipped_mappings()[fitting[0]]


def _mapping_of_atoms(kinds: Mapping[_Kind, Sequence[ResidueRecord]]) -> BeadMapping | None:
    """Return the mapping of beads that are atoms which no file of atoms has without others, if it fits.

    Files of atoms may lack side chains, or all but the C-alphas, but have no O without N and C, as AWSEM has.
    """
    for mapping in shipped_mappings().values():
        beads = {residue: _names_of(mapping, residue) for residue, _ in kinds}
        if all("O" in beads[residue] and names == beads[residue] for residue, names in kinds) and not any(
            {"N", "C"} & names for _, names in kinds
        ):
            return mapping
    return None


def _is_atom(residue: str, name: str) -> bool:
    """Return whether a name is that of an atom of an amino acid, or of a hydrogen."""
    return name.startswith(_OF_HYDROGENS) or slot_of(residue, standard_atom_name(residue, name)) is not None


def _names_of(mapping: BeadMapping, residue: str) -> frozenset[str]:
    """Return the names of the beads of a residue."""
    return frozenset(bead.name.upper() for bead in mapping.beads.get(residue, ()))


class _Fit(NamedTuple):
    """How well the names of a file fit a mapping.

    Attributes
    ----------
    complete : bool
        Whether the mapping knows all names, and some of every residue.
    n_lacking, n_expected : int
        Beads of the mapping that the file lacks, and all beads that it should have.
    """

    complete: bool
    n_lacking: int
    n_expected: int

    @classmethod
    def of(cls, mapping: BeadMapping, kinds: Mapping[_Kind, Sequence[ResidueRecord]]) -> _Fit:
        n_lacking = n_expected = 0
        for (residue, names), those in kinds.items():
            beads = _names_of(mapping, residue)
            if names - beads - mapping.ignored or not names & beads:
                return cls(False, 0, 0)
            n_lacking += len(those) * len(beads - names)
            n_expected += len(those) * len(beads)
        return cls(True, n_lacking, n_expected)


def _refuse_few_beads(
    fits: Mapping[str, _Fit], kinds: Mapping[_Kind, Sequence[ResidueRecord]], file: str
) -> None:
    """Refuse a file that lacks most beads of all mappings that know its names."""
    names = sorted(fits, key=lambda name: fits[name].n_lacking)
    mapping = shipped_mappings()[names[0]]
    residue, missing = next(
        (those[0], " ".join(sorted(lacking)))
        for (kind, found), those in kinds.items()
        if (lacking := _names_of(mapping, kind) - found)
    )
    known = f"mappings {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else f"mapping {names[0]}"
    raise InputError(
        f"{file}: the names of its beads are in the {known}, but most other beads are missing (for "
        f"{mapping.name}, {residue.describe()} has no {missing}); give a file with all beads, or a "
        "mapping of only these beads with --beads FILE"
    )


def _refuse_near_miss(kinds: Mapping[_Kind, Sequence[ResidueRecord]], file: str) -> None:
    """Refuse a file most of whose beads fit a mapping, and name what does not fit."""
    near = {name: _n_fitting(mapping, kinds) for name, mapping in shipped_mappings().items()}
    name = max(near, key=lambda name: near[name])
    mapping = shipped_mappings()[name]
    n_beads = sum(len(residue.atoms) for those in kinds.values() for residue in those)
    if near[name] <= _LEAST_FITTING * n_beads:
        return
    odd = [
        (residue, kind)
        for (kind, found), those in kinds.items()
        for residue in those
        if found - _names_of(mapping, kind) - mapping.ignored or not found & _names_of(mapping, kind)
    ]
    residue, kind = min(odd, key=lambda entry: entry[0].atoms[0].index)
    more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
    raise InputError(
        f"{file}: most of its beads fit the mapping {name}, but {_oddity(residue, kind, mapping)}{more}; "
        "correct the file, or give a mapping that describes it with --beads"
    )


def _oddity(residue: ResidueRecord, kind: str, mapping: BeadMapping) -> str:
    """Say what is odd about a residue that does not fit a mapping."""
    names = [atom.name.upper() for atom in residue.atoms]
    known = _names_of(mapping, kind)
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled is not None:
        return f"{residue.describe()} has several beads {doubled}, as residues with the same number do"
    unknown = next((name for name in names if name not in known | mapping.ignored), None)
    if unknown is not None:
        return f"{residue.describe()} has the bead {unknown}, which is not in the mapping"
    return f"{residue.describe()} has none of its beads {' '.join(sorted(known))}"


def _n_fitting(mapping: BeadMapping, kinds: Mapping[_Kind, Sequence[ResidueRecord]]) -> int:
    """Count beads that fit a mapping; none if all of these can also be atoms."""
    n_fitting, only_atoms = 0, True
    for (kind, found), those in kinds.items():
        fitting = found & (_names_of(mapping, kind) | mapping.ignored)
        only_atoms &= all(_is_atom(kind, name) for name in fitting)
        n_fitting += sum(atom.name.upper() in fitting for residue in those for atom in residue.atoms)
    return 0 if only_atoms else n_fitting
