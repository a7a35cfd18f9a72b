"""Find the protein among the residues of a file: names, alternate locations, and refusals."""

from __future__ import annotations

import textwrap
import warnings
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import NamedTuple, Protocol

import gemmi
import numpy as np

from backmap.chemistry import (
    RESIDUE_INDEX,
    SLOT_CA,
    Cap,
    Topology,
    standard_atom_name,
    standard_residue_name,
)
from backmap.chemistry.bead_mapping import BeadMapping
from backmap.chemistry.modified_residues import Modification, Modifications, known_modifications
from backmap.chemistry.residues import ATOM_SLOTS, AWSEM_NAMES, SIRAH_NAMES, THREE_LETTERS
from backmap.chemistry.sites import Sites, slot_of
from backmap.errors import InputError, InputWarning

from ..formats.fasta import FastaFile
from .bead_recognition import recognise_mapping
from .nucleic_selection import AS_THEY_ARE, NucleicAcids, select_nucleic, why_not_built
from .other_molecules import (
    NO_OTHERS,
    OtherMolecules,
    OthersKept,
    is_nucleotide,
    is_other,
    kept_others,
)
from .records import AtomRecord, ResidueRecord

CAPS = frozenset({"ACE", "NME", "NMA", "NH2", "FOR"})
"""Groups that cap a chain end; they have no C-alpha, and are built at the end they are next to."""

WATERS = frozenset(
    {
        "HOH",
        "DOD",
        "WAT",
        "H2O",
        "SOL",
        "TIP",
        "TIP2",
        "TIP3",
        "TIP3P",
        "TIP4",
        "TIP4P",
        "T3P",
        "T4P",
        "SPC",
        "SPCE",
        "W",
        "WF",
        "SW",
        "TW",
        "PW",
        "WT4",
        "WLS",
    }
)
_NO_PART_OF_CHAINS = CAPS | WATERS
IONS = frozenset(
    {"NA", "NA+", "SOD", "CL", "CL-", "CLA", "K", "K+", "POT", "CA", "CA2+", "CAL", "MG", "MG2+", "ZN"}
    | {"LI", "LI+", "LIT", "RB", "CS", "CES", "BR", "BR-", "IOD", "I-", "BA", "BAR", "CU", "FE", "MN", "CD"}
    | {"NI", "CO", "ZN2+", "ION", "NIO", "CIO", "CIP", "CIM", "IP", "IM"}
    | {"NAW", "KW", "CLW", "MGX", "CAX", "ZNX"}
)  # fmt: skip

_SIRAH_BACKBONE = frozenset({"GN", "GC", "GO"})
_MAIN_BEADS = frozenset({"CA", "BB", "GC"})
_NUCLEOTIDE_LETTERS = frozenset("ACGTU")
_LETTERS_OF_NUCLEIC_ACIDS = 3
_NAMES_SHOWN = 4


@dataclass(frozen=True, eq=False)
class SelectedHydrogens:
    """Hydrogens of the residues of a protein.

    Parameters
    ----------
    index : ndarray, (hydrogens,) int64
        Index of each in the coordinates of a frame.
    residues : ndarray, (hydrogens,) int64
        Residue of each, ascending.
    """

    index: np.ndarray
    residues: np.ndarray

    @classmethod
    def of(cls, residues: Sequence[ResidueRecord]) -> SelectedHydrogens:
        """Find the hydrogens of residues by their names, in the main alternate location."""
        index: list[int] = []
        owner: list[int] = []
        for number, residue in enumerate(residues):
            location = _main_location(residue.atoms)
            names = set[str]()
            for atom in residue.atoms:
                hydrogen = atom.name.strip().upper().lstrip("0123456789").startswith(("H", "D"))
                if hydrogen and atom.alternate in ("", location) and atom.name not in names:
                    names.add(atom.name)
                    index.append(atom.index)
                    owner.append(number)
        return cls(np.array(index, dtype=np.int64), np.array(owner, dtype=np.int64))


