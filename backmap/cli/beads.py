"""``backmap beads``: list the coarse-grained representations that are known."""

from __future__ import annotations

import argparse
from contextlib import suppress

from backmap.chemistry.bead_mapping import Bead, BeadMapping, load_mapping, shipped_mappings
from backmap.chemistry.nucleic_mapping import (
    NucleicMapping,
    file_of_nucleic_mapping,
    load_nucleic_mapping,
    shipped_nucleic_mappings,
)
from backmap.chemistry.nucleotides import nucleotide_atoms
from backmap.errors import InputError

from .console import filled, show

_FIGURES = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("name", nargs="?", metavar="NAME|FILE", help="show the beads of this mapping")


def run(arguments: argparse.Namespace) -> int:
    """List the shipped mappings, or print the beads of one."""
    if arguments.name is None:
        show(*map(_describe, shipped_mappings().values()))
        show(*map(_describe_nucleic, shipped_nucleic_mappings().values()))
    else:
        show(_shown(arguments.name))
    return 0


def _shown(name: str) -> str:
    """List the beads of a mapping of proteins or of nucleic acids."""
    if name in shipped_nucleic_mappings():
        return _table_of_nucleic(load_nucleic_mapping(name))
    try:
        return _table(load_mapping(name))
    except InputError:
        if file_of_nucleic_mapping(name) is not None:
            with suppress(InputError):
                return _table_of_nucleic(load_nucleic_mapping(name))
        raise


def _describe(mapping: BeadMapping) -> str:
    """Describe a mapping in lines that fit into the terminal."""
    numbers = [len(beads) for beads in mapping.beads.values() if beads]
    range_ = str(numbers[0]) if len(set(numbers)) == 1 else f"{min(numbers)} to {max(numbers)}"
    names = ", ".join((mapping.name, *mapping.also_called))
    return f"{names} ({range_} per residue)\n{filled('  ' + mapping.description)}"


def _describe_nucleic(mapping: NucleicMapping) -> str:
    """Describe a mapping of nucleotides in lines that fit into the terminal."""
    numbers = sorted({len(beads) for beads in mapping.beads.values()})
    range_ = " to ".join(map(str, numbers))
    return f"{mapping.name} ({range_} per nucleotide)\n{filled('  ' + mapping.description)}"


def _table_of_nucleic(mapping: NucleicMapping) -> str:
    """List the atoms of each bead, nucleotide by nucleotide."""
    lines = [filled(f"{mapping.name}: {mapping.description}")]
    for nucleotide, beads in mapping.beads.items():
        atoms = (*nucleotide_atoms(nucleotide), "-O3'")
        found = []
        for name, weights in zip(beads, mapping.weights[nucleotide], strict=True):
            kept = [(atom, weight) for atom, weight in zip(atoms, weights.tolist(), strict=True) if weight]
            found.append(Bead(name, *zip(*kept, strict=True)))
        named = "; ".join(f"{bead.name} = {_atoms(bead)}" for bead in found)
        lines.append(filled(f"{nucleotide}  {named}", " " * 5))
    return "\n".join(lines)


def _table(mapping: BeadMapping) -> str:
    """List the atoms of each bead, residue by residue."""
    lines = [filled(f"{mapping.name}: {mapping.description}")]
    for residue, beads in mapping.beads.items():
        named = "; ".join(f"{bead.name} = {_atoms(bead)}" for bead in beads) or "no beads"
        lines.append(filled(f"{residue}  {named}", " " * 5))
    if mapping.ignored:
        lines.append(filled(f"ignored: {', '.join(sorted(mapping.ignored))}"))
    return "\n".join(lines)


def _atoms(bead: Bead) -> str:
    """Name the atoms of a bead, with their weights in percent if there are several."""
    if len(bead.atoms) == 1:
        return bead.atoms[0]
    parts = zip(bead.atoms, bead.weights, strict=True)
    return " ".join(f"{atom}:{100 * weight:.{_FIGURES}g}" for atom, weight in parts)
