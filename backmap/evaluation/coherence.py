"""Whether atoms of a trajectory move from frame to frame as in the simulation that it is built from.

Displacements, turns of torsions, how long torsions remember, and the averages that nuclear magnetic resonance
sees: order parameters and couplings. Definitions: docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .distributions import SIDES
from .moving_parts import MovingParts, Torsions, moving_parts, some_frames, torsion_angles
from .superposition import superpose

if TYPE_CHECKING:
    import mdtraj

TURN_DEGREES = 60.0
MEMORY_TIMES_PS = (1.0, 10.0, 50.0)
REMEMBERING = ("chi1", "chi2")
SHORTEST_IN_LAGS = 10
"""A correlation is measured if a trajectory of each side is at least this many times longer."""

FEWEST_EVENTS = 10
FEWEST_PAIRS = 1000
"""A residue type is listed if both sides together have as many turns, or each has as many pairs of frames."""

FEWEST_COMPARED = 3

KARPLUS = (6.51, -1.76, 1.60)
"""Hz: coefficients of cos^2, cos and 1 of phi - 60 degrees (Vuister and Bax, JACS 115, 7772, 1993)."""

WITHOUT_COUPLING = ("GLY", "PRO")


@dataclass(frozen=True)
class Ratio:
    """A quantity of both sides.

    Attributes
    ----------
    reference, sample : float
    ratio : float
        Sample divided by reference; NaN if the reference is 0.
    """

    reference: float
    sample: float
    ratio: float


@dataclass(frozen=True)
class Turns:
    """Torsions of one kind that turn by more than 60 degrees from one frame to the next.

    Attributes
    ----------
    n_torsions : int
    percent : Ratio
        Percent of all torsions and pairs of frames.
    by_type : dict of str to Ratio
        The same by residue type.
    """

    n_torsions: int
    percent: Ratio
    by_type: dict[str, Ratio]


@dataclass(frozen=True)
class Memory:
    """Autocorrelation of exp(i chi), normalised, averaged over torsions.

    Attributes
    ----------
    times : ndarray, (times,)
        ps.
    correlation : dict of str to ndarray, (times,)
        By side.
    difference : ndarray, (times,)
        Sample minus reference.
    by_type : dict of str to dict of str to ndarray, (times,)
        By residue type and side.
    """

    times: np.ndarray
    correlation: dict[str, np.ndarray]
    difference: np.ndarray
    by_type: dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Averages:
    """Averages over a trajectory, one value for each bond or residue.

    Attributes
    ----------
    labels : list of str
    values : dict of str to ndarray, (values,)
        By side.
    mean : dict of str to float
        Mean of the values, by side.
    correlation : float
        Pearson correlation between the sides; NaN for fewer than three values.
    rms_difference : float
        Root-mean-square difference between the sides.
    """

    labels: list[str]
    values: dict[str, np.ndarray]
    mean: dict[str, float]
    correlation: float
    rms_difference: float


@dataclass(frozen=True)
class Coherence:
    """How atoms move on both sides. What a molecule does not have is left out.

    Attributes
    ----------
    displacements : dict of str to Ratio
        Root-mean-square displacement from frame to frame by group of atoms, nm.
    turns : dict of str to Turns
        By torsion.
    memory : dict of str to Memory
        By torsion, chi1 and chi2.
    order_parameters : dict of str to Averages
        S2 by kind of bond.
    couplings : Averages or None
        3J(HN-HA) in Hz by residue; None without phi.
    """

    displacements: dict[str, Ratio]
    turns: dict[str, Turns]
    memory: dict[str, Memory]
    order_parameters: dict[str, Averages]
    couplings: Averages | None


def compare_coherence(
    topology: mdtraj.Topology, positions: Mapping[str, Sequence[np.ndarray]], interval: float
) -> Coherence | None:
    """Compare how atoms move.

    Parameters
    ----------
    topology : mdtraj.Topology
        Of the atoms of both sides.
    positions : dict of str to sequence of ndarray, (frames, atoms, 3)
        Trajectories by side (``reference``, ``sample``), nm.
    interval : float
        ps between frames.

    Returns
    -------
    Coherence or None
        None for a molecule without the atoms that are measured.
    """
    parts = moving_parts(topology)
    if not parts.groups:
        return None
    lags = _lags(positions, interval)
    angles = {
        name: {side: [torsion_angles(each, torsions.atoms) for each in positions[side]] for side in SIDES}
        for name, torsions in parts.torsions.items()
    }
    return Coherence(
        displacements=_displacements(parts, positions),
        turns={name: _turns(parts.torsions[name], each) for name, each in angles.items()},
        memory={
            name: _memory(parts.torsions[name], angles[name], lags, interval)
            for name in REMEMBERING
            if name in angles and len(lags)
        },
        order_parameters=_order_parameters(parts, positions),
        couplings=_couplings(parts, angles["phi"]) if "phi" in angles else None,
    )


def squared_displacements(positions: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Return the squared displacement of each atom from frame to frame, after superposition on fitted atoms.

    Parameters
    ----------
    positions : ndarray, (frames, atoms, 3)
        nm.
    fitted : ndarray, (fitted,) int64
        Atoms by which each frame is superposed on the one before.

    Returns
    -------
    ndarray, (frames - 1, atoms)
        nm^2.
    """
    before, after = positions[:-1], positions[1:]
    moved = superpose(after, fitted, before[:, fitted])
    return ((moved - before) ** 2).sum(axis=-1)


