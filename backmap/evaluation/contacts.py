"""Overlaps between all atoms, including hydrogens, as Probe finds them: the clash score of MolProbity.

Radii, hydrogen bonds and excluded pairs are those of :mod:`backmap.chemistry.probe_radii`. Probe rolls dots
over each atom, and a dot belongs to the atom that it lies deepest in; here one dot of each atom, in the
direction of the other, decides whether an atom between them hides the contact. Aromatic rings do not accept
hydrogen bonds.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import coo_array, eye_array
from scipy.spatial import cKDTree

from backmap.chemistry.near_pairs import near_pairs
from backmap.chemistry.probe_radii import (
    AROMATIC_CARBON_NM,
    CARBONYL_CARBON_NM,
    EXCLUDED_BONDS,
    EXCLUDED_BONDS_OF_HYDROGENS,
    HYDROGEN_BOND_NM,
    NEGATIVE_OXYGENS,
    OVERLAP_NM,
    RADII_NM,
    SALT_BRIDGE_NM,
    SMALL_HYDROGEN_NM,
)
from backmap.chemistry.residues import AROMATIC_ATOMS, CARBONYL_CARBONS


@dataclass(frozen=True, eq=False)
class AtomKinds:
    """The atoms between which contacts are counted, heavy atoms and hydrogens.

    Parameters
    ----------
    residue_names : tuple of str
        Standard name of each residue.
    residue_of : ndarray, (atoms,) int64
    names : tuple of str
        IUPAC name of each heavy atom; those of hydrogens do not matter.
    elements : tuple of str
    bonds : ndarray, (bonds, 2) int64
        All covalent bonds, including those to hydrogens.
    """

    residue_names: tuple[str, ...]
    residue_of: np.ndarray
    names: tuple[str, ...]
    elements: tuple[str, ...]
    bonds: np.ndarray

    @cached_property
    def is_hydrogen(self) -> np.ndarray:
        """(atoms,) bool."""
        return np.array([element == "H" for element in self.elements], dtype=bool)

    @cached_property
    def parents(self) -> np.ndarray:
        """The heavy atom that each hydrogen is bonded to, (atoms,) int64; heavy atoms are their own."""
        parents = np.arange(len(self.elements))
        for first, second in ((self.bonds[:, 0], self.bonds[:, 1]), (self.bonds[:, 1], self.bonds[:, 0])):
            bound = self.is_hydrogen[first]
            parents[first[bound]] = second[bound]
        return parents

    @cached_property
    def neighbours(self) -> np.ndarray:
        """Atoms bonded to each, (atoms, most bonds of an atom) int64, filled up with the atom itself."""
        ends = np.concatenate([self.bonds, self.bonds[:, ::-1]])
        ends = ends[np.argsort(ends[:, 0], kind="stable")]
        counts = np.bincount(ends[:, 0], minlength=len(self.elements))
        place = np.arange(len(ends)) - np.repeat(np.cumsum(counts) - counts, counts)
        neighbours = np.repeat(np.arange(len(self.elements))[:, None], counts.max(initial=0), axis=1)
        neighbours[ends[:, 0], place] = ends[:, 1]
        return neighbours

    @cached_property
    def radii(self) -> np.ndarray:
        """Van der Waals radii, (atoms,) in nm."""
        radii = np.array([RADII_NM[element] for element in self.elements])
        for atom in range(len(radii)):
            residue, name = self.residue_names[self.residue_of[atom]], self.names[atom]
            aromatic = self._is_aromatic(self.parents[atom])
            if self.is_hydrogen[atom]:
                polar = self.elements[self.parents[atom]] != "C"
                radii[atom] = SMALL_HYDROGEN_NM if polar or aromatic else radii[atom]
            elif name == "C" or CARBONYL_CARBONS.get(residue) == name:
                radii[atom] = CARBONYL_CARBON_NM
            elif aromatic and self.elements[atom] == "C":
                radii[atom] = AROMATIC_CARBON_NM
        return radii

    def _is_aromatic(self, atom: int) -> bool:
        return self.names[atom] in AROMATIC_ATOMS.get(self.residue_names[self.residue_of[atom]], ())

    @cached_property
    def donates(self) -> np.ndarray:
        """(atoms,) bool: hydrogens that form hydrogen bonds."""
        polar = np.array([element in ("N", "O", "S") for element in self.elements], dtype=bool)
        return self.is_hydrogen & polar[self.parents]

    @cached_property
    def accepts(self) -> np.ndarray:
        """(atoms,) bool: oxygens, sulfurs, and nitrogens of histidine without a hydrogen."""
        accepts = np.array([element in ("O", "S") for element in self.elements], dtype=bool)
        for atom, name in enumerate(self.names):
            imidazole = self.residue_names[self.residue_of[atom]] == "HIS" and name in ("ND1", "NE2")
            accepts[atom] |= imidazole and not self._n_hydrogens[atom]
        return accepts

    @cached_property
    def _n_hydrogens(self) -> np.ndarray:
        """Number of hydrogens on each atom."""
        return np.bincount(self.parents[self.is_hydrogen], minlength=len(self.elements))

    @cached_property
    def charges(self) -> np.ndarray:
        """Sign of the charge of groups that form salt bridges, (atoms,) int64, hydrogens included."""
        signs = np.zeros(len(self.elements), dtype=np.int64)
        ends = {self.residue_of[atom] for atom, name in enumerate(self.names) if name == "OXT"}
        imidazoles: dict[int, list[int]] = {}
        for atom, (name, count) in enumerate(zip(self.names, self._n_hydrogens, strict=True)):
            residue = self.residue_names[self.residue_of[atom]]
            positive = residue == "ARG" and name in ("NE", "NH1", "NH2")
            positive |= self.elements[atom] == "N" and count == 3
            negative = name in NEGATIVE_OXYGENS.get(residue, ()) and not count
            negative |= name in ("O", "OXT") and self.residue_of[atom] in ends
            signs[atom] = int(positive) - int(negative)
            if residue == "HIS" and name in ("ND1", "NE2") and count:
                imidazoles.setdefault(self.residue_of[atom], []).append(atom)
        for nitrogens in imidazoles.values():
            signs[nitrogens] = len(nitrogens) == 2
        return signs[self.parents]

    @cached_property
    def excluded(self) -> np.ndarray:
        """Pairs that cannot clash, ascending, as ``first * atoms + second`` with first < second, int64."""
        n = len(self.elements)
        ones = np.ones(len(self.bonds))
        bonded = coo_array((ones, (self.bonds[:, 0], self.bonds[:, 1])), shape=(n, n)).tocsr()
        step = bonded + bonded.T + eye_array(n, format="csr")
        reach, keys = step, []
        for distance in range(1, EXCLUDED_BONDS_OF_HYDROGENS + 1):
            reach = step if distance == 1 else (reach @ step).sign()
            first, second = reach.nonzero()
            counts = first < second
            if distance > EXCLUDED_BONDS:
                counts &= self.is_hydrogen[first] | self.is_hydrogen[second]
            keys.append(first[counts].astype(np.int64) * n + second[counts])
        return np.unique(np.concatenate(keys))


class ContactCounter:
    """Counts the contacts of each residue, frame by frame, in linear time.

    Parameters
    ----------
    kinds : AtomKinds
        All atoms. Those that are not known matter for the distances along bonds.
    counted : ndarray, (atoms,) bool, optional
        Atoms between which contacts are counted; all by default.
    """

    def __init__(self, kinds: AtomKinds, counted: np.ndarray | None = None) -> None:
        self.kinds = kinds
        self._counted = np.ones(len(kinds.elements), dtype=bool) if counted is None else counted
        heavy, hydrogens = (
            np.flatnonzero(self._counted & is_kind) for is_kind in (~kinds.is_hydrogen, kinds.is_hydrogen)
        )
        self._searches = [(heavy, heavy), (heavy, hydrogens), (hydrogens, hydrogens)]
        self._n_residues = len(kinds.residue_names)

    @property
    def n_atoms(self) -> np.ndarray:
        """Number of counted atoms of each residue, (residues,)."""
        return np.bincount(self.kinds.residue_of[self._counted], minlength=self._n_residues)

    def count(self, positions: np.ndarray, box: np.ndarray | None = None) -> np.ndarray:
        """Count contacts in frames.

        Parameters
        ----------
        positions : ndarray, (frames, atoms, 3)
            nm.
        box : ndarray, (frames, 3, 3), optional
            Vectors of periodic boxes in nm.

        Returns
        -------
        ndarray, (frames, residues) float64
            Half a contact for each atom of a pair that overlaps by 0.04 nm or more, so that the sum over all
            residues is the number of contacts.
        """
        counts = np.zeros((len(positions), self._n_residues))
        for frame, own in enumerate(positions):
            first, second = self.contacts(own, None if box is None else box[frame])
            atoms = np.concatenate([first, second])
            counts[frame] = np.bincount(self.kinds.residue_of[atoms], minlength=self._n_residues) / 2
        return counts

    def contacts(self, positions: np.ndarray, box: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Find the pairs of atoms that clash in a frame (atoms, 3), each once; two arrays (pairs,) int64."""
        found = [self._between(positions, *groups, box) for groups in self._searches]
        first, second = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return np.minimum(first, second), np.maximum(first, second)

    def _between(
        self, positions: np.ndarray, group: np.ndarray, other: np.ndarray, box: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Find clashes between two groups of atoms, or within one."""
        kinds = self.kinds
        nothing = np.empty(0, dtype=np.int64)
        if not len(group) or not len(other):
            return nothing, nothing
        radius = kinds.radii[group].max() + kinds.radii[other].max() - OVERLAP_NM
        first, second, apart = _near(positions, group, other, radius, box)
        overlap = kinds.radii[first] + kinds.radii[second] - np.linalg.norm(apart, axis=-1)
        touching = overlap >= OVERLAP_NM
        first, second, apart, overlap = first[touching], second[touching], apart[touching], overlap[touching]
        bonding = kinds.donates[first] & kinds.accepts[second] | kinds.accepts[first] & kinds.donates[second]
        product = kinds.charges[first] * kinds.charges[second]
        allowance = np.select(
            [bonding & (product < 0), bonding & (product == 0)], [SALT_BRIDGE_NM, HYDROGEN_BOND_NM]
        )
        clashing = np.flatnonzero(overlap - allowance >= OVERLAP_NM)
        first, second, apart = first[clashing], second[clashing], apart[clashing]
        key = np.minimum(first, second) * len(kinds.elements) + np.maximum(first, second)
        place = np.searchsorted(kinds.excluded, key)
        place = np.minimum(place, max(len(kinds.excluded) - 1, 0))
        allowed = kinds.excluded[place] != key if len(kinds.excluded) else np.ones(len(key), dtype=bool)
        first, second, apart = first[allowed], second[allowed], apart[allowed]
        seen = self._is_seen(positions, first, second, apart) | self._is_seen(
            positions, second, first, -apart
        )
        return first[seen], second[seen]

    def _is_seen(
        self, positions: np.ndarray, first: np.ndarray, second: np.ndarray, apart: np.ndarray
    ) -> np.ndarray:
        """Return whether atoms bonded to either leave the dot of the first atom towards the second to it."""
        radii, neighbours = self.kinds.radii, self.kinds.neighbours
        distance = np.maximum(np.linalg.norm(apart, axis=-1), 1e-9)
        dot = apart * (radii[first] / distance)[:, None]
        own, others = neighbours[first], neighbours[second]
        from_own = dot[:, None] - (positions[own] - positions[first][:, None])
        from_others = (dot - apart)[:, None] - (positions[others] - positions[second][:, None])
        inside = (np.linalg.norm(from_own, axis=-1) < radii[own]) & (own != first[:, None])
        gap = np.abs(distance - radii[first]) - radii[second]
        nearer = np.linalg.norm(from_others, axis=-1) - radii[others] < gap[:, None]
        nearer &= others != second[:, None]
        return ~(inside.any(axis=1) | nearer.any(axis=1))


def _near(
    positions: np.ndarray, group: np.ndarray, other: np.ndarray, radius: float, box: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find pairs of atoms of two groups within a radius, each once, and vectors between them in nm."""
    if box is not None:
        i, j, shift = near_pairs(positions[group], positions[other], radius, box)
        first, second = group[i], other[j]
        once = first < second if group is other else np.ones(len(first), dtype=bool)
        apart = positions[second] + shift - positions[first]
        return first[once], second[once], apart[once]
    tree = cKDTree(positions[group])
    if group is other:
        first, second = group[tree.query_pairs(radius, output_type="ndarray").T]
    else:
        pairs = tree.sparse_distance_matrix(cKDTree(positions[other]), radius, output_type="ndarray")
        first, second = group[pairs["i"]], other[pairs["j"]]
    return first, second, positions[second] - positions[first]
