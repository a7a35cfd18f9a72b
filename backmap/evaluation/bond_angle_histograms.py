"""Bond lengths and angles by chemical type, for any molecule whose bonds are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from .bonds import BOND_TOLERANCE
from .distributions import SIDES, Comparison, compare

BOND_BIN = 0.001
ANGLE_BIN = 1.0
"""Widths of the bins, nm and degrees."""

LONGEST_BOND = 0.3
"""Longer bonds are counted as having this length, nm."""


@dataclass(frozen=True)
class BondsAndAngles:
    """Bond lengths and angles of both sides.

    Attributes
    ----------
    bond_score : dict of str to float
        Percent of bonds over all frames within 10 % of the mean length of the bond in the reference, by side.
    whole_frames : dict of str to float
        Percent of frames in which all bonds are within that tolerance, by side.
    bonds, angles : dict of str to Comparison
        Distributions by type, in nm and degrees.
    """

    bond_score: dict[str, float]
    whole_frames: dict[str, float]
    bonds: dict[str, Comparison]
    angles: dict[str, Comparison]


def compare_bonds_and_angles(
    reference: np.ndarray, sample: np.ndarray, elements: Sequence[str], bonds: np.ndarray
) -> BondsAndAngles:
    """Compare bond lengths and angles.

    Parameters
    ----------
    reference, sample : ndarray, (frames, atoms, 3)
        nm.
    elements : sequence of str, (atoms,)
        Element symbols.
    bonds : ndarray, (bonds, 2) int64
        Pairs of bonded atoms.

    Returns
    -------
    BondsAndAngles
    """
    types = atom_types(elements, bonds)
    lengths = [bond_lengths(positions, bonds) for positions in (reference, sample)]
    usual = lengths[0].mean(axis=0, dtype=np.float64)
    good = [np.abs(length - usual) <= BOND_TOLERANCE * usual for length in lengths]
    angles = {
        name: compare(bond_angles(reference, atoms), bond_angles(sample, atoms), _angle_edges())
        for name, atoms in group_by_type(angles_of(bonds), types).items()
    }
    return BondsAndAngles(
        bond_score={side: 100.0 * float(flags.mean()) for side, flags in zip(SIDES, good, strict=True)},
        whole_frames={
            side: 100.0 * float(flags.all(axis=1).mean()) for side, flags in zip(SIDES, good, strict=True)
        },
        bonds={
            name: compare(bond_lengths(reference, atoms), bond_lengths(sample, atoms), _bond_edges())
            for name, atoms in group_by_type(bonds, types).items()
        },
        angles=angles,
    )


def atom_types(elements: Sequence[str], bonds: np.ndarray) -> list[str]:
    """Return the chemical type of each atom: its element and number of bonded atoms.

    C4 is a saturated carbon, C3 a carbon of a carbonyl group or an aromatic ring; hydrogen is H.

    Returns
    -------
    list of str, (atoms,)
    """
    neighbours = np.bincount(bonds.reshape(-1), minlength=len(elements))
    return [
        element if element == "H" else f"{element}{count}"
        for element, count in zip(elements, neighbours, strict=True)
    ]


def angles_of(bonds: np.ndarray) -> np.ndarray:
    """List the angles between bonds that share an atom.

    Returns
    -------
    ndarray, (angles, 3) int64
        Atom indices, with the shared atom in the middle.
    """
    partners: dict[int, list[int]] = defaultdict(list)
    for first, second in bonds.tolist():
        partners[first].append(second)
        partners[second].append(first)
    triples = [
        (first, middle, last)
        for middle in sorted(partners)
        for first, last in combinations(sorted(partners[middle]), 2)
    ]
    return np.array(triples, dtype=np.int64).reshape(-1, 3)


def group_by_type(groups: np.ndarray, types: Sequence[str]) -> dict[str, np.ndarray]:
    """Group bonds or angles by the types of their atoms, in either direction.

    Returns
    -------
    dict of str to ndarray, (groups, k)
        Keys such as ``C3-N3`` or ``C4-C3-O1``, in alphabetical order.
    """
    found: dict[str, list[list[int]]] = defaultdict(list)
    for group in groups.tolist():
        names = [types[atom] for atom in group]
        found["-".join(min(names, names[::-1]))].append(group)
    return {name: np.array(found[name], dtype=np.int64) for name in sorted(found)}


def bond_lengths(positions: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """Measure distances of atom pairs, (frames, pairs), in the unit of the positions."""
    return np.linalg.norm(positions[:, bonds[:, 0]] - positions[:, bonds[:, 1]], axis=-1)


def bond_angles(positions: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Measure angles at the middle atom, (frames, angles), in degrees."""
    first, middle, last = (positions[:, column] for column in angles.T)
    before, after = first - middle, last - middle
    sine = np.linalg.norm(np.cross(before, after), axis=-1)
    return np.degrees(np.arctan2(sine, (before * after).sum(axis=-1)))


def _bond_edges() -> np.ndarray:
    """Return bins centred on whole picometres, so that constrained bonds (such as 0.101 nm) fill only one."""
    return BOND_BIN * (np.arange(round(LONGEST_BOND / BOND_BIN) + 2) - 0.5)


def _angle_edges() -> np.ndarray:
    return np.arange(0.0, 180.0 + ANGLE_BIN, ANGLE_BIN)
