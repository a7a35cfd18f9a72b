"""Modified residues, D-amino acids and caps: how each is made of atoms of the twenty amino acids."""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backmap.chemistry.ideal_geometry import PLACEMENTS, ideal_geometry
from backmap.chemistry.residues import BONDS, CHI_ATOMS, CONTACT_RADII_NM, HEAVY_ATOMS, SLOT_CB, element
from backmap.chemistry.topology import Topology
from backmap.errors import InputError
from backmap.limits import shown

RESOURCE = Path(__file__).with_name("modified_residues.toml")

BUILT = "built"
"""Candidate that stands for the torsion of the parent's atoms."""
MOST_COMBINATIONS = 1000
"""Largest number of combinations of torsions of a residue."""

_BACKBONE = HEAVY_ATOMS["GLY"]
_LONGEST_BOND_NM = 0.3
_CAPS_AT = {"start": "+", "end": "-"}
_NAME = re.compile("[!-~]{1,16}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(_NAME.fullmatch(value))


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_name, value))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_tables(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(entry, dict) for entry in value)


def _are_pairs(value: object) -> bool:
    return isinstance(value, list) and all(_is_names(pair) and len(pair) == 2 for pair in value)


def _are_torsions(value: object) -> bool:
    return isinstance(value, list) and all(_is_number(torsion) or torsion == BUILT for torsion in value)


def _are_renamed(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_name, value.values()))


def _are_lists_of_names(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_names, value.values()))


_LARGEST = 1e6
_Kinds = Mapping[str, tuple[Callable[[object], bool], str]]
"""Of the value of each key: whether it is one, and what to give."""
_KINDS: _Kinds = {
    "title": (_is_text, "text"),
    "parent": (_is_text, "one of the twenty amino acids"),
    "mirrored": (lambda value: isinstance(value, bool), "true or false"),
    "cap": (_is_text, "start or end"),
    "removed": (_is_names, "a list of atom names"),
    "renamed": (_are_renamed, "a table of atom names"),
    "atoms": (_are_tables, "a list of tables"),
    "bonds": (_are_pairs, "a list of pairs of atom names"),
    "hydrogens": (_are_lists_of_names, "a table of lists of names"),
    "planar": (_is_names, "a list of atom names"),
}
_ATOM_KINDS: _Kinds = {
    "name": (_is_name, "a name of 1 to 16 ASCII characters without spaces"),
    "element": (_is_text, "the symbol of an element"),
    "instead": (_is_text, "the name of an atom"),
    "from": (_is_names, "three atom names"),
    "length": (_is_number, "a number of nm"),
    "angle": (_is_number, "a number of degrees"),
    "torsions": (_are_torsions, f'a list of degrees, or "{BUILT}"'),
}


@dataclass(frozen=True)
class AddedAtom:
    """An atom placed on ideal geometry.

    Parameters
    ----------
    name, element : str
        Its name and the symbol of its element.
    parents : tuple of str
        Three atoms a, b, c: the bond is c-atom, the angle b-c-atom, the torsion a-b-c-atom.
    length : float
        In nm.
    angle : float
        In radians.
    torsions : tuple of float or None
        Candidates in radians, the preferred one first; None stands for the torsion of the parent residue.
    instead : str
        Atom of the parent residue whose place it takes; empty if it takes none.
    """

    name: str
    element: str
    parents: tuple[str, str, str]
    length: float
    angle: float
    torsions: tuple[float | None, ...]
    instead: str = ""


@dataclass(frozen=True)
class Modification:
    """How a residue differs from one of the twenty amino acids, or how a cap continues a chain.

    Atoms of the residue that a cap is bonded to are marked: ``+C`` in a cap at the start of a chain, ``-C``
    at its end.

    Parameters
    ----------
    name : str
        Name of the residue.
    parent : str
        The amino acid that is built; empty for a cap.
    cap : str
        ``start`` or ``end`` for a cap, otherwise empty.
    mirrored : bool
        Whether the residue is a mirror image: a D-amino acid.
    removed : frozenset of str
        Atoms of the parent that the residue lacks.
    renamed : mapping of str to str
        Names of atoms by their names in the parent, where they differ.
    atoms : tuple of AddedAtom
        Further atoms, each after the atoms that it is placed from.
    bonds : tuple of pairs of str
        Bonds besides those of the parent and those of added atoms to their third parent atom.
    hydrogens : mapping of str to tuple of str
        Names of the hydrogens on an atom, where they differ from the parent's.
    planar : frozenset of str
        Atoms, besides those of the parent, whose bonds lie in a plane.
    """

    name: str
    parent: str = ""
    cap: str = ""
    mirrored: bool = False
    removed: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    atoms: tuple[AddedAtom, ...] = ()
    bonds: tuple[tuple[str, str], ...] = ()
    hydrogens: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    planar: frozenset[str] = frozenset()

    @functools.cached_property
    def new_names(self) -> dict[str, str]:
        """Name of each atom of the parent that the residue has, by its name in the parent."""
        replaced = {atom.instead: atom.name for atom in self.atoms if atom.instead}
        kept = (name for name in HEAVY_ATOMS.get(self.parent, ()) if name not in self.removed)
        return {name: replaced.get(name) or self.renamed.get(name, name) for name in kept}

    @functools.cached_property
    def old_names(self) -> dict[str, str]:
        """Name in the parent of each atom that has one, by its name in the residue."""
        return {new: old for old, new in self.new_names.items()}


