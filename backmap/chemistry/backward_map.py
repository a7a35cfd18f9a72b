"""Mappings in the format of Backward and vermouth (``.map``): the bead of each atom of a residue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from backmap.chemistry.residues import HEAVY_ATOMS, standard_atom_name, standard_residue_name
from backmap.limits import shown

_NO_WEIGHT = "!"
"""Precedes a bead on whose position the atom has no influence."""

_HYDROGEN = ("H", "D")
_DIGITS = "0123456789"

Shares = dict[str, dict[str, float]]
"""Share of each heavy atom that belongs to a bead, by bead and atom."""


class BackwardMap(NamedTuple):
    """The amino acids of a file.

    Attributes
    ----------
    residues : dict of str to Shares
        By three-letter name; beads in the order of ``[ martini ]``, or else by name.
    ignored : frozenset of str
        Beads without heavy atoms, such as the charges of polarisable side chains.
    """

    residues: dict[str, Shares]
    ignored: frozenset[str]


class _Block:
    """The part of a file that describes one molecule."""

    def __init__(self, line: int) -> None:
        self.line = line
        self.molecule = ""
        self.listed: list[str] = []
        self.atoms: dict[str, list[str]] = {}


def parse_backward_map(text: str) -> BackwardMap:
    """Read the amino acids of a ``.map`` file, which may be several such files in a row.

    An atom that names several beads is divided among them in proportion to how often it names each. Hydrogens
    and OXT belong to no bead. Protonation states stand for their amino acid if it has no section of its own.

    Raises
    ------
    ValueError
        If the text is not such a file, or describes an amino acid in two ways; the message names the place.
    """
    own: dict[str, Shares] = {}
    variants: dict[str, Shares] = {}
    twice: dict[str, int] = {}
    without_atoms: set[str] = set()
    for block in _blocks(text):
        residue = standard_residue_name(block.molecule)
        if residue is None:
            continue
        shares = _shares_of(block, residue)
        without_atoms |= {name for name, atoms in shares.items() if not atoms}
        shares = {name: atoms for name, atoms in shares.items() if atoms}
        if not shares:
            raise ValueError(f"{block.molecule} (line {block.line}) has no bead with a heavy atom")
        is_own = residue == block.molecule.upper()
        if (own if is_own else variants).setdefault(residue, shares) != shares:
            twice.setdefault(residue if is_own else block.molecule, block.line)
    for name, line in twice.items():
        residue = standard_residue_name(name)
        if name == residue or residue not in own:
            raise ValueError(
                f"describes {residue} in two ways, the second as {name} in line {line}; keep only one of them"
            )
    if not own and not variants:
        raise ValueError("describes none of the twenty amino acids under [ molecule ]")
    residues = {name: own.get(name, variants.get(name, {})) for name in HEAVY_ATOMS}
    found = {name for shares in residues.values() for name in shares}
    return BackwardMap(residues, frozenset(without_atoms - found))


def _blocks(text: str) -> Iterator[_Block]:
    """Divide a file by its sections ``[ molecule ]``."""
    block, section = None, ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.partition(";")[0].strip()
        if not line:
            continue
        if line.startswith("["):
            if not line.endswith("]"):
                raise ValueError(f"line {number}: the name of a section lacks its closing bracket")
            section = line[1:-1].strip().lower()
            if section == "molecule":
                if block is not None:
                    yield block
                block = _Block(number)
        elif block is None:
            raise ValueError(f"line {number}: comes before the first [ molecule ]; is this a .map file?")
        elif section == "molecule":
            block.molecule = line.split()[0]
        elif section == "martini":
            block.listed += line.split()
        elif section == "atoms":
            _add_atom(block, line.split(), number)
    if block is not None:
        yield block


def _add_atom(block: _Block, words: list[str], number: int) -> None:
    """Take a line of ``[ atoms ]``: its number, its name and its beads."""
    if len(words) < 2 or not words[0].isdecimal():
        raise ValueError(
            f"line {number}: {shown(' '.join(words))} is no atom; give its number, name and beads"
        )
    if words[1] in block.atoms:
        raise ValueError(f"line {number}: atom {words[1]} occurs twice in {block.molecule}")
    block.atoms[words[1]] = words[2:]


def _shares_of(block: _Block, residue: str) -> Shares:
    """Return the shares of heavy atoms, by bead; beads without heavy atoms are empty."""
    shares: Shares = {name: {} for name in block.listed}
    for written, beads in block.atoms.items():
        weighing = Counter(name for name in beads if not name.startswith(_NO_WEIGHT))
        for name in beads:
            shares.setdefault(name.removeprefix(_NO_WEIGHT), {})
        atom = standard_atom_name(residue, written)
        if atom == "OXT" or atom.lstrip(_DIGITS).startswith(_HYDROGEN):
            continue
        if atom not in HEAVY_ATOMS[residue]:
            raise ValueError(
                f"{block.molecule} (line {block.line}): {residue} has no atom {written}; its atoms are "
                f"{' '.join(HEAVY_ATOMS[residue])}"
            )
        for name, count in weighing.items():
            shares[name][atom] = count / weighing.total()
    return shares if block.listed else dict(sorted(shares.items()))
