"""Coarse-grained representations: which beads a residue has, and of which atoms each is the mean."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from backmap.chemistry.backward_map import parse_backward_map
from backmap.chemistry.constants import MASSES
from backmap.chemistry.mapping_table import check_entries, read_mapping_file, unreadable
from backmap.chemistry.residues import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_NAMES, SLOT_CA, SLOT_CB, element
from backmap.errors import InputError
from backmap.limits import shown

_FOLDER = Path(__file__).with_name("bead_mappings")
_BEAD_NAME = re.compile("[!-~]{1,16}")
_MAP_SUFFIX = ".map"
_GROUPS = {"backbone": slice(0, 4), "side-chain": slice(4, None), "all": slice(0, None)}
"""Words that stand for several atoms, as slices of the atoms of a residue."""
_EVERY_ATOM = frozenset(atom for atoms in HEAVY_ATOMS.values() for atom in atoms)

MOST_BEADS_PER_RESIDUE = 15

LEAST_BEAD_NOISE_NM = 0.004
"""Noise that exact means of atoms are thought to have: crystals have no more ideal bonds and angles."""

_DECIMALS_COMPARED = 6
"""Of weights; the order of atoms in a file changes their last digits."""

_BACKBONE_REACH_NM, _RESIDUE_REACH_NM, _SIDE_CHAIN_REACH_NM = 0.1, 0.45, 0.9
"""About twice the largest distance from the C-alpha to beads of backbone, residue or side chain."""


def is_c_alpha(weights: np.ndarray) -> np.ndarray:
    """Return which beads, given the weights (beads, 15) of their atoms, are C-alphas."""
    return weights[:, SLOT_CA] == 1.0


@dataclass(frozen=True)
class Bead:
    """A bead at the weighted mean of some atoms of its residue.

    Parameters
    ----------
    name : str
        Name of the bead in files.
    atoms : tuple of str
        IUPAC names of heavy atoms.
    weights : tuple of float
        Weight of each atom; they sum to one.
    """

    name: str
    atoms: tuple[str, ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class BeadMapping:
    """A coarse-grained representation of the twenty amino acids.

    Parameters
    ----------
    name : str
        Name of the mapping.
    description : str
        One line that says which models use it.
    beads : mapping of str to tuple of Bead
        Beads of each residue by its three-letter name, in the order in which they are written. The main bead
        leads the chain from residue to residue: the C-alpha, or else the first one.
    ignored : frozenset of str
        Names of virtual sites that files of such models also contain.
    also_called : tuple of str
        Other names of the mapping.

    Raises
    ------
    ValueError
        If the name of a bead is unusable, or not unique in its residue, or a residue has too many beads.
    """

    name: str
    description: str
    beads: Mapping[str, tuple[Bead, ...]]
    ignored: frozenset[str] = frozenset()
    also_called: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for residue, beads in self.beads.items():
            names = [bead.name.upper() for bead in beads]
            odd = next((name for name in names if not _BEAD_NAME.fullmatch(name)), None)
            if odd is not None:
                raise ValueError(
                    f"{residue}: bead {shown(odd)}; give 1 to 16 ASCII characters without spaces"
                )
            doubled = next((name for name in names if names.count(name) > 1), None)
            if doubled is not None:
                raise ValueError(f"{residue} has the bead {doubled} twice; name each bead once")
            if len(beads) > MOST_BEADS_PER_RESIDUE:
                raise ValueError(
                    f"{residue} has {len(beads)} beads; give at most {MOST_BEADS_PER_RESIDUE} per residue"
                )

    def require(self, residues: Iterable[str]) -> None:
        """Refuse residues that the mapping does not describe."""
        unknown = sorted({residue for residue in residues if not self.beads.get(residue)})
        if not unknown:
            return
        remedy = "use another mapping, or write a file that also describes them (docs/beads.md)"
        if self.name not in shipped_mappings():
            remedy = "add them to its file, or use another mapping"
        raise InputError(f"the bead mapping {self.name} has no beads for {', '.join(unknown)}; {remedy}")

    @property
    def most_beads(self) -> int:
        """Largest number of beads of a residue."""
        return max(map(len, self.beads.values()))

    def layout(self, residue_types: np.ndarray, c_alphas: np.ndarray | None = None) -> BeadLayout:
        """List the beads of the residues of a protein.

        Parameters
        ----------
        residue_types : ndarray, (residues,) int64
            Index into ``RESIDUE_NAMES``.
        c_alphas : ndarray, (residues,) bool, optional
            Residues whose main bead is the C-alpha, whatever the mapping says: models that hold folded
            domains by residue centres have C-alphas in disordered chains.
        """
        self.require(RESIDUE_NAMES[kind] for kind in np.unique(residue_types).tolist())
        tables = [self._weights[kind] for kind in residue_types.tolist()]
        names = [bead.name for kind in residue_types.tolist() for bead in self.beads[RESIDUE_NAMES[kind]]]
        number = np.array([len(table) for table in tables], dtype=np.int64)
        main = np.cumsum(number) - number + [int(np.argmax(is_c_alpha(table))) for table in tables]
        weights = np.concatenate(tables)
        if c_alphas is not None:
            weights[main[c_alphas]] = np.arange(ATOM_SLOTS) == SLOT_CA
        return BeadLayout(tuple(names), np.repeat(np.arange(len(tables)), number), weights, main)

    @cached_property
    def main_is_c_alpha(self) -> bool:
        """Whether the main bead of every residue is its C-alpha."""
        return all(is_c_alpha(table).any() for table in self._weights if len(table))

    @property
    def only_c_alphas(self) -> bool:
        """Whether C-alphas are the only beads."""
        return self.main_is_c_alpha and self.most_beads == 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the atoms and weights of all beads, whatever the names of mapping and beads are.

        Beads follow the main bead in their order, as networks see them.
        """
        content = {}
        for residue, table in zip(RESIDUE_NAMES, self._weights, strict=True):
            if len(table):
                main = int(np.argmax(is_c_alpha(table)))
                rows = [table[main], *np.delete(table, main, axis=0)]
                content[residue] = [[f"{weight:.{_DECIMALS_COMPARED}f}" for weight in row] for row in rows]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @cached_property
    def reach_nm(self) -> float:
        """How much farther apart than C-alphas the main beads of neighbours may be, in nm."""
        if self.main_is_c_alpha:
            return 0.0
        of_backbone = [table[0, :SLOT_CB].sum() for table in self._weights if len(table)]
        if min(of_backbone) > 0.99:
            return _BACKBONE_REACH_NM
        return _RESIDUE_REACH_NM if min(of_backbone) > 0.1 else _SIDE_CHAIN_REACH_NM

    @cached_property
    def _weights(self) -> list[np.ndarray]:
        """Weights (beads, 15) of the atoms of each residue type."""
        tables = []
        for residue in RESIDUE_NAMES:
            beads = self.beads.get(residue, ())
            table = np.zeros((len(beads), ATOM_SLOTS))
            for row, bead in zip(table, beads, strict=True):
                row[[HEAVY_ATOMS[residue].index(atom) for atom in bead.atoms]] = bead.weights
            tables.append(table)
        return tables