Modifications = Mapping[str, Modification]
"""Modified residues and caps by name."""


@functools.cache
def known_modifications() -> Modifications:
    """Read the table of this package."""
    return _parse(RESOURCE.read_text(encoding="utf-8"), RESOURCE)


def read_modifications(path: str | Path | None) -> Modifications:
    """Return the known modified residues, and those of a file in the same form, which come first.

    Raises
    ------
    InputError
        If the file cannot be read, or an entry is invalid.
    """
    if path is None:
        return known_modifications()
    try:
        if Path(path).exists() and not Path(path).is_file():
            raise InputError(f"{path}: is not a file; give a TOML file of residues")
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a TOML file of residues") from None
    return {**known_modifications(), **_parse(text, Path(path))}


def _parse(text: str, path: Path) -> Modifications:
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is not valid TOML ({error})") from None
    if not table:
        raise InputError(f"{path}: describes no residue; see the documentation of --residues")
    parsed: dict[str, Modification] = {}
    for name, entry in table.items():
        try:
            _require(name.upper() not in parsed, "is described twice")
            parsed[name.upper()] = _modification(name.upper(), entry)
        except (KeyError, ValueError) as error:
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
            raise InputError(
                f"{path}: residue {name}: {reason}; see the documentation of --residues"
            ) from None
    return parsed


def _modification(name: str, entry: dict[str, Any]) -> Modification:
    _require(_is_name(name), "give a name of 1 to 16 ASCII characters without spaces")
    _require(isinstance(entry, dict), "is not a table")
    _require_kinds(entry, _KINDS)
    parent, cap = entry.get("parent", ""), entry.get("cap", "")
    _require(name not in HEAVY_ATOMS, "is one of the twenty amino acids")
    if cap:
        _require(cap in _CAPS_AT and not parent, f"cap is {cap!r}; give start or end, and no parent")
    else:
        _require(parent in HEAVY_ATOMS, f"parent is {parent!r}; give one of the twenty amino acids")
    own = set(HEAVY_ATOMS[parent][SLOT_CB:]) if parent else set()
    renamed, removed = dict(entry.get("renamed", {})), frozenset(entry.get("removed", ()))
    for atom in removed | set(renamed):
        _require(atom in own, f"{atom}: is not in the side chain of {parent}")
    made = Modification(
        name=name,
        parent=parent,
        cap=cap,
        mirrored=entry.get("mirrored", False),
        removed=removed,
        renamed=renamed,
        atoms=tuple(_added_atom(atom, own) for atom in entry.get("atoms", ())),
        bonds=tuple((first, second) for first, second in entry.get("bonds", ())),
        hydrogens={atom: tuple(names) for atom, names in entry.get("hydrogens", {}).items()},
        planar=frozenset(entry.get("planar", ())),
    )
    _check(made)
    return made


def _added_atom(entry: dict[str, Any], own: set[str]) -> AddedAtom:
    _require_kinds(entry, _ATOM_KINDS)
    name = entry["name"]
    instead = entry.get("instead", name if name in own else "")
    torsions = tuple(None if value == BUILT else math.radians(value) for value in entry["torsions"])
    _require(len(set(entry["from"])) == len(entry["from"]) == 3, f'{name}: "from" names three atoms')
    _require(instead in own or not instead, f"{name}: the parent's side chain has no atom {instead}")
    _require(bool(torsions), f"{name}: has no torsion")
    _require(None not in torsions or bool(instead), f"{name}: a torsion as built needs an atom of the parent")
    _require(0 < entry["length"] < _LONGEST_BOND_NM, f"{name}: its length is not one of a bond in nm")
    _require(0 < entry["angle"] < 180, f"{name}: its angle is not between 0 and 180 degrees")
    symbol = entry.get("element", element(name))
    _require(
        symbol in CONTACT_RADII_NM, f"{name}: its element is {symbol}; give {', '.join(CONTACT_RADII_NM)}"
    )
    return AddedAtom(
        name=name,
        element=symbol,
        parents=tuple(entry["from"]),
        length=entry["length"],
        angle=math.radians(entry["angle"]),
        torsions=torsions,
        instead=instead,
    )


