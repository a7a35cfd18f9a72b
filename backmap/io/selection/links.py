"""Bonds between residues that are no neighbours in sequence, as files and users name them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import gemmi

from backmap.chemistry import Topology
from backmap.errors import InputError

if TYPE_CHECKING:
    import mdtraj


class ResiduePlace(NamedTuple):
    """The name of a residue in a file: chain, number and insertion code."""

    chain_id: str
    number: int
    insertion_code: str

    def __str__(self) -> str:
        """Name the residue for a message: ``chain A residue 27B``."""
        return (
            f"{f'chain {self.chain_id} ' if self.chain_id else ''}residue {self.number}{self.insertion_code}"
        )

    @classmethod
    def of(cls, topology: Topology, residue: int) -> ResiduePlace:
        """Return the name of a residue of a protein."""
        chain_id = topology.chain_ids[topology.chain_index[residue]].strip()
        code = topology.insertion_codes[residue].strip()
        return cls(chain_id, int(topology.residue_numbers[residue]), code)


NamedBond = tuple[ResiduePlace, ResiduePlace]


class Links(NamedTuple):
    """Named bonds.

    Attributes
    ----------
    disulfides : tuple of pairs of ResiduePlace
        Cysteines.
    peptides : tuple of pairs of ResiduePlace
        The residue of C and that of N of peptide bonds other than those to the next residue.
    """

    disulfides: tuple[NamedBond, ...] = ()
    peptides: tuple[NamedBond, ...] = ()


NO_LINKS = Links()

_End = tuple[ResiduePlace, str]
"""A residue and the name of its atom."""


def _sorted(bonds: Iterable[tuple[_End, _End]]) -> Links:
    """Keep the disulfides and peptide bonds among bonds between atoms."""
    disulfides, peptides = [], []
    for first, second in bonds:
        names = first[1], second[1]
        if names == ("SG", "SG"):
            disulfides.append((first[0], second[0]))
        elif names == ("C", "N"):
            peptides.append((first[0], second[0]))
        elif names == ("N", "C"):
            peptides.append((second[0], first[0]))
    return Links(tuple(disulfides), tuple(peptides))


def links_in_pdb(records: Iterable[str]) -> Links:
    """Read SSBOND and LINK records of a PDB file, except damaged ones and those between symmetry mates."""
    bonds = []
    for record in records:
        line = record.ljust(72)
        if line[59:65].strip() != line[66:72].strip():
            continue
        with suppress(ValueError):
            if line.startswith("SSBOND"):
                first, second = line[15:22], line[29:36]
                names = "SG", "SG"
            else:
                first, second = line[21:27], line[51:57]
                first, second = (f"{place[0]} {place[1:]}" for place in (first, second))
                names = line[12:16].strip(), line[42:46].strip()
            ends = (_place(place[0], place[2:6], place[6]) for place in (first, second))
            bonds.append(tuple(zip(ends, names, strict=True)))
    return _sorted((first, second) for first, second in bonds)


def links_in_mmcif(block: gemmi.cif.Block) -> Links:
    """Read the bonds of ``_struct_conn`` with residue numbers, except those between symmetry mates."""
    columns = (
        "ptnr{}_auth_asym_id",
        "ptnr{}_auth_seq_id",
        "?pdbx_ptnr{}_PDB_ins_code",
        "?ptnr{}_symmetry",
        "?ptnr{}_label_atom_id",
    )
    tags = [column.format(end) for end in (1, 2) for column in columns]
    bonds: list[tuple[_End, _End]] = []
    for row in block.find("_struct_conn.", ["conn_type_id", *tags]):
        kind, *values = (gemmi.cif.as_string(row[at]) if row.has(at) else "" for at in range(len(row)))
        *first, symmetry_of_first, name_of_first = values[:5]
        *second, symmetry_of_second, name_of_second = values[5:]
        if kind not in ("disulf", "covale") or symmetry_of_first != symmetry_of_second:
            continue
        names = ("SG", "SG") if kind == "disulf" else (name_of_first, name_of_second)
        with suppress(ValueError):
            bonds.append(((_place(*first), names[0]), (_place(*second), names[1])))
    return _sorted(bonds)


def links_in_topology(topology: mdtraj.Topology) -> Links:
    """List the bonds between cysteine sulfurs, and from C to N of an earlier residue, in a topology."""
    bonds: list[tuple[_End, _End]] = []
    for first, second in topology.bonds:
        names = first.name.strip(), second.name.strip()
        if names == ("N", "C"):
            first, second, names = second, first, ("C", "N")
        closes = names == ("C", "N") and second.residue.index < first.residue.index
        if closes or names == ("SG", "SG"):
            bonds.append(
                ((_residue_place(first.residue), names[0]), (_residue_place(second.residue), names[1]))
            )
    return _sorted(bonds)


_END = r"([^:]*):(-?\d+)([A-Za-z]?):(\w+)"
_LINK = re.compile(f"{_END}-{_END}")


def read_links(texts: Iterable[str]) -> Links:
    """Read links as given on the command line, ``A:12:SG-B:30:SG`` or ``A:8:C-A:1:N``.

    Raises
    ------
    InputError
        If one is not of this form, or is neither between sulfurs nor between C and N.
    """
    disulfides: list[NamedBond] = []
    peptides: list[NamedBond] = []
    for text in texts:
        found = _LINK.fullmatch(text)
        if found is None:
            raise InputError(f"link {text}: give both atoms as CHAIN:NUMBER:NAME, as in A:12:SG-B:30:SG")
        first, second = found.groups()[:4], found.groups()[4:]
        link = _sorted([((_place(*first[:3]), first[3]), (_place(*second[:3]), second[3]))])
        if link == NO_LINKS:
            raise InputError(
                f"link {text}: only disulfides, between atoms SG of cysteines, and peptide bonds from C of "
                "the last residue of a chain to N of its first can be built"
            )
        disulfides += link.disulfides
        peptides += link.peptides
    return Links(tuple(disulfides), tuple(peptides))


def _residue_place(residue: Any) -> ResiduePlace:
    """Return the place of a residue of mdtraj."""
    return ResiduePlace((residue.chain.chain_id or "").strip(), residue.resSeq, "")


def _place(chain_id: str, number: str, insertion_code: str) -> ResiduePlace:
    return ResiduePlace(chain_id.strip(), int(number), insertion_code.strip())
