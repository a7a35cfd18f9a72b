"""Ideal positions of hydrogens around the heavy atom they are bonded to.

Each such atom, a site, has its own three axes, defined by its heavy neighbours, and each of its hydrogens has
a fixed position along them. If two or three heavy atoms are bonded to the site, the first axis points away
from all of them and the third along the normal of the first two: the hydrogens of CH, CH2 and planar NH and
CH follow the neighbours, however distorted the angles between them are. If only one is bonded, the axes are
those of internal coordinates (bond length, angle, torsion about the bond to the neighbour).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from backmap.chemistry.nucleotides import N_BACKBONE_SLOTS, NUCLEOTIDE_NAMES, nucleotide_atoms

PLANAR_ATOMS: dict[str, frozenset[str]] = {
    name: frozenset(atoms.split())
    for name, atoms in {
        "ARG": "NE CZ NH1 NH2",
        "ASN": "CG ND2",
        "ASP": "CG",
        "GLN": "CD NE2",
        "GLU": "CD",
        "HIS": "CG ND1 CD2 CE1 NE2",
        "PHE": "CG CD1 CD2 CE1 CE2 CZ",
        "TRP": "CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
        "TYR": "CG CD1 CD2 CE1 CE2 CZ",
    }.items()
} | {name: frozenset(nucleotide_atoms(name)[N_BACKBONE_SLOTS:]) - {"", "C7"} for name in NUCLEOTIDE_NAMES}
"""Atoms of side chains and bases whose bonds lie in a plane."""

_LENGTHS_NM = {"C": 0.109, "N": 0.101, "O": 0.096, "S": 0.1336}
_PLANAR_CARBON_LENGTH_NM = 0.108
_TETRAHEDRAL, _TRIGONAL = np.arccos(-1 / 3), np.radians(120.0)
_ANGLES = {"C": _TETRAHEDRAL, "N": _TETRAHEDRAL, "O": np.radians(109.5), "S": np.radians(96.0)}
"""Close to those of AMBER's force fields (Cornell et al., J. Am. Chem. Soc. 1995, 117, 5179)."""

MOST_CHOICES = 3
"""Largest number of positions that a rotatable hydrogen can choose from."""

_SHORTEST_NM = 1e-9


@dataclass(frozen=True)
class Site:
    """A heavy atom with hydrogens.

    Attributes
    ----------
    atom : int
        The heavy atom.
    neighbours : tuple of int
        Heavy atoms bonded to it, the one closest to the main chain first.
    behind : int
        A heavy atom bonded to the only neighbour, from which torsions are measured; -1 if there are several
        neighbours.
    hydrogens : tuple of int
        Its hydrogens.
    places : ndarray, (choices, hydrogens, 3)
        Positions along the site's axes in nm. A rotatable hydrogen has more than one choice.
    """

    atom: int
    neighbours: tuple[int, ...]
    behind: int
    hydrogens: tuple[int, ...]
    places: np.ndarray


def ideal_places(
    element: str, neighbours: int, hydrogens: int, *, planar: bool, next_planar: bool
) -> np.ndarray:
    """Return the positions of a site's hydrogens along its axes.

    Parameters
    ----------
    element : str
        Element of the heavy atom.
    neighbours, hydrogens : int
        Number of heavy atoms and of hydrogens bonded to it.
    planar, next_planar : bool
        Whether its own bonds, and those of its only neighbour, lie in a plane.

    Returns
    -------
    ndarray, (choices, hydrogens, 3)
        In nm. The order matches the names: in CH2, the first hydrogen comes clockwise after the next atom of
        the side chain, seen from the main chain; in a planar NH2, the first is cis to the main chain (Markley
        et al., Pure Appl. Chem. 1998, 70, 117).
    """
    length = _PLANAR_CARBON_LENGTH_NM if planar and element == "C" else _LENGTHS_NM[element]
    if neighbours > 1 and hydrogens == 1:
        return length * np.array([[[1.0, 0.0, 0.0]]])
    if neighbours > 1:
        half = _TETRAHEDRAL / 2
        return length * np.array([[[np.cos(half), 0.0, side * np.sin(half)] for side in (-1, 1)]])
    angle = _TRIGONAL if planar else _ANGLES[element]
    torsions = np.radians(_torsions(hydrogens, planar=planar, next_planar=next_planar))
    along = np.full(torsions.shape, -np.cos(angle))
    across = np.sin(angle) * np.stack([np.cos(torsions), np.sin(torsions)], axis=-1)
    return length * np.concatenate([along[..., None], across], axis=-1)


def _torsions(hydrogens: int, *, planar: bool, next_planar: bool) -> list[list[float]]:
    """Return the torsions in degrees about the bond to the only neighbour, (choices, hydrogens)."""
    if hydrogens > 1:
        return [[0.0, 180.0]] if planar else [[60.0, 180.0, -60.0][:hydrogens]]
    return [[180.0], [0.0]] if next_planar else [[180.0], [60.0], [-60.0]]


class SiteAxes:
    """The axes of many sites in many frames.

    Parameters
    ----------
    sites : list of Site
        The sites.
    """

    def __init__(self, sites: list[Site]) -> None:
        def numbers(values: Iterable[int]) -> np.ndarray:
            return np.array(list(values), dtype=np.int64)

        count = [len(site.neighbours) for site in sites]
        self.alone = numbers(index for index, neighbours in enumerate(count) if neighbours == 1)
        self.between = numbers(index for index, neighbours in enumerate(count) if neighbours > 1)
        self.with_third = numbers(index for index, neighbours in enumerate(count) if neighbours == 3)
        self.atom = numbers(site.atom for site in sites)
        self.first = numbers(site.neighbours[0] for site in sites)
        self.second = numbers((*site.neighbours, site.behind)[1] for site in sites)
        self.third = numbers(sites[index].neighbours[2] for index in self.with_third)

    def __call__(self, coordinates: np.ndarray) -> np.ndarray:
        """Return the axes (frames, sites, 3 axes, 3) of frames (frames, atoms, 3) in nm."""
        axes = np.empty((len(coordinates), len(self.atom), 3, 3))
        centre, first, second = (coordinates[:, index] for index in (self.atom, self.first, self.second))
        to_first = unit(first - centre)
        axes[:, self.alone, 0] = -to_first[:, self.alone]
        axes[:, self.alone, 2] = unit(np.cross((first - second)[:, self.alone], axes[:, self.alone, 0]))
        to_second = unit(second - centre)
        total = to_first + to_second
        total[:, self.with_third] += unit(coordinates[:, self.third] - centre[:, self.with_third])
        axes[:, self.between, 0] = -unit(total[:, self.between])
        axes[:, self.between, 2] = unit(np.cross(to_first, to_second)[:, self.between])
        axes[:, :, 1] = np.cross(axes[:, :, 2], axes[:, :, 0])
        return axes


def along_axes(places: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Turn positions (..., 3) along axes (..., 3 axes, 3) into vectors (..., 3); shapes broadcast."""
    # Written out so that each frame is summed in the same order, whatever else is in the batch.
    return (
        places[..., 0, None] * axes[..., 0, :]
        + places[..., 1, None] * axes[..., 1, :]
        + places[..., 2, None] * axes[..., 2, :]
    )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors (..., 3) to length 1; a zero vector stays zero."""
    squares = vectors * vectors
    lengths = np.sqrt(squares[..., 0] + squares[..., 1] + squares[..., 2])
    return vectors / np.maximum(lengths, _SHORTEST_NM)[..., None]