@dataclass(frozen=True, eq=False)
class BeadLayout:
    """The beads of a protein, residue by residue.

    Parameters
    ----------
    names : tuple of str
        Name of each bead.
    residues : ndarray, (beads,) int64
        Residue of each bead, ascending.
    weights : ndarray, (beads, 15) float64
        Weight of each atom of its residue.
    main : ndarray, (residues,) int64
        The main bead of each residue.
    """

    names: tuple[str, ...]
    residues: np.ndarray
    weights: np.ndarray
    main: np.ndarray

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.names)

    def image(self, atoms: np.ndarray) -> np.ndarray:
        """Return the beads (..., beads, 3) of atoms (..., residues, 15, 3), in the unit of the atoms."""
        used = np.where(self.weights[:, :, None] > 0, atoms[..., self.residues, :, :], 0.0)
        return np.einsum("bs,...bsx->...bx", self.weights, used)


@functools.cache
def shipped_mappings() -> Mapping[str, BeadMapping]:
    """Return the mappings shipped with backmap, by name."""
    return {path.stem: read_mapping(path) for path in sorted(_FOLDER.glob("*.toml"))}


def load_mapping(name: str | Path) -> BeadMapping:
    """Return a mapping named by the user: a shipped one, or the file of one.

    Raises
    ------
    InputError
        If there is no such mapping, or the file is not one.
    """
    known = _shipped(name)
    if known is not None:
        return known
    path = Path(name)
    with suppress(OSError):  # the name may be too long for a file
        if path.is_file():
            return read_mapping(path)
    names = [each for known in shipped_mappings().values() for each in (known.name, *known.also_called)]
    near = get_close_matches(str(name).lower(), names, n=1)
    hint = f"did you mean {near[0]}? See `backmap beads`" if near else "see `backmap beads`"
    raise InputError(
        f"beads {name}: neither a bead mapping ({', '.join(shipped_mappings())}) nor a file; {hint}"
    )