def _check(made: Modification) -> None:
    """Require that every atom is named after it is placed, and that names are unique."""
    marked = _CAPS_AT.get(made.cap, "")
    added = {atom.name for atom in made.atoms}
    placed = {new for new in made.new_names.values() if new not in added}
    _require(len(set(made.new_names.values())) == len(made.new_names), "two atoms have the same name")
    _require(len(added) == len(made.atoms), "two atoms have the same name")
    for atom in made.atoms:
        for other in atom.parents:
            known = other in placed or (bool(marked) and other in {marked + name for name in _BACKBONE})
            _require(known, f"{atom.name}: is placed from {other}, which does not precede it")
        placed.add(atom.name)
    for other in {name for bond in made.bonds for name in bond} | set(made.hydrogens) | made.planar:
        _require(other in placed or (bool(marked) and other == f"{marked}N"), f"has no atom {other}")
    combinations = math.prod(len(atom.torsions) for atom in made.atoms)
    _require(
        combinations <= MOST_COMBINATIONS,
        f"has {combinations} combinations of torsions; give fewer candidates",
    )


def bonds_of(made: Modification) -> list[tuple[str, str]]:
    """List the bonds of a modified residue or cap by atom names: the parent's, then those of added atoms."""
    names = made.new_names
    bonds = [
        (names[first], names[second])
        for first, second in BONDS.get(made.parent, ())
        if first in names and second in names
    ]
    bonds += [(atom.parents[2], atom.name) for atom in made.atoms]
    bonds += made.bonds
    return list({frozenset(bond): bond for bond in reversed(bonds)}.values())[::-1]


def _require_kinds(entry: dict[str, Any], kinds: _Kinds) -> None:
    """Require that keys are known, and their values of the right kind."""
    for key, value in entry.items():
        _require(key in kinds, f"has an unknown key {shown(key)}; known are {', '.join(sorted(kinds))}")
        is_one, wanted = kinds[key]
        _require(is_one(value), f"{key} is {shown(value)}; give {wanted}")


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def mirrored_residues(topology: Topology) -> np.ndarray:
    """Return which residues are known D-amino acids, (residues,) bool."""
    known = known_modifications()
    return np.array([name in known and known[name].mirrored for name in topology.names], dtype=bool)


@functools.cache
def side_chain_atoms(residue: str, mirrored: bool) -> tuple[AddedAtom, ...]:
    """Return how the side chain of an amino acid is placed from only N, CA and C, with usual torsions.

    Parameters
    ----------
    residue : str
        One of the twenty amino acids.
    mirrored : bool
        Whether it is a D-amino acid.
    """
    if residue == "GLY":
        return ()
    hand, geometry = -1.0 if mirrored else 1.0, ideal_geometry()["residues"][residue]
    bonds = geometry["bonds"]
    to_n, to_beta, apart = bonds["N-CA"], bonds["CA-CB"], geometry["angle spans"]["N-CB"]
    angle = math.acos((to_n**2 + to_beta**2 - apart**2) / (2 * to_n * to_beta))
    beta = hand * math.radians(_TORSION_OF_BETA)
    atoms = [AddedAtom("CB", "C", ("C", "N", "CA"), to_beta, angle, (beta,))]
    first_of: dict[tuple[str, str, str], tuple[str, float]] = {}
    for placement, (name, length, angle, torsion) in zip(
        PLACEMENTS[residue], geometry["placements"], strict=True
    ):
        parents, torsions = placement.parents, (hand * torsion,)
        if parents in first_of:
            first, offset = first_of[parents]
            parents, torsions = (first, *parents[1:]), (hand * (torsion - offset),)
        elif placement.chi is not None:
            first_of[parents] = name, torsion
            torsions = tuple(hand * (torsion + chi) for chi in _usual_torsions(residue, placement.chi))
        atoms.append(AddedAtom(name, element(name), parents, length, angle, torsions))
    return tuple(atoms)


_TORSION_OF_BETA = -122.5
"""Torsion C-N-CA-CB of an L-amino acid in degrees."""
_STAGGERED = (-63.0, 180.0, 63.0)
_USUAL_TORSIONS: dict[tuple[str, int], tuple[float, ...]] = {
    ("PRO", 0): (-27.0,),
    ("PRO", 1): (37.0,),
    **{(name, 1): (90.0, -90.0, 60.0, -60.0, 0.0) for name in ("HIS", "TRP")},
    **{(name, 1): (90.0, 60.0, -60.0, 30.0) for name in ("PHE", "TYR")},
    **{(name, 1): (-20.0, 30.0, -60.0, 60.0, 180.0) for name in ("ASN", "ASP")},
    **{(name, 2): (0.0, 60.0, -60.0, 180.0) for name in ("GLN", "GLU")},
    ("ARG", 3): (180.0, 90.0, -90.0),
}
"""Torsions in degrees of L-amino acids; all others are staggered."""
_OFF_DEGREES = (0.0, 20.0, -20.0)
_MOST_OF_BOTH = 2
"""Side chains of more torsions are off the usual values only in the first."""


def _usual_torsions(residue: str, chi: int) -> tuple[float, ...]:
    """Return candidates in radians of a torsion of an L-amino acid, the usual values first."""
    usual = _USUAL_TORSIONS.get((residue, chi), _STAGGERED)
    varied = residue != "PRO" and (chi == 0 or len(CHI_ATOMS[residue]) <= _MOST_OF_BOTH)
    return tuple(math.radians(value + off) for off in (_OFF_DEGREES if varied else (0.0,)) for value in usual)
