"""Nucleic acids among the residues of a file whose atoms can be built from their beads."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from backmap.chemistry.nucleic_mapping import (
    NucleicLayout,
    NucleicMapping,
    layout_of,
    load_nucleic_mapping,
    shipped_nucleic_mappings,
)
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import NUCLEOTIDE_INDEX, NUCLEOTIDE_NAMES
from backmap.chemistry.topology import number_steps
from backmap.errors import InputWarning

from .other_molecules import is_full
from .records import ResidueRecord
from .whole_molecules import ChainsOfAtoms, make_whole

ANY_NUCLEIC_BEADS = "auto"
"""Names decide which mapping the beads of nucleotides have."""

AS_THEY_ARE = "keep"
"""Beads of nucleotides are carried along as they are."""

_NOT_RECOGNISED = frozenset({"nucleotide-centre"})
"""Mappings whose beads have any name: the user has to say so."""

_BASES = {"ADE": "A", "CYT": "C", "GUA": "G", "THY": "T", "URA": "U", "URI": "U"}
_NEIGHBOURS_NM = 0.3, 0.95
"""Range of distances between the leading beads of bonded nucleotides."""

_ACROSS_GAP_NM = 0.75
"""Nucleotides whose numbers leave room for others in between are bonded only if they are closer than this."""

_BREAKS_NAMED = 3
_BEADS_NAMED = 6


def standard_nucleotide(name: str, deoxy: bool) -> str | None:
    """Return the standard name of a nucleotide with one of its usual names, or None.

    Parameters
    ----------
    name : str
        As in a file.
    deoxy : bool
        Whether names that do not say so are those of DNA.
    """
    text = name.strip().upper()
    if text in _BASES:
        letter = _BASES[text]
    else:
        text = text.removesuffix("X").rstrip("35").removesuffix("X")
        if text[:1] in "DR" and len(text) == 2:
            deoxy, text = text[0] == "D", text[1]
        letter = text
    if letter == "T":
        deoxy = True
    if letter == "U":
        deoxy = False
    standard = f"D{letter}" if deoxy else letter
    return standard if standard in NUCLEOTIDE_INDEX else None


def nucleic_topology(records: Sequence[ResidueRecord], names: Sequence[str]) -> NucleicTopology:
    """Return nucleotides with these standard names, each bonded to the next one of its chain."""
    changes = [one.chain != other.chain for one, other in pairwise(records)]
    chain_index = np.cumsum([False, *changes]).astype(np.int64)
    first = np.unique(chain_index, return_index=True)[1]
    return NucleicTopology(
        np.array([NUCLEOTIDE_INDEX[name] for name in names], dtype=np.int64),
        chain_index,
        tuple(records[row].chain_id for row in first),
        np.array([record.number for record in records], dtype=np.int64),
        tuple(record.insertion_code for record in records),
        np.append(np.diff(chain_index) == 0, False),
    )


@dataclass(frozen=True, eq=False)
class NucleicAcids:
    """Nucleic acids of a file, and their beads.

    Parameters
    ----------
    topology : NucleicTopology
        The nucleotides.
    mapping : NucleicMapping
        What the beads are.
    layout : NucleicLayout
        The beads of the nucleotides.
    index : ndarray, (beads,) int64
        Index of each bead in the coordinates of a frame.
    """

    topology: NucleicTopology
    mapping: NucleicMapping
    layout: NucleicLayout
    index: np.ndarray

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.index)

    @property
    def leaders(self) -> np.ndarray:
        """(nucleotides,) int64: the bead of each nucleotide that leads the chain, among the beads."""
        return np.searchsorted(self.layout.nucleotides, np.arange(self.topology.n_nucleotides))

    def whole(self, positions: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Join the chains of beads (frames, beads, 3) split by periodic boundaries."""
        steps = np.ones(max(self.topology.n_nucleotides - 1, 0), dtype=np.int64)
        chains = ChainsOfAtoms(self.layout.nucleotides, self.leaders, self.topology.chain_index, steps)
        return make_whole(positions, boxes, chains)

    def linked_by(self, positions: np.ndarray, box: np.ndarray, file: str) -> NucleicAcids | None:
        """Return the nucleic acids with the bonds that beads (beads, 3) of a frame allow.

        None if hardly any neighbours can be bonded: these are no beads of nucleotides, or in another unit.
        A warning names breaks of strands.
        """
        topology = self.topology
        leading = self.whole(positions[None], box[None])[0, self.leaders]
        distance = np.linalg.norm(np.diff(leading, axis=0), axis=-1)
        same = np.diff(topology.chain_index) == 0
        near = (distance > _NEIGHBOURS_NM[0]) & (distance < _NEIGHBOURS_NM[1])
        if 2 * int((same & near).sum()) < int(same.sum()):
            return None
        steps = number_steps(topology.numbers, topology.insertion_codes)
        across_gap = (steps > 1) & (distance > _ACROSS_GAP_NM)
        bonded = same & near & (steps >= 0) & ~across_gap & ~self._bare[1:]
        self._warn_of_breaks(np.flatnonzero(same & (steps > 0) & ~bonded), distance, file)
        topology = replace(topology, linked=np.append(bonded, False))
        present = np.zeros((topology.n_nucleotides, int(self.layout.columns.max()) + 1), dtype=bool)
        present[self.layout.nucleotides, self.layout.columns] = True
        layout = layout_of(self.mapping, topology.types, topology.starts, present)
        return replace(self, topology=topology, layout=layout)

    @property
    def _bare(self) -> np.ndarray:
        """(nucleotides,) bool: nucleotides without the bead of their phosphate."""
        numbers = range(self.topology.n_nucleotides)
        expected = [len(self.mapping.beads[self.topology.name(number)]) for number in numbers]
        return np.bincount(self.layout.nucleotides, minlength=len(numbers)) < expected

    def _warn_of_breaks(self, breaks: np.ndarray, distance: np.ndarray, file: str) -> None:
        """Warn once of neighbours (breaks,) that are not bonded to the next, some ``distance`` away in nm."""
        if not len(breaks):
            return
        bare = self._bare
        named = "; ".join(
            f"between {self.topology.describe(row)} and {self.topology.describe(row + 1)} "
            + (
                "(which has no phosphate)"
                if bare[row + 1]
                else f"(leading beads {distance[row]:.2f} nm apart)"
            )
            for row in breaks[:_BREAKS_NAMED].tolist()
        )
        more = f"; and {len(breaks) - _BREAKS_NAMED} more" if len(breaks) > _BREAKS_NAMED else ""
        count = "a strand break" if len(breaks) == 1 else f"{len(breaks)} strand breaks"
        warnings.warn(
            f"{file}: {count}, built as separate strands: {named}{more}", InputWarning, stacklevel=2
        )


