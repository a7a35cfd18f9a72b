"""Orientation of rotatable hydrogens: where they overlap least, or form a hydrogen bond."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backmap.chemistry.hydrogen_sites import unit

CONTACT_DISTANCES_NM = {"C": 0.25, "N": 0.25, "S": 0.28, "O": 0.16, "P": 0.28, "Se": 0.28, "H": 0.20}
"""A hydrogen closer than this to an atom of the element overlaps; oxygen leaves room for hydrogen bonds."""
ACCEPTOR_DISTANCE_NM = 0.16
"""The same for a nitrogen that accepts hydrogen bonds."""
BOND_DISTANCE_NM, BOND_RANGE_NM = 0.19, 0.09
"""Length of the best hydrogen bond, and how much longer or shorter others may be."""
OVERLAP_WEIGHT = 10.0
"""Weight of the squared relative overlap; the best hydrogen bond has weight 1."""
_RANGE_NM = max(BOND_DISTANCE_NM + BOND_RANGE_NM, *CONTACT_DISTANCES_NM.values())
_LONGEST_BOND_NM = 0.14
_PREFERENCE = 1e-6
"""Penalty of each later choice, so that rounding does not break ties."""


@dataclass(frozen=True)
class Surroundings:
    """Atoms that are already placed when hydrogens are rotated.

    Attributes
    ----------
    contact : ndarray, (atoms,)
        Distance in nm below which a hydrogen overlaps the atom.
    accepts : ndarray, (atoms,) bool
        Whether the atom accepts hydrogen bonds.
    """

    contact: np.ndarray
    accepts: np.ndarray


class TurningHydrogens:
    """Hydrogens with more than one possible position.

    Parameters
    ----------
    donors, neighbours : ndarray, (hydrogens,) int64
        The atom each hydrogen is bonded to, and that atom's neighbour: indices among the placed atoms.
    surroundings : Surroundings
        The placed atoms.
    """

    def __init__(self, donors: np.ndarray, neighbours: np.ndarray, surroundings: Surroundings) -> None:
        self.donors, self.neighbours, self.surroundings = donors, neighbours, surroundings

    def choose(self, candidates: np.ndarray, standing: np.ndarray) -> np.ndarray:
        """Choose positions, one hydrogen after the other, so that later ones avoid earlier ones.

        Parameters
        ----------
        candidates : ndarray, (frames, hydrogens, choices, 3)
            Possible positions in nm.
        standing : ndarray, (frames, atoms, 3)
            Positions of the placed atoms in nm.

        Returns
        -------
        ndarray, (frames, hydrogens, 3)
            The chosen positions in nm.
        """
        scores = self._scores(candidates, standing)
        rows = np.arange(len(candidates))
        chosen = np.empty_like(candidates[:, :, 0])
        for hydrogen in range(candidates.shape[1]):
            places = candidates[:, hydrogen]
            between = places[:, :, None] - chosen[:, None, :hydrogen]
            score = scores[:, hydrogen] + _overlap(_norm(between), CONTACT_DISTANCES_NM["H"]).sum(axis=-1)
            chosen[:, hydrogen] = places[rows, score.argmin(axis=-1)]
        return chosen

    def _scores(self, candidates: np.ndarray, standing: np.ndarray) -> np.ndarray:
        """Score overlaps minus hydrogen bonds with placed atoms, (frames, hydrogens, choices); low wins."""
        frames, hydrogens, choices, _ = candidates.shape
        frame, hydrogen, atom = self._pairs(standing)
        donor = standing[frame, self.donors[hydrogen]]
        places, other = candidates[frame, hydrogen], standing[frame, atom][:, None]
        to_other = other - places
        distance = _norm(to_other)
        score = _overlap(distance, self.surroundings.contact[atom][:, None])
        along = (unit(places - donor[:, None]) * unit(to_other)).sum(axis=-1)
        near = np.maximum(0.0, 1.0 - ((distance - BOND_DISTANCE_NM) / BOND_RANGE_NM) ** 2)
        score -= self.surroundings.accepts[atom][:, None] * near * np.maximum(0.0, along) ** 2
        row = frame * hydrogens + hydrogen
        total = [np.bincount(row, column, minlength=frames * hydrogens) for column in score.T]
        preference = _PREFERENCE * np.arange(choices)
        return np.stack(total, axis=-1).reshape(frames, hydrogens, choices) + preference

    def _pairs(self, standing: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find the frames, hydrogens and atoms of all pairs close enough for the orientation to matter."""
        from scipy.spatial import cKDTree

        reach = _RANGE_NM + _LONGEST_BOND_NM
        trees = (cKDTree(positions, compact_nodes=False, balanced_tree=False) for positions in standing)
        near = [
            atoms
            for tree in trees
            for atoms in tree.query_ball_point(tree.data[self.donors], reach, return_sorted=True)
        ]
        row = np.repeat(np.arange(len(near)), [len(atoms) for atoms in near])
        frame, hydrogen = np.divmod(row, len(self.donors))
        atom = np.concatenate(near).astype(np.int64)
        apart = (atom != self.donors[hydrogen]) & (atom != self.neighbours[hydrogen])
        return frame[apart], hydrogen[apart], atom[apart]


def _overlap(distance: np.ndarray, contact: np.ndarray | float) -> np.ndarray:
    return OVERLAP_WEIGHT * np.maximum(0.0, 1.0 - distance / contact) ** 2


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt((vectors * vectors).sum(axis=-1))