def file_of_mapping(name: str | Path) -> Path | None:
    """Return the file of a mapping named by the user, or None for a shipped one."""
    return Path(name) if _shipped(name) is None else None


def _shipped(name: str | Path) -> BeadMapping | None:
    """Return the shipped mapping with this name, or None if there is no such mapping."""
    known = shipped_mappings()
    named = (mapping for mapping in known.values() if str(name) in mapping.also_called)
    return known.get(str(name)) or next(named, None)


def read_mapping(path: Path) -> BeadMapping:
    """Read a mapping from a file: TOML, or the ``.map`` format of Backward and vermouth.

    A TOML file has a ``description``, usually ``weights = "mass"`` or ``"equal"``, and the beads of residues:
    a table ``[every]`` for all residues that have the atoms, and tables ``[residues.ALA]`` that add to it or
    replace entries. A bead is a string of atom names, or of the words ``backbone``, ``side-chain`` and
    ``all``; or a table of ``atoms`` and their ``weights``. An empty string removes a bead. ``ignored`` lists
    names of virtual sites, ``also_called`` other names of the mapping.

    Raises
    ------
    InputError
        If the file cannot be read, or is not a mapping; the message names the entry.
    """
    is_map = path.suffix.lower() == _MAP_SUFFIX
    try:
        text = read_mapping_file(path)
        table = {} if is_map else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise unreadable(path, error) from None
    try:
        return _parse_map(path.stem, text) if is_map else _parse_mapping(path.stem, table)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _parse_map(name: str, text: str) -> BeadMapping:
    found = parse_backward_map(text)
    beads = {
        residue: tuple(_centre_of_mass(bead, atoms) for bead, atoms in shares.items())
        for residue, shares in found.residues.items()
    }
    return BeadMapping(name, "Read from a .map file; centres of mass of heavy atoms", beads, found.ignored)


def _centre_of_mass(name: str, shares: Mapping[str, float]) -> Bead:
    """Return a bead at the centre of mass of shares of atoms."""
    masses = [share * MASSES[element(atom)] for atom, share in shares.items()]
    return Bead(name, tuple(shares), tuple(mass / sum(masses) for mass in masses))


