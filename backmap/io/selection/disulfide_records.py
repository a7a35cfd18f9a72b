"""Disulfide bonds: pairs of residues named by a file, and bonds found in frames."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from backmap.chemistry import RESIDUE_INDEX, Topology
from backmap.chemistry.near_pairs import near_pairs
from backmap.chemistry.topology import (
    MAX_DISULFIDE_CA_DISTANCE_NM,
    MAX_DISULFIDE_DISTANCE_NM,
    MIN_DISULFIDE_DISTANCE_NM,
)
from backmap.errors import InputError, InputWarning

from ..atom_list import AtomList
from .links import NamedBond, ResiduePlace

_SULFURS = {("CYS", "SG"), ("CYX", "SG"), ("DCY", "SG")}
_FARTHER = 1.001
"""Keeps rounding from excluding a pair at the end of the range."""


def require_named(
    bonds: Sequence[NamedBond], topology: Topology, c_alpha: np.ndarray, file: str, reach_nm: float = 0.0
) -> None:
    """Refuse links that are not possible, given positions as :func:`find_named` takes them."""
    rows = _cysteines(topology)
    taken: set[int] = set()
    for bond in bonds:
        places = [rows.get(place, []) for place in bond]
        if reason := _reason_against(places, taken, c_alpha, reach_nm):
            raise InputError(f"{file}: no disulfide can link {bond[0]} and {bond[1]}: {reason}")
        taken.update((places[0][0], places[1][0]))


def find_named(
    bonds: Iterable[NamedBond],
    topology: Topology,
    c_alpha: np.ndarray,
    file: str,
    reach_nm: float = 0.0,
) -> np.ndarray:
    """Find the residues of named bonds; warn about bonds that are impossible and leave them out.

    Parameters
    ----------
    bonds : iterable of pairs of ResiduePlace
        From the file.
    topology : Topology
        Residues of the protein.
    c_alpha : ndarray, (frames, residues, 3)
        C-alphas, or main beads, of the first frames in nm.
    file : str
        Name of the file, for messages.
    reach_nm : float
        How much farther apart than C-alphas main beads may be, in nm.

    Returns
    -------
    ndarray, (bonds, 2) int64
        Residues, the lower first; each belongs to at most one bond.
    """
    rows = _cysteines(topology)
    found: list[tuple[int, int]] = []
    taken: set[int] = set()
    for bond in bonds:
        places = [rows.get(place, []) for place in bond]
        reason = _reason_against(places, taken, c_alpha, reach_nm)
        if reason:
            warnings.warn(
                f"{file}: ignored the disulfide between {bond[0]} and {bond[1]}: {reason}",
                InputWarning,
                stacklevel=2,
            )
            continue
        first, second = sorted((places[0][0], places[1][0]))
        found.append((first, second))
        taken.update(found[-1])
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def _cysteines(topology: Topology) -> dict[ResiduePlace, list[int]]:
    """Return the rows of cysteines by their names in the file."""
    rows: dict[ResiduePlace, list[int]] = {}
    for row in np.flatnonzero(topology.residue_types == RESIDUE_INDEX["CYS"]).tolist():
        rows.setdefault(ResiduePlace.of(topology, row), []).append(row)
    return rows


def _reason_against(
    places: Sequence[list[int]], taken: set[int], c_alpha: np.ndarray, reach_nm: float
) -> str | None:
    """Return why two residues, each given by the rows with its name, cannot be bonded; None if they can."""
    if not all(places):
        return "there is no such cysteine"
    if any(len(rows) > 1 for rows in places):
        return "several cysteines have that name; give the chains different names"
    (first,), (second,) = places
    if first == second or taken & {first, second}:
        return "a cysteine has only one such bond"
    distance = np.median(np.linalg.norm(c_alpha[:, first] - c_alpha[:, second], axis=-1))
    longest = MAX_DISULFIDE_CA_DISTANCE_NM + reach_nm
    if distance > longest:
        return f"its C-alphas are {distance:.2f} nm apart, but a disulfide spans at most {longest} nm"
    return None


def bonded_sulfurs(atoms: AtomList, coordinates: np.ndarray) -> list[tuple[int, int]]:
    """Find cysteine sulfurs that are bonded in every one of the given frames.

    Parameters
    ----------
    atoms : AtomList
        Atoms of a frame.
    coordinates : ndarray, (frames, atoms, 3)
        Their positions in nm, in at least one frame.

    Returns
    -------
    list of (int, int)
        Indices of atoms in the list, in ascending order; each sulfur is bonded at most once.
    """
    sulfurs = np.array([atom for atom, name in enumerate(_names(atoms)) if name in _SULFURS], dtype=int)
    positions = np.asarray(coordinates[:, sulfurs], dtype=np.float64)
    first, second = _near_pairs(positions[0]).T
    apart = positions[:, first] - positions[:, second]
    free, pairs = set(range(len(sulfurs))), []
    for index in np.argsort(np.linalg.norm(apart[0], axis=-1), kind="stable"):
        ends = {int(first[index]), int(second[index])}
        if free >= ends and _in_range(apart[:, index]).all():
            free -= ends
            pairs.append((int(sulfurs[first[index]]), int(sulfurs[second[index]])))
    return sorted(pairs)


def with_disulfides(atoms: AtomList, coordinates: np.ndarray) -> AtomList:
    """Add the disulfide bonds that exist in every one of the frames (frames, atoms, 3) in nm."""
    names = list(_names(atoms))
    joined = {atom for bond in atoms.bonds for atom in bond if all(names[end][1] == "SG" for end in bond)}
    found = (bond for bond in bonded_sulfurs(atoms, coordinates) if joined.isdisjoint(bond))
    return replace(atoms, bonds=(*atoms.bonds, *found))


def disulfides_of_frame(atoms: AtomList, coordinates: np.ndarray) -> list[tuple[int, int, float]]:
    """Return the residues joined by disulfides in a frame (atoms, 3) in nm, with bond lengths in nm."""
    owner = atoms.owners
    return [
        (
            int(owner[first]),
            int(owner[second]),
            float(np.linalg.norm(coordinates[first] - coordinates[second])),
        )
        for first, second in bonded_sulfurs(atoms, coordinates[None])
    ]


def _near_pairs(positions: np.ndarray) -> np.ndarray:
    """Find pairs (pairs, 2) of sulfurs (sulfurs, 3) within bonding range, in ascending order."""
    known = np.flatnonzero(np.isfinite(positions).all(axis=1))
    one, other, _ = near_pairs(positions[known], positions[known], _FARTHER * MAX_DISULFIDE_DISTANCE_NM)
    pairs = known[np.stack([one, other], axis=1)[one < other]]
    return pairs[_in_range(positions[pairs[:, 0]] - positions[pairs[:, 1]])]


def _in_range(apart: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(apart, axis=-1)
    return (distance >= MIN_DISULFIDE_DISTANCE_NM) & (distance <= MAX_DISULFIDE_DISTANCE_NM)


def _names(atoms: AtomList) -> Iterator[tuple[str, str]]:
    """Yield the residue name and atom name of each atom."""
    return ((residue.name, name) for residue in atoms.residues for name in residue.atom_names)