def turned(angles: np.ndarray, period: np.ndarray) -> np.ndarray:
    """Return by how much torsions turn from frame to frame.

    Parameters
    ----------
    angles : ndarray, (frames, torsions)
        Degrees.
    period : ndarray, (torsions,)
        Degrees.

    Returns
    -------
    ndarray, (frames - 1, torsions)
        Degrees, from 0 to half the period.
    """
    return np.abs((np.diff(angles, axis=0) + period / 2) % period - period / 2)


def autocorrelation(angles: Sequence[np.ndarray], period: np.ndarray, lag: int) -> np.ndarray:
    """Return the normalised autocorrelation of exp(i angle) of each torsion at one lag time.

    Parameters
    ----------
    angles : sequence of ndarray, (frames, torsions)
        Degrees, one array per trajectory; one at least is longer than the lag time.
    period : ndarray, (torsions,)
        Degrees, taken as a full turn.
    lag : int
        Frames.

    Returns
    -------
    ndarray, (torsions,)
        1 if nothing changes within the lag time, 0 if everything is forgotten. NaN if a torsion never moves.
    """
    unit = [np.exp(2j * np.pi * each / period) for each in angles]
    constant = np.abs(np.concatenate(unit).mean(axis=0)) ** 2
    products = [(each[lag:] * each[:-lag].conj()).real for each in unit if len(each) > lag]
    fluctuation = 1.0 - constant
    raw = np.concatenate(products).mean(axis=0) - constant
    return np.divide(raw, fluctuation, out=np.full(len(raw), np.nan), where=fluctuation > 1e-12)


def order_parameters(vectors: np.ndarray) -> np.ndarray:
    """Return S2 of vectors in a molecule that does not turn: 1 if they are at rest, 0 if isotropic.

    Parameters
    ----------
    vectors : ndarray, (frames, vectors, 3)

    Returns
    -------
    ndarray, (vectors,)
        (3 sum over i, j of <u_i u_j>^2 - 1) / 2 with unit vectors u.
    """
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    tensor = np.einsum("fvi,fvj->vij", unit, unit) / len(unit)
    return (3.0 * (tensor**2).sum(axis=(1, 2)) - 1.0) / 2.0


def couplings(phi: np.ndarray) -> np.ndarray:
    """Return the mean 3J(HN-HA) over frames, Hz, from phi (frames, residues) in degrees."""
    cosine = np.cos(np.radians(phi - 60.0))
    return np.polyval(KARPLUS, cosine).mean(axis=0)


def _lags(positions: Mapping[str, Sequence[np.ndarray]], interval: float) -> np.ndarray:
    """Return the lag times in frames for which both sides are long enough."""
    longest = min(max(map(len, positions[side])) for side in SIDES)
    frames = np.unique([max(1, int(time / interval + 0.5)) for time in MEMORY_TIMES_PS])
    return frames[frames * SHORTEST_IN_LAGS <= longest]


def _displacements(parts: MovingParts, positions: Mapping[str, Sequence[np.ndarray]]) -> dict[str, Ratio]:
    means = {side: _mean_squared_displacements(positions[side], parts.fitted) for side in SIDES}
    return {
        name: _ratio({side: float(np.sqrt(means[side][atoms].mean())) for side in SIDES})
        for name, atoms in parts.groups.items()
    }


def _mean_squared_displacements(trajectories: Sequence[np.ndarray], fitted: np.ndarray) -> np.ndarray:
    """Average squared displacements over the frames of all trajectories, (atoms,), nm^2."""
    each = [
        squared_displacements(some, fitted).sum(axis=0, dtype=np.float64)
        for trajectory in trajectories
        for some in some_frames(trajectory, trajectory.shape[1], overlap=1)
    ]
    return np.sum(each, axis=0) / max(1, sum(len(trajectory) - 1 for trajectory in trajectories))