NO_HYDROGENS = SelectedHydrogens(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


@dataclass(frozen=True)
class ProteinSelection:
    """The protein of a file.

    Parameters
    ----------
    topology : Topology
        Its residues, in the chains that the file distinguishes.
    sites : Sites
        The atoms that the file contains exactly once.
    atom_index : ndarray, (sites,) int64
        Index of each of them in the coordinates of a frame.
    labelled, numbered : ndarray, (residues,) bool
        Residues whose chain the file names, and residues that it numbers.
    ambiguous : str
        Message that names an atom that occurs twice; empty if none does.
    mapping : BeadMapping, optional
        What the sites are, if they are not atoms.
    others : OtherMolecules
        Molecules beside the protein that are selected as well.
    nucleic : NucleicAcids, optional
        Nucleic acids whose atoms can be built.
    carried_nucleic : OtherMolecules
        The molecules beside the protein if these nucleic acids are among them, carried as they are.
    told : bool
        Whether the user named the mapping, so that distances do not decide what the sites are.
    hydrogens : SelectedHydrogens
        Hydrogens of the residues, if they are read.
    """

    topology: Topology
    sites: Sites
    atom_index: np.ndarray
    labelled: np.ndarray
    numbered: np.ndarray
    ambiguous: str = ""
    mapping: BeadMapping | None = None
    others: OtherMolecules = NO_OTHERS
    nucleic: NucleicAcids | None = None
    carried_nucleic: OtherMolecules = NO_OTHERS
    told: bool = False
    hydrogens: SelectedHydrogens = NO_HYDROGENS

    @property
    def reach_nm(self) -> float:
        """How much farther apart than C-alphas the leading sites of neighbours may be, in nm."""
        return 0.0 if self.mapping is None else self.mapping.reach_nm


def select_protein(
    residues: Sequence[ResidueRecord],
    *,
    file: str,
    skip_unknown: bool = False,
    sequence: FastaFile | None = None,
    mapping: BeadMapping | None = None,
    modifications: Modifications | None = None,
    others: OthersKept = "none",
    nucleic_beads: str = AS_THEY_ARE,
    hydrogens: bool = False,
    nucleic_elsewhere: bool = False,
) -> ProteinSelection:
    """Find the protein among the residues of a file.

    Nucleic acids, lipids, water, ions, ligands, and caps that are not next to the end of a chain, are not
    part of the protein; they are left out with a warning if they are not selected as well. A residue that is
    neither one of the twenty amino acids (or their usual variants) nor a known modified residue, or lacks its
    C-alpha, is refused.

    Parameters
    ----------
    residues : sequence of ResidueRecord
        All residues of one frame, in file order.
    file : str
        Name of the file, for messages.
    skip_unknown : bool
        Leave out such residues with a warning instead of refusing the file.
    sequence : FastaFile, optional
        The sequence, if residue names do not identify the amino acids.
    mapping : BeadMapping, optional
        What the positions are; by default, names decide. Beads that are C-alphas are taken as such atoms.
    modifications : mapping of str to Modification, optional
        Modified residues and caps that can be built; by default those of this package.
    others : str
        Which molecules beside the protein are selected as well: ``none``, ``nucleic-acids`` or ``all``.
    nucleic_beads : str
        What the beads of nucleic acids are: ``auto``, ``keep``, or a mapping.
    hydrogens : bool
        Select the hydrogens of the residues, if they are atoms.
    nucleic_elsewhere : bool
        Whether nucleic acids are left out without a warning, as another source reads them.
    """
    known = known_modifications() if modifications is None else modifications
    listed = list(_one_variant_each(residues))
    nucleic = set[int]() if sequence is not None else _chains_of_nucleotides(listed, file)
    named = [residue if residue.chain in nucleic else _spelt_out(residue) for residue in listed]
    if sequence is not None:
        named = _named_by(sequence, named, file)
    protein, passed_over, unknown = _sort_out(named, known)
    if others == "all":
        ligands = [residue for residue in unknown if not _has_main_bead(residue)]
        unknown = [residue for residue in unknown if _has_main_bead(residue)]
        passed_over = sorted(passed_over + ligands, key=lambda residue: residue.atoms[0].index)
    carried = kept_others(passed_over, others)
    nucleotides = [residue for residue in carried if is_nucleotide(residue)]
    if unknown and not (skip_unknown and (protein or nucleotides)):
        raise InputError(f"{file}: {_why_unknown(unknown, protein, nucleotides)}")
    nucleic_acids = select_nucleic(nucleotides, nucleic_beads)
    not_built = "" if nucleic_acids or not nucleotides else why_not_built(nucleotides, nucleic_beads)
    if nucleic_acids is None:
        _require_protein(protein, passed_over, not_built, file)
    told = mapping is not None
    if not protein:
        mapping = None
    elif mapping is None:
        mapping = recognise_mapping([(_standard_name(residue, known), residue) for residue in protein], file)
    elif mapping.only_c_alphas:
        protein, mapping = _with_c_alphas(protein, mapping, known, file), None
    if mapping is None and protein:
        _require_c_alphas(protein, file)
    elif mapping is not None:
        _warn_of_ignored_sites(protein, mapping, file)
    choose = _AtomChooser(known) if mapping is None else _BeadChooser(mapping, known)
    chosen = [(residue, choose(residue, file)) for residue in protein]
    incomplete = [residue for residue, choice in chosen if choice.missing]
    if incomplete and not skip_unknown:
        missing = next(choice.missing for _, choice in chosen if choice.missing)
        has, plural = ("has", "") if len(incomplete) == 1 else ("have", "s")
        raise InputError(
            f"{file}: {_listed(incomplete)} {has} no {missing}; add it, remove the residue{plural} or give "
            f"--skip-unknown to leave {'them' if plural else 'it'} out"
        )
    built = [entry for entry in chosen if not entry[1].missing]
    caps = _caps_at_ends(named, [residue for residue, _ in built], known)
    taken = {id(residue) for residue, _ in caps}
    passed_over = [residue for residue in passed_over if id(residue) not in taken]
    carried = kept_others(passed_over, others)
    carried_ids = {id(residue) for residue in carried}
    ignored = [residue for residue in passed_over if id(residue) not in carried_ids]
    if nucleic_elsewhere:
        ignored = [residue for residue in ignored if not is_nucleotide(residue)]
    if nucleotides and nucleic_acids is None:
        warn_of_carried_nucleotides(nucleotides, not_built, file)
    if ignored:
        _warn(f"{file}: ignored residues that are not part of a protein chain: {_counted(ignored)}")
    if unknown or incomplete:
        _warn(
            f"{file}: left out {_listed(unknown + incomplete)} because of --skip-unknown; the chain breaks "
            "there"
        )
    ambiguous = next((f"{file}: {choice.twice}" for _, choice in chosen if choice.twice), "")
    selection = replace(_assemble(built, ambiguous, mapping, known, caps), told=told)
    if hydrogens and mapping is None:
        selection = replace(selection, hydrogens=SelectedHydrogens.of([residue for residue, _ in built]))
    if nucleic_acids is None:
        return replace(selection, others=OtherMolecules.of(carried)) if carried else selection
    return replace(
        selection,
        others=OtherMolecules.of(residue for residue in carried if not is_nucleotide(residue)),
        nucleic=nucleic_acids,
        carried_nucleic=OtherMolecules.of(carried),
    )


def warn_of_carried_nucleotides(names: Sequence[NamedResidue], reason: str, file: str) -> None:
    """Say that nucleic acids are carried along, and why."""
    kinds = _counted(names)
    _warn(f"{file}: carried nucleic acids along as they are, without building their atoms: {kinds}; {reason}")


def _spelt_out(residue: ResidueRecord) -> ResidueRecord:
    """Spell out a one-letter residue name, or one of SIRAH.

    Such a name does not identify an amino acid: without a C-alpha, A may be a nucleotide, and SR strontium.
    """
    name = None
    if _has_c_alpha(residue):
        name = THREE_LETTERS.get(residue.name)
    elif _has_sirah_backbone(residue) and standard_residue_name(residue.name) is None:
        name = SIRAH_NAMES.get(residue.name)
    return residue if name is None else replace(residue, name=name)


def _chains_of_nucleotides(residues: Sequence[ResidueRecord], file: str) -> set[int]:
    """Find the chains of beads named CA that are nucleic acids, among residues with names of one letter.

    Letters other than A, C, G, T and U, and names of amino acids, tell a protein; longer names of nucleotides
    and U tell a nucleic acid. Three or four of the other letters and nothing else are a nucleic acid, fewer a
    protein, such as polyalanine.
    """
    chains: dict[int, list[ResidueRecord]] = {}
    for residue in residues:
        if _has_c_alpha(residue) and not is_ion(residue):
            chains.setdefault(residue.chain, []).append(residue)
    nucleic = set()
    for chain, members in chains.items():
        letters = sorted({residue.name for residue in members if residue.name in _NUCLEOTIDE_LETTERS})
        if not letters or not all(map(is_nucleotide, members)):
            continue
        named = any(residue.name not in letters for residue in members)
        if named or "U" in letters or len(letters) >= _LETTERS_OF_NUCLEIC_ACIDS:
            nucleic.add(chain)
        if not named and (len(letters) > 1 or chain in nucleic):
            taken = "a nucleic acid" if chain in nucleic else "a protein"
            _warn(
                f"{file}: took the chain of {members[0].describe()}, {len(members)} residues named "
                f"{', '.join(letters)}, for {taken}; if it is not, name them ALA, CYS ... or DA, DC ..."
            )
    return nucleic


def _has_main_bead(residue: ResidueRecord) -> bool:
    """Return whether a residue has a C-alpha or a bead of the backbone, as parts of a chain have."""
    return any(atom.name.upper() in _MAIN_BEADS for atom in residue.atoms)


def _has_sirah_backbone(residue: ResidueRecord) -> bool:
    return {atom.name.upper() for atom in residue.atoms} >= _SIRAH_BACKBONE


def _has_c_alpha(residue: ResidueRecord) -> bool:
    return any(atom.name.upper() == "CA" for atom in residue.atoms)


def _named_by(sequence: FastaFile, residues: Sequence[ResidueRecord], file: str) -> list[ResidueRecord]:
    """Name residues after a sequence, whose records are chains; ignored residues keep their names."""
    places = [place for place, residue in enumerate(residues) if not _is_passed_over(residue)]
    letters = "".join(sequence.records)
    if len(letters) != len(places):
        count = len(sequence.records)
        raise InputError(
            f"{file}: has {len(places)} residues, but the sequence {sequence.path} has {len(letters)} in "
            f"{count} record{'s' if count > 1 else ''}; give one letter per residue and one record per chain"
        )
    record_of = [number for number, record in enumerate(sequence.records) for _ in record]
    named = list(residues)
    chain, last = -1, None
    for place, letter, record in zip(places, letters, record_of, strict=True):
        residue = residues[place]
        name = residue.name if _is_modified(residue.name) else THREE_LETTERS[letter]
        if name not in _meanings(residue.name):
            raise InputError(
                f"{file}: {residue.describe()} is {name} in the sequence {sequence.path}; "
                "give the sequence of this file"
            )
        chain += (residue.chain, record) != last
        last = residue.chain, record
        several = residue.labelled or len(sequence.records) > 1
        named[place] = replace(residue, name=name, chain=chain, labelled=several)
    return named


def _meanings(name: str) -> Collection[str]:
    """Return the amino acids that a residue name may stand for."""
    known = standard_residue_name(name)
    if known or _is_modified(name):
        return (known or name,)
    return AWSEM_NAMES.get(name, RESIDUE_INDEX)


def _is_modified(name: str) -> bool:
    """Return whether a name is that of a modified or D-amino acid, which a sequence cannot rename."""
    component = gemmi.find_tabulated_residue(name)
    parent = component.is_amino_acid() and component.one_letter_code.upper() in THREE_LETTERS
    return parent and standard_residue_name(name) is None


def _why_unknown(
    unknown: Sequence[ResidueRecord],
    protein: Sequence[ResidueRecord],
    nucleotides: Sequence[ResidueRecord],
) -> str:
    """Explain why residues cannot be built, and what to do."""
    if nucleotides and not protein:
        return (
            f"{_listed(unknown)} cannot be built (none of A, C, G, U, DA, DC, DG and DT, and no amino acid); "
            "remove it, or give --skip-unknown to leave it out"
        )
    names = list(dict.fromkeys(residue.name for residue in unknown))
    if set(names) <= set(AWSEM_NAMES) or not protein:
        shown = ", ".join(names[:_NAMES_SHOWN]) + (" ..." if len(names) > _NAMES_SHOWN else "")
        beads = sorted({atom.name for residue in unknown for atom in residue.atoms})[:_NAMES_SHOWN]
        return (
            f"the names of its residues ({shown}; atoms {', '.join(beads)}) do not identify amino acids; "
            "if it is a protein, give its sequence with --sequence FASTA"
        )
    return (
        f"{_listed(unknown)} cannot be built (neither one of the twenty amino acids nor a known modified "
        "residue); describe it in a file for --residues, remove it, or give --skip-unknown to leave it out"
    )


def _warn_of_ignored_sites(protein: Sequence[ResidueRecord], mapping: BeadMapping, file: str) -> None:
    """Say which sites of the protein the mapping passes over."""
    names = Counter(atom.name.upper() for residue in protein for atom in residue.atoms)
    ignored = {name: count for name, count in names.items() if name in mapping.ignored}
    if ignored:
        shown = ", ".join(list(ignored)[:_NAMES_SHOWN]) + (" ..." if len(ignored) > _NAMES_SHOWN else "")
        count = sum(ignored.values())
        _warn(f"{file}: ignored {count} sites that the mapping {mapping.name} does not use ({shown})")


def _warn(message: str) -> None:
    warnings.warn(message, InputWarning, stacklevel=2)


def _listed(residues: Sequence[ResidueRecord]) -> str:
    """Name the first of several residues and count the others."""
    if len(residues) == 1:
        return residues[0].describe()
    return f"{residues[0].describe()} and {len(residues) - 1} more ({_counted(residues)})"


def _counted(residues: Sequence[NamedResidue]) -> str:
    """Count residues by name, the most frequent first: ``98 HOH, 2 GOL, 1 ACE``."""
    counts = Counter(residue.name for residue in residues).most_common()
    others = " ..." if len(counts) > _NAMES_SHOWN else ""
    return ", ".join(f"{count} {name}" for name, count in counts[:_NAMES_SHOWN]) + others


def _one_variant_each(residues: Iterable[ResidueRecord]) -> Iterator[ResidueRecord]:
    """Keep the most occupied variant where a residue has two names (microheterogeneity)."""
    for _, variants in groupby(residues, key=lambda r: (r.chain, r.number, r.insertion_code)):
        group = list(variants)
        if len(group) > 1 and all(atom.alternate for residue in group for atom in residue.atoms):
            yield max(group, key=lambda residue: max(atom.occupancy for atom in residue.atoms))
        else:
            yield from group


def _sort_out(
    residues: Iterable[ResidueRecord], known: Modifications
) -> tuple[list[ResidueRecord], list[ResidueRecord], list[ResidueRecord]]:
    """Sort residues into protein, ignored and unknown."""
    protein: list[ResidueRecord] = []
    passed_over: list[ResidueRecord] = []
    unknown: list[ResidueRecord] = []
    for residue in residues:
        if _is_passed_over(residue):
            passed_over.append(residue)
        elif _amino_acid(residue.name, known) is None:
            unknown.append(residue)
        else:
            protein.append(residue)
    return protein, passed_over, unknown


def _amino_acid(name: str, known: Modifications) -> str | None:
    """Return the amino acid that a residue is or is built as, or None for other residues."""
    modified = known.get(name)
    return standard_residue_name(name) if modified is None else modified.parent or None


def _caps_at_ends(
    residues: Sequence[ResidueRecord], built: Sequence[ResidueRecord], known: Modifications
) -> list[tuple[ResidueRecord, int]]:
    """Find the caps next to residues that are built, with the row of the residue."""
    row_of = {id(residue): row for row, residue in enumerate(built)}
    found = []
    for place, residue in enumerate(residues):
        made = known.get(residue.name)
        beside = place + 1 if made is not None and made.cap == "start" else place - 1
        if made is None or not made.cap or not 0 <= beside < len(residues):
            continue
        row = row_of.get(id(residues[beside]))
        if row is not None and residues[beside].chain == residue.chain:
            found.append((residue, row))
    return found


def _is_passed_over(residue: ResidueRecord) -> bool:
    passed_over = residue.ligand or residue.name in _NO_PART_OF_CHAINS or is_ion(residue)
    return passed_over or is_nucleotide(residue) or (is_other(residue) and not _has_c_alpha(residue))


def is_ion(residue: ResidueRecord) -> bool:
    """Return whether a residue is a single ion."""
    return residue.name in IONS and len(residue.atoms) == 1


def _with_c_alphas(
    protein: Sequence[ResidueRecord], mapping: BeadMapping, known: Modifications, file: str
) -> list[ResidueRecord]:
    """Name the beads of a mapping CA, as C-alphas are; beads of another name are the only atoms of a residue.

    Raises
    ------
    InputError
        If no residue has its bead, or the mapping lacks a residue.
    """
    mapping.require(_standard_name(residue, known) for residue in protein)
    renamed = []
    for residue in protein:
        (bead,) = mapping.beads[_standard_name(residue, known)]
        if bead.name.upper() != "CA":
            beads = (atom for atom in residue.atoms if atom.name.upper() == bead.name.upper())
            residue = replace(residue, atoms=tuple(replace(atom, name="CA") for atom in beads))
        renamed.append(residue)
    if not any(map(_has_c_alpha, renamed)) and protein:
        found = ", ".join(dict.fromkeys(atom.name for residue in protein for atom in residue.atoms))
        raise InputError(
            f"{file}: no residue has its bead of the mapping {mapping.name} (its atoms are named "
            f"{textwrap.shorten(found, 60, placeholder=' ...')}); give another mapping with --beads"
        )
    return renamed


def _require_protein(
    protein: Sequence[ResidueRecord], passed_over: Sequence[ResidueRecord], not_built: str, file: str
) -> None:
    """Refuse a file without any residue of a protein; ``not_built`` says why nucleic acids are not built."""
    nucleotides = [residue for residue in passed_over if is_nucleotide(residue)]
    if not protein and nucleotides and not_built:
        raise InputError(f"{file}: has no protein, and its nucleic acids are not built: {not_built}")
    if not protein and nucleotides:
        raise InputError(
            f"{file}: contains nucleic acids ({_counted(nucleotides)}) but no protein; give a file with one"
        )
    if not protein:
        raise InputError(f"{file}: contains no protein residue; give a file with the C-alphas of a protein")


def _require_c_alphas(protein: Sequence[ResidueRecord], file: str) -> None:
    """Refuse a file without any C-alpha."""
    names = Counter(atom.name.upper() for residue in protein for atom in residue.atoms)
    if "CA" not in names:
        found = ", ".join(name for name, _ in names.most_common(_NAMES_SHOWN))
        raise InputError(
            f"{file}: has no C-alpha (no atom named CA in any protein residue; found {found}); "
            "if these are C-alphas, name them CA; if they are other beads, give their mapping with --beads"
        )


class NamedResidue(Protocol):
    """Anything that has the name of a residue."""

    @property
    def name(self) -> str:
        """Name of the residue in the file."""


class _Choice(NamedTuple):
    """The sites of a residue.

    Attributes
    ----------
    places : list of int
        Index of each atom (15 slots) or bead in the coordinates of a frame, -1 if it is missing or occurs
        twice.
    missing : str
        A site that the residue lacks but needs; empty if it is complete.
    twice : str
        Message that names an atom that occurs twice; empty if none does.
    """

    places: list[int]
    missing: str
    twice: str = ""


class _AtomChooser:
    """Finds the atoms of residues by their names."""

    def __init__(self, known: Modifications) -> None:
        self._known = known

    def __call__(self, residue: ResidueRecord, file: str) -> _Choice:
        """Find the atoms of a residue. Raises InputError if the C-alpha occurs twice."""
        name, modified = _standard_name(residue, self._known), self._known.get(residue.name)
        location = _main_location(residue.atoms)
        candidates: dict[int, list[AtomRecord]] = {}
        for atom in residue.atoms:
            slot = slot_of(name, _parent_atom_name(name, atom.name, modified))
            if slot is not None:
                candidates.setdefault(slot, []).append(atom)
        chosen = [-1] * ATOM_SLOTS
        twice = ""
        for slot, atoms in candidates.items():
            if len({atom.alternate for atom in atoms}) == len(atoms):
                best = max(atoms, key=lambda atom: (atom.alternate in ("", location), atom.occupancy))
                chosen[slot] = best.index
                continue
            twice = twice or (
                f"{residue.describe()} has {len(atoms)} atoms {atoms[0].name}; remove all but one, "
                "or give the residues different numbers"
            )
            if slot == SLOT_CA:
                raise InputError(f"{file}: {twice}")
        return _Choice(chosen, "C-alpha" if chosen[SLOT_CA] < 0 else "", twice)


class _BeadChooser:
    """Finds the beads of residues by their names."""

    def __init__(self, mapping: BeadMapping, known: Modifications) -> None:
        self._mapping, self._known = mapping, known

    def __call__(self, residue: ResidueRecord, file: str) -> _Choice:
        """Find the beads of a residue. Raises InputError if a bead occurs twice."""
        places: dict[str, int] = {}
        location = _main_location(residue.atoms)
        for atom in residue.atoms:
            if atom.alternate not in ("", location):
                continue
            name = atom.name.upper()
            if name in places:
                raise InputError(
                    f"{file}: {residue.describe()} has several beads {atom.name}; remove all but one, or "
                    "give the residues different numbers"
                )
            places[name] = atom.index
        beads = self._mapping.beads.get(_standard_name(residue, self._known), ())
        index = [places.get(bead.name.upper(), -1) for bead in beads]
        missing = next((bead.name for bead, place in zip(beads, index, strict=True) if place < 0), "")
        return _Choice(index, missing and f"bead {missing} of the mapping {self._mapping.name}")


def _parent_atom_name(parent: str, atom: str, modified: Modification | None) -> str:
    """Return the IUPAC name of an atom of an amino acid; empty if only the modified residue has it."""
    if modified is not None and atom in modified.old_names:
        return modified.old_names[atom]
    if modified is not None and any(atom == added.name for added in modified.atoms):
        return ""
    return standard_atom_name(parent, atom)


def _standard_name(residue: ResidueRecord, known: Modifications) -> str:
    """Return the standard name of a residue of the protein, of its parent if it is modified."""
    name = _amino_acid(residue.name, known)
    assert name is not None  # the others are unknown to :func:`_sort_out`
    return name


def _main_location(atoms: Iterable[AtomRecord]) -> str:
    """Return the alternate location of highest occupancy, the first of equals; empty if there are none."""
    occupancy: dict[str, float] = {}
    for atom in atoms:
        if atom.alternate:
            occupancy[atom.alternate] = max(atom.occupancy, occupancy.get(atom.alternate, 0.0))
    return max(occupancy, key=lambda location: occupancy[location], default="")


_NO_PROTEIN = ProteinSelection(
    Topology(
        np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), (), np.empty(0, dtype=np.int64), (), ()
    ),
    Sites((), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)),
    np.empty(0, dtype=np.int64),
    np.empty(0, dtype=bool),
    np.empty(0, dtype=bool),
)


