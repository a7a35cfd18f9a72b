"""``backmap beads``: list the shipped bead mappings, or show the table of one."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Sequence

from backmap.chemistry.bead_mapping import Bead, BeadMapping, load_mapping, shipped_mappings

from .console import show

_GAP = "  "
_NARROWEST = 20
"""Columns for the last entry of a row, however narrow the terminal is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME|FILE", help="show the beads of this mapping, or of the file of one"
    )


def run(arguments: argparse.Namespace) -> int:
    """List the shipped mappings, or print the table of one."""
    if arguments.name is None:
        rows = [
            (name, _numbers(mapping), mapping.description) for name, mapping in shipped_mappings().items()
        ]
        show(_table(("mapping", "beads", "description"), rows))
        return 0
    mapping = load_mapping(arguments.name)
    rows = [
        (residue if bead is beads[0] else "", bead.name, _atoms(bead))
        for residue, beads in mapping.beads.items()
        for bead in beads
    ]
    head = f"{mapping.name}: {mapping.description}" if mapping.description else mapping.name
    notes = [head]
    if absent := [residue for residue, beads in mapping.beads.items() if not beads]:
        notes.append(f"Without beads: {' '.join(absent)}")
    if mapping.ignored:
        notes.append(f"Ignored in files: {' '.join(sorted(mapping.ignored))}")
    wrapped = (textwrap.fill(note, _width(), break_on_hyphens=False) for note in notes)
    show("\n".join(wrapped), _table(("residue", "bead", "atoms and weights"), rows))
    return 0


def _numbers(mapping: BeadMapping) -> str:
    """Give the range of the number of beads: ``1-5``."""
    numbers = sorted({len(beads) for beads in mapping.beads.values() if beads})
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"


def _atoms(bead: Bead) -> str:
    """Give the atoms of a bead, with their weights if there are several."""
    if len(bead.atoms) == 1:
        return bead.atoms[0]
    # A no-break space keeps a weight on the line of its atom.
    pairs = zip(bead.atoms, bead.weights, strict=True)
    return ", ".join(f"{atom}\N{NO-BREAK SPACE}{weight:.3f}" for atom, weight in pairs)


def _width() -> int:
    return max(2 * _NARROWEST, shutil.get_terminal_size().columns)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align columns; the last is wrapped to the width of the terminal."""
    words = [max(map(len, title.split())) for title in head[:-1]]
    widths = [max(word, *(len(row[column]) for row in rows)) for column, word in enumerate(words)]
    left = max(_NARROWEST, _width() - sum(widths) - len(_GAP) * len(widths))
    lines = []
    for row in (head, *rows):
        cells = [
            textwrap.wrap(cell, width, break_on_hyphens=False)
            for cell, width in zip(row, [*widths, left], strict=True)
        ]
        for line in range(max(map(len, cells))):
            parts = [
                (cell[line] if line < len(cell) else "").ljust(width)
                for cell, width in zip(cells, [*widths, left], strict=True)
            ]
            lines.append(_GAP.join(parts).rstrip())
    return "\n".join(lines).replace("\N{NO-BREAK SPACE}", " ")