def _turns(torsions: Torsions, angles: Mapping[str, Sequence[np.ndarray]]) -> Turns:
    events, pairs = {}, {}
    for side in SIDES:
        each = [(turned(some, torsions.period) > TURN_DEGREES).sum(axis=0) for some in angles[side]]
        events[side] = np.sum(each, axis=0)
        pairs[side] = sum(len(some) - 1 for some in angles[side])

    def percent(chosen: np.ndarray) -> Ratio:
        return _ratio(
            {side: 100.0 * float(events[side][chosen].sum() / (pairs[side] * chosen.sum())) for side in SIDES}
        )

    by_type = {}
    for name, chosen in _by_type(torsions):
        n_events = sum(int(events[side][chosen].sum()) for side in SIDES)
        n_pairs = min(pairs[side] * int(chosen.sum()) for side in SIDES)
        if n_events >= FEWEST_EVENTS or n_pairs >= FEWEST_PAIRS:
            by_type[name] = percent(chosen)
    every = np.ones(len(torsions.atoms), dtype=bool)
    return Turns(len(torsions.atoms), percent(every), by_type)


def _memory(
    torsions: Torsions, angles: Mapping[str, Sequence[np.ndarray]], lags: np.ndarray, interval: float
) -> Memory:
    each = {
        side: np.stack([autocorrelation(angles[side], torsions.period, lag) for lag in lags.tolist()])
        for side in SIDES
    }
    mean = {side: _known_mean(each[side]) for side in SIDES}
    return Memory(
        times=lags * interval,
        correlation=mean,
        difference=mean["sample"] - mean["reference"],
        by_type={
            name: {side: _known_mean(each[side][:, chosen]) for side in SIDES}
            for name, chosen in _by_type(torsions)
        },
    )


def _order_parameters(
    parts: MovingParts, positions: Mapping[str, Sequence[np.ndarray]]
) -> dict[str, Averages]:
    target = _mean_shape(positions["reference"], parts.fitted)
    found = {}
    for kind, bonds in parts.bonds.items():
        vectors = {
            side: [_bond_vectors(each, bonds.atoms, parts.fitted, target) for each in positions[side]]
            for side in SIDES
        }
        values = {side: order_parameters(np.concatenate(vectors[side])) for side in SIDES}
        found[kind] = _averages(bonds.labels, values)
    return found


def _mean_shape(trajectories: Sequence[np.ndarray], fitted: np.ndarray) -> np.ndarray:
    """Return the mean positions of the fitted atoms, superposed on those of the first frame."""
    shapes = [trajectory[:, fitted] for trajectory in trajectories]
    every = np.arange(len(fitted))
    return np.concatenate([superpose(each, every, shapes[0][0]) for each in shapes]).mean(axis=0)


def _bond_vectors(
    positions: np.ndarray, bonds: np.ndarray, fitted: np.ndarray, target: np.ndarray
) -> np.ndarray:
    """Return the vectors along bonds, (frames, bonds, 3), in frames superposed on a target."""
    chosen, places = np.unique(np.concatenate([fitted, bonds.reshape(-1)]), return_inverse=True)
    own_fitted, own_bonds = places[: len(fitted)], places[len(fitted) :].reshape(-1, 2)
    vectors = []
    for some in some_frames(positions, len(chosen)):
        moved = superpose(some[:, chosen], own_fitted, target)
        vectors.append(moved[:, own_bonds[:, 1]] - moved[:, own_bonds[:, 0]])
    return np.concatenate(vectors)


def _couplings(parts: MovingParts, phi: Mapping[str, Sequence[np.ndarray]]) -> Averages | None:
    torsions = parts.torsions["phi"]
    coupled = ~np.isin(torsions.residue_types, WITHOUT_COUPLING)
    if not coupled.any():
        return None
    values = {side: couplings(np.concatenate(phi[side])[:, coupled]) for side in SIDES}
    return _averages([parts.labels[index] for index in torsions.residues[coupled]], values)


def _averages(labels: list[str], values: dict[str, np.ndarray]) -> Averages:
    reference, sample = (values[side] for side in SIDES)
    varies = len(labels) >= FEWEST_COMPARED and min(reference.std(), sample.std()) > 0.0
    return Averages(
        labels=labels,
        values=values,
        mean={side: float(values[side].mean()) for side in SIDES},
        correlation=float(np.corrcoef(reference, sample)[0, 1]) if varies else float("nan"),
        rms_difference=float(np.sqrt(((reference - sample) ** 2).mean())),
    )


def _by_type(torsions: Torsions) -> list[tuple[str, np.ndarray]]:
    """Return each residue type that occurs, and which torsions belong to it."""
    return [(str(name), torsions.residue_types == name) for name in np.unique(torsions.residue_types)]


def _ratio(values: Mapping[str, float]) -> Ratio:
    reference, sample = (values[side] for side in SIDES)
    return Ratio(reference, sample, sample / reference if reference > 0.0 else float("nan"))


def _known_mean(values: np.ndarray) -> np.ndarray:
    """Average over the last axis without NaN; NaN where there is nothing else."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