def _parse_mapping(name: str, table: dict[str, Any]) -> BeadMapping:
    known = {"description": str, "weights": str, "every": dict, "residues": dict}
    known |= dict.fromkeys(("ignored", "also_called"), list)
    weights = check_entries(table, known)
    unknown = next((residue for residue in table.get("residues", {}) if residue not in HEAVY_ATOMS), None)
    if unknown is not None:
        raise ValueError(f"residues.{unknown} is not one of the twenty amino acids (ALA, ARG ...)")
    ignored, also_called = table.get("ignored", []), table.get("also_called", [])
    if not all(isinstance(entry, str) for entry in ignored):
        raise ValueError("ignored must list names of sites")
    if not all(isinstance(entry, str) for entry in also_called):
        raise ValueError("also_called must list names of the mapping")
    beads = {residue: _parse_residue(residue, table, weights) for residue in RESIDUE_NAMES}
    if not any(beads.values()):
        raise ValueError("describes no beads; give them under [every] or [residues.ALA]")
    names = frozenset(entry.upper() for entry in ignored)
    return BeadMapping(name, table.get("description", ""), beads, names, tuple(also_called))


def _parse_residue(residue: str, table: dict[str, Any], weights: str) -> tuple[Bead, ...]:
    """Return the beads of a residue."""
    every = table.get("every", {})
    own = table.get("residues", {}).get(residue, {})
    if not isinstance(own, dict):
        raise ValueError(f"residues.{residue} is {shown(own)}; it must be a table of beads")
    found = []
    for name in dict.fromkeys([*every, *own]):
        where = f"residues.{residue}.{name}" if name in own else f"every.{name}"
        bead = _parse_bead(name, own.get(name, every.get(name)), residue, weights, where, name in own)
        found += [] if bead is None else [bead]
    return tuple(found)


def _parse_bead(name: str, value: Any, residue: str, weights: str, where: str, own: bool) -> Bead | None:
    """Return a bead, or None if the residue has none of its atoms and may lack it."""
    given = value if isinstance(value, dict) else {"atoms": value}
    if set(given) - {"atoms", "weights"} or not isinstance(given.get("atoms"), str):
        raise ValueError(f"{where} is {shown(value)}; give names of atoms, or a table of atoms and weights")
    words = given["atoms"].split()
    unknown = next((word for word in words if word not in _GROUPS and word not in _EVERY_ATOM), None)
    if unknown is not None:
        raise ValueError(
            f"{where}: {shown(unknown)} is no heavy atom of any amino acid; give IUPAC names (CA, CB ...) or "
            f"the words {', '.join(_GROUPS)}"
        )
    atoms = [atom for word in words for atom in _atoms_of(word, residue)]
    present = [atom for atom in atoms if atom in HEAVY_ATOMS[residue]]
    if not present and (not own or not words):
        return None
    if len(present) < len(atoms):
        missing = next(atom for atom in atoms if atom not in present)
        raise ValueError(
            f"{where}: {residue} has no atom {missing}; its atoms are {' '.join(HEAVY_ATOMS[residue])}"
        )
    if len(set(atoms)) < len(atoms):
        raise ValueError(f"{where} names an atom twice")
    return Bead(name, tuple(atoms), _parse_weights(given.get("weights", weights), atoms, where))


def _atoms_of(word: str, residue: str) -> tuple[str, ...]:
    return HEAVY_ATOMS[residue][_GROUPS[word]] if word in _GROUPS else (word,)


def _parse_weights(given: Any, atoms: list[str], where: str) -> tuple[float, ...]:
    """Return weights that sum to one."""
    if given == "mass":
        numbers = [MASSES[element(atom)] for atom in atoms]
    elif given == "equal":
        numbers = [1.0] * len(atoms)
    elif isinstance(given, list) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in given
    ):
        numbers = given
    else:
        raise ValueError(f"{where}: its weights are {shown(given)}; give mass, equal, or one number per atom")
    if len(numbers) != len(atoms):
        raise ValueError(
            f"{where} has {len(atoms)} atoms but {len(numbers)} weights; give one weight per atom"
        )
    total = sum(numbers)
    if not (all(0 <= number < 1e12 for number in numbers) and total > 0):
        raise ValueError(f"{where}: weights must be finite, not negative, and not all zero")
    return tuple(number / total for number in numbers)
