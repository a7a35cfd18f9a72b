"""How the beads of a molecule are connected: bonds, angles and torsions between beads, and their masses."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from backmap.chemistry.constants import MASSES
from backmap.chemistry.mapping import LinearMapping
from backmap.chemistry.molecule import Molecule


@dataclass(frozen=True)
class BeadGraph:
    """Beads and the bonds between them.

    Parameters
    ----------
    n_beads : int
        Number of beads.
    bonds : tuple of pairs of int
        Bonded beads, each pair in ascending order.
    masses : ndarray, (beads,) float64
        In daltons: every atom counts for the bead that is nearest along bonds.
    """

    n_beads: int
    bonds: tuple[tuple[int, int], ...]
    masses: np.ndarray

    @classmethod
    def of(cls, molecule: Molecule, mapping: LinearMapping) -> BeadGraph:
        """Connect the beads of a molecule.

        Every atom belongs to the bead that is fewest bonds away, of equally near ones to the first. Beads are
        bonded where atoms of theirs are.

        Raises
        ------
        ValueError
            If an element has no known mass, two beads share all their atoms, or an atom is bonded to no bead.
        """
        owner = _nearest_beads(molecule, mapping)
        if (owner < 0).any():
            atom = int(np.argmax(owner < 0))
            raise ValueError(f"{molecule.describe(atom)} is connected to no bead")
        masses = np.zeros(mapping.n_beads)
        for atom, bead in enumerate(owner.tolist()):
            symbol = molecule.elements[atom].upper()
            if symbol not in MASSES:
                raise ValueError(f"{molecule.describe(atom)}: the mass of element {symbol} is not known")
            masses[bead] += MASSES[symbol]
        if not masses.all():
            bead = int(np.argmin(masses))
            raise ValueError(
                f"bead {mapping.bead_names[bead]} has no atom that is not nearer to another bead"
            )
        bonds = {tuple(sorted((int(owner[a]), int(owner[b])))) for a, b in molecule.bonds}
        return cls(mapping.n_beads, tuple(sorted((a, b) for a, b in bonds if a != b)), masses)

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Beads bonded to each bead, in ascending order."""
        near: list[list[int]] = [[] for _ in range(self.n_beads)]
        for first, second in self.bonds:
            near[first].append(second)
            near[second].append(first)
        return tuple(tuple(sorted(beads)) for beads in near)

    @cached_property
    def angles(self) -> tuple[tuple[int, int, int], ...]:
        """Pairs of bonds that share the bead in the middle."""
        return tuple(
            (first, middle, last)
            for middle, near in enumerate(self.neighbours)
            for first, last in combinations(near, 2)
        )

    @cached_property
    def torsions(self) -> tuple[tuple[int, int, int, int], ...]:
        """Four different beads along three bonds."""
        return tuple(
            (first, second, third, fourth)
            for second, third in self.bonds
            for first in self.neighbours[second]
            for fourth in self.neighbours[third]
            if len({first, second, third, fourth}) == 4
        )

    @cached_property
    def centres(self) -> tuple[tuple[int, int, int, int], ...]:
        """A bead with three of its bonded beads, which the bead is out of the plane of: it may be chiral."""
        return tuple(
            (middle, *three) for middle, near in enumerate(self.neighbours) for three in combinations(near, 3)
        )

    def pairs_beyond(self, bonds: int) -> np.ndarray:
        """Return the pairs (pairs, 2) of beads that are more than ``bonds`` bonds apart, or not connected."""
        distance = np.stack([self._bonds_from(bead) for bead in range(self.n_beads)])
        first, second = np.triu_indices(self.n_beads, 1)
        far = (distance[first, second] > bonds) | (distance[first, second] < 0)
        return np.stack([first[far], second[far]], axis=1)

    def _bonds_from(self, bead: int) -> np.ndarray:
        return _bonds_away([[bead]], self.neighbours, self.n_beads)[0]


def molecule_of_beads(molecule: Molecule, mapping: LinearMapping, graph: BeadGraph) -> Molecule:
    """Return the beads as a molecule: of the element and residue of the atom with the greatest weight."""
    atoms = mapping.weights.argmax(axis=1).tolist()
    return Molecule(
        mapping.bead_names,
        tuple(molecule.elements[atom] for atom in atoms),
        tuple(molecule.residue_names[atom] for atom in atoms),
        tuple(molecule.residue_numbers[atom] for atom in atoms),
        graph.bonds,
    )


def _nearest_beads(molecule: Molecule, mapping: LinearMapping) -> np.ndarray:
    """Return the bead (atoms,) each atom belongs to, -1 if none."""
    members = [np.flatnonzero(weights).tolist() for weights in mapping.weights]
    return _bonds_away(members, molecule.bonded, molecule.n_atoms)[1]


def _bonds_away(
    sources: list[list[int]], neighbours: tuple[tuple[int, ...], ...], n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return how many bonds each node is away from the nearest source, and which source; -1 if none."""
    distance, nearest = np.full(n, -1), np.full(n, -1)
    waiting: deque[int] = deque()
    for source, nodes in enumerate(sources):
        for node in nodes:
            if distance[node] < 0:
                distance[node], nearest[node] = 0, source
                waiting.append(node)
    while waiting:
        here = waiting.popleft()
        for there in neighbours[here]:
            if distance[there] < 0:
                distance[there], nearest[there] = distance[here] + 1, nearest[here]
                waiting.append(there)
    return distance, nearest
