"""Free-energy surfaces over two coordinates, reweighted by a Markov model, and their distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backmap.chemistry.constants import BOLTZMANN

from .dihedrals import dihedral_angles, jensen_shannon_distance
from .distributions import SIDES

BINS = 60


@dataclass(frozen=True)
class Surfaces:
    """Free-energy surfaces of both sides.

    Attributes
    ----------
    edges : tuple of ndarray, (61,)
        Edges of the bins of both coordinates.
    free_energy : dict of str to ndarray, (60, 60)
        kJ/mol above the minimum, by side; infinite where there are no frames.
    divergence, floor : float
        Jensen-Shannon distance (base 2) between the reweighted histograms of both sides, and between those of
        the two halves of the reference.
    plain_divergence, plain_floor : float
        The same without weights.
    """

    edges: tuple[np.ndarray, np.ndarray]
    free_energy: dict[str, np.ndarray]
    divergence: float
    floor: float
    plain_divergence: float
    plain_floor: float


def compare_surfaces(
    coordinates: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    edges: tuple[np.ndarray, np.ndarray],
    temperature: float,
) -> Surfaces:
    """Compare free-energy surfaces.

    Parameters
    ----------
    coordinates : dict of str to ndarray, (frames, 2)
        Coordinates by side, all trajectories concatenated.
    weights : dict of str to ndarray, (frames,)
        Weight of each frame, by side; see :func:`frame_weights`.
    edges : tuple of ndarray, (bins + 1,)
        Edges of the bins; values outside are counted in the outermost bins.
    temperature : float
        K.

    Returns
    -------
    Surfaces
    """
    halves = [_halves(coordinates["reference"], chosen, edges) for chosen in (weights["reference"], None)]
    density = {side: _density(coordinates[side], weights[side], edges) for side in SIDES}
    plain = [_density(coordinates[side], None, edges) for side in SIDES]
    return Surfaces(
        edges=edges,
        free_energy={side: free_energy(density[side], temperature) for side in SIDES},
        divergence=_distance(*density.values()),
        floor=_distance(*halves[0]),
        plain_divergence=_distance(*plain),
        plain_floor=_distance(*halves[1]),
    )


def free_energy(density: np.ndarray, temperature: float) -> np.ndarray:
    """Convert a density to free energies, F = -R T ln(p / max p).

    Returns
    -------
    ndarray, like ``density``
        kJ/mol, infinite where the density is 0.
    """
    with np.errstate(divide="ignore"):
        return -BOLTZMANN * temperature * np.log(density / density.max()) + 0.0


def frame_weights(assignments: Sequence[np.ndarray], stationary: np.ndarray) -> np.ndarray:
    """Weight frames so that each state has its stationary probability.

    Parameters
    ----------
    assignments : sequence of ndarray, (frames,) int
        State of each frame of each trajectory.
    stationary : ndarray, (states,)
        Stationary probabilities, 0 for inactive states.

    Returns
    -------
    ndarray, (frames,)
        Weights of all trajectories, concatenated; 0 in inactive states.
    """
    state = np.concatenate(assignments)
    visits = np.bincount(state, minlength=len(stationary))
    return stationary[state] / visits[state]


def backbone_torsions(positions: np.ndarray, torsions: np.ndarray) -> np.ndarray:
    """Measure torsions of any molecule.

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3)
    torsions : ndarray, (torsions, 4) int64

    Returns
    -------
    ndarray, (frames, torsions)
        Degrees in [-180, 180].
    """
    return dihedral_angles(positions[:, None], torsions)


def periodic_features(angles: np.ndarray) -> np.ndarray:
    """Return cosines and sines of angles in degrees, (frames, 2 angles), so that distances are continuous."""
    radians = np.radians(angles)
    return np.concatenate([np.cos(radians), np.sin(radians)], axis=1)


def torsion_edges() -> tuple[np.ndarray, np.ndarray]:
    """Return the bins of a (phi, psi) surface: 60 bins of 6 degrees per angle."""
    edges = np.linspace(-180.0, 180.0, BINS + 1)
    return edges, edges


def spanning_edges(coordinates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bins over the range of the reference's coordinates, (frames, 2), 5 % wider on each side."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    margin = 0.05 * (high - low)
    first, second = np.linspace(low - margin, high + margin, BINS + 1).T
    return first, second


def _density(
    coordinates: np.ndarray, weights: np.ndarray | None, edges: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    first, second = (
        np.clip(column, limits[0], limits[-1]) for column, limits in zip(coordinates.T, edges, strict=True)
    )
    counts = np.histogram2d(first, second, bins=edges, weights=weights)[0]
    return counts / counts.sum()


def _halves(
    coordinates: np.ndarray, weights: np.ndarray | None, edges: tuple[np.ndarray, np.ndarray]
) -> list[np.ndarray]:
    middle = len(coordinates) // 2
    parts = [slice(None, middle), slice(middle, None)]
    return [_density(coordinates[part], None if weights is None else weights[part], edges) for part in parts]


def _distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(jensen_shannon_distance(first.reshape(-1), second.reshape(-1)))