def select_nucleic(records: Sequence[ResidueRecord], beads: str) -> NucleicAcids | None:
    """Find nucleotides whose beads a mapping describes; None if there are other nucleotides as well.

    Parameters
    ----------
    records : sequence of ResidueRecord
        Nucleotides of a file, in file order.
    beads : str
        ``auto``, ``keep``, or the name or file of a mapping.

    Raises
    ------
    InputError
        If there is no such mapping.
    """
    if beads == AS_THEY_ARE:
        return None
    mappings, named = _mappings(beads), _named(records)
    if not named:
        return None
    fitting = (mapping for mapping in mappings if _first_misfit(records, named, mapping) is None)
    return next((_assembled(records, named, mapping) for mapping in fitting), None)


def why_not_built(records: Sequence[ResidueRecord], beads: str) -> str:
    """Explain why :func:`select_nucleic` finds no nucleic acids to build, and what to do."""
    if beads == AS_THEY_ARE:
        return "--nucleic-beads keep asks for it"
    names = [standard_nucleotide(record.name, deoxy=False) for record in records]
    if None in names:
        return f"{records[names.index(None)].describe()} is none of A, C, G, U, DA, DC, DG and DT"
    if all(is_full(record) for record in records):
        return "they have all their atoms"
    named, mappings = _named(records) or [], _mappings(beads)
    misfits = [_first_misfit(records, named, mapping) or 0 for mapping in mappings]
    record = records[max(misfits)]
    found = ", ".join(atom.name for atom in record.atoms[:_BEADS_NAMED])
    more = " ..." if len(record.atoms) > _BEADS_NAMED else ""
    described_by = f"the mapping {mappings[0].name} does not describe"
    if beads == ANY_NUCLEIC_BEADS:
        described_by = "no known mapping describes; name their mapping with --nucleic-beads, or complete them"
    return f"{record.describe()} has the beads {found}{more}, which {described_by}"


def _mappings(beads: str) -> list[NucleicMapping]:
    """Return the mappings that beads may have, given the user's choice."""
    if beads != ANY_NUCLEIC_BEADS:
        return [load_nucleic_mapping(beads)]
    return [known for name, known in shipped_nucleic_mappings().items() if name not in _NOT_RECOGNISED]


def _named(records: Sequence[ResidueRecord]) -> list[str] | None:
    """Return the standard names of nucleotides; None if one of them has none."""
    with_thymine = {record.chain for record in records if record.name.strip().upper()[:1] == "T"}
    names = [standard_nucleotide(record.name, record.chain in with_thymine) for record in records]
    return None if None in names else [name for name in names if name is not None]


def _places(record: ResidueRecord, name: str, mapping: NucleicMapping) -> list[int] | None:
    """Return where the beads of a nucleotide are in a frame, -1 for a missing phosphate.

    None if other beads are missing, or there are others.
    """
    found = {atom.name.strip().upper(): atom.index for atom in record.atoms}
    return mapping.places(name, found) if len(found) == len(record.atoms) else None


def _first_misfit(
    records: Sequence[ResidueRecord], names: Sequence[str], mapping: NucleicMapping
) -> int | None:
    """Return the first nucleotide that a mapping does not describe; None if there is none.

    Phosphates may be missing, as at 5' ends.
    """
    places = (_places(record, name, mapping) for record, name in zip(records, names, strict=True))
    return next((row for row, found in enumerate(places) if found is None), None)


def _assembled(
    records: Sequence[ResidueRecord], names: Sequence[str], mapping: NucleicMapping
) -> NucleicAcids:
    places = [_places(record, name, mapping) or [] for record, name in zip(records, names, strict=True)]
    topology = nucleic_topology(records, names)
    most = max(len(mapping.beads[name]) for name in NUCLEOTIDE_NAMES)
    present = np.zeros((len(records), most), dtype=bool)
    for row, found in enumerate(places):
        present[row, : len(found)] = np.array(found) >= 0
    index = np.array([place for found in places for place in found if place >= 0], dtype=np.int64)
    return NucleicAcids(
        topology, mapping, layout_of(mapping, topology.types, topology.starts, present), index
    )