def _assemble(
    chosen: Sequence[tuple[ResidueRecord, _Choice]],
    ambiguous: str,
    mapping: BeadMapping | None,
    known: Modifications,
    caps: Sequence[tuple[ResidueRecord, int]],
) -> ProteinSelection:
    residues = [residue for residue, _ in chosen]
    if not residues:
        return _NO_PROTEIN
    capped = {row + (known[cap.name].cap == "end") for cap, row in caps}
    changes = [
        one.chain != other.chain or place in capped
        for place, (one, other) in enumerate(pairwise(residues), start=1)
    ]
    chain_index = np.cumsum([0, *changes], dtype=np.int64)
    first = np.append(0, np.flatnonzero(changes) + 1)
    topology = Topology(
        residue_types=np.array(
            [RESIDUE_INDEX[_standard_name(residue, known)] for residue in residues], dtype=np.int64
        ),
        chain_index=chain_index,
        chain_ids=tuple(residues[index].chain_id for index in first),
        residue_numbers=np.array([residue.number for residue in residues], dtype=np.int64),
        insertion_codes=tuple(residue.insertion_code for residue in residues),
        names=tuple(residue.name if residue.name in known else "" for residue in residues),
        caps=tuple(Cap(row, cap.name, cap.number, cap.insertion_code) for cap, row in caps),
    )
    if mapping is None:
        atom_index = np.array([choice.places for _, choice in chosen], dtype=np.int64)
        present = atom_index >= 0
        sites, index = Sites.of_atoms(topology, present), atom_index[present]
    else:
        layout = mapping.layout(topology.residue_types)
        sites = Sites(layout.names, layout.residues, layout.main)
        index = np.concatenate([choice.places for _, choice in chosen])
    return ProteinSelection(
        topology,
        sites,
        index,
        np.array([residue.labelled for residue in residues]),
        np.array([residue.numbered for residue in residues]),
        ambiguous,
        mapping,
    )
