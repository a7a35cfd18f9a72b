"""Markov models on states of the reference: time scales, processes, metastable sets, and a test.

The estimators come from deeptime; this module handles connected sets, seeds and the comparison of two models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backmap.errors import InputError

if TYPE_CHECKING:
    from deeptime.markov.msm import MarkovStateModel

PROCESSES = 5
"""Largest number of slow processes that are analysed."""

POSTERIOR_SAMPLES = 100
INTERVAL_PERCENT = (2.5, 97.5)
FRAMES_CLUSTERED = 100_000
"""Largest number of reference frames given to k-means, evenly chosen."""

WIDEST_INTERVAL = 10.0
"""A time scale whose interval spans more than this factor is not determined by the data."""

_SEEDS = 2**31
"""Number of different seeds that deeptime accepts."""


class TooFewDataError(InputError):
    """The trajectories are too short for a Markov model of these states at this lag time."""


@dataclass(frozen=True)
class StateModel:
    """A Markov model of one side at one lag time, on its largest connected set of states.

    Attributes
    ----------
    lag : int
        Frames.
    n_states, n_visited : int
        Number of all states and of visited states.
    active : ndarray, (active states,) int64
        States of the connected set, in which every state is reached from every other.
    frame_share : float
        Percent of the frames that lie in the connected set.
    model : deeptime.markov.msm.MarkovStateModel
        Reversible maximum-likelihood model of the active states.
    """

    lag: int
    n_states: int
    n_visited: int
    active: np.ndarray
    frame_share: float
    model: MarkovStateModel

    def time_scales(self, processes: int = PROCESSES) -> np.ndarray:
        """Return the slowest implied time scales in frames, (processes,), padded with NaN."""
        return _time_scales(self.model, processes)

    def stationary(self) -> np.ndarray:
        """Return the stationary probabilities of all states, (states,), 0 for inactive states."""
        everywhere = np.zeros(self.n_states)
        everywhere[self.active] = self.model.stationary_distribution
        return everywhere

    def right_eigenvectors(self, processes: int = PROCESSES) -> np.ndarray:
        """Return right eigenvectors of the slow processes, (processes, states), NaN for inactive states."""
        count = min(processes, len(self.active) - 1)
        vectors = np.full((processes, self.n_states), np.nan)
        vectors[:count, self.active] = _relaxations(self.model)[1][:, :count].T
        return vectors


@dataclass(frozen=True)
class Interval:
    """Values with their 95 % intervals, which contain them, all of the same shape.

    The width comes from samples of the posterior of the same counts as the value. The samples are moved so
    that their median is the value: with few counts per state, most of them lie on one side of it.
    """

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class ChapmanKolmogorov:
    """Transition probabilities between metastable sets, predicted and estimated.

    Attributes
    ----------
    lags : ndarray, (lags,) int64
        Multiples of the model's lag time, in frames.
    predicted : Interval of (lags, sets, sets)
        Powers of the transition matrix, with 95 % intervals.
    estimated : ndarray, (lags, sets, sets)
        From models estimated at each lag time.
    largest_error : float
        Largest difference between the two.
    """

    lags: np.ndarray
    predicted: Interval
    estimated: np.ndarray
    largest_error: float


def cluster(features: Sequence[np.ndarray], states: int, seed: int) -> np.ndarray:
    """Find the centres of the reference's states by k-means.

    Parameters
    ----------
    features : sequence of ndarray, (frames, features)
        The reference's trajectories.
    states : int
        Number of centres.
    seed : int
        From 0 to 2^32 - 1.

    Returns
    -------
    ndarray, (states, features)

    Raises
    ------
    TooFewDataError
        If there are fewer distinct frames than states.
    """
    from deeptime.clustering import KMeans

    frames = np.concatenate(features)
    frames = np.ascontiguousarray(frames[:: -(-len(frames) // FRAMES_CLUSTERED)])
    different = len(np.unique(frames, axis=0))
    if different < states:
        raise TooFewDataError(
            f"the reference: has {different} distinct frames, too few for {states} states; "
            "give a longer trajectory or ask for fewer states"
        )
    return KMeans(states, max_iter=200, fixed_seed=seed % _SEEDS, n_jobs=1).fit_fetch(frames).cluster_centers


def assign(features: Sequence[np.ndarray], centres: np.ndarray) -> list[np.ndarray]:
    """Return the index of the nearest centre of each frame, one array per trajectory."""
    from deeptime.clustering import ClusterModel

    model = ClusterModel(centres)
    return [model.transform(np.ascontiguousarray(each, dtype=centres.dtype), n_jobs=1) for each in features]


def estimate(assignments: Sequence[np.ndarray], lag: int, states: int, name: str) -> StateModel:
    """Estimate a reversible Markov model on the largest connected set of states.

    Parameters
    ----------
    assignments : sequence of ndarray, (frames,) int
        State of each frame of each trajectory.
    lag : int
        Lag time in frames.
    states : int
        Number of all states.
    name : str
        Name of the modelled side, for messages.

    Returns
    -------
    StateModel
        Estimated from all pairs of frames a lag time apart, with counts divided by the lag time: only every
        lag-th pair is independent, which determines the width of the intervals.

    Raises
    ------
    TooFewDataError
        If no trajectory is longer than the lag time, or no two states are connected.
    """
    from deeptime.markov import TransitionCountEstimator
    from deeptime.markov.msm import MaximumLikelihoodMSM

    long_enough = [states_of for states_of in assignments if len(states_of) > lag]
    if not long_enough:
        longest = max(map(len, assignments))
        raise TooFewDataError(
            f"{name}: its longest trajectory has {longest} frames, too short for a lag time of {lag} frames; "
            "give a longer trajectory or a shorter lag time"
        )
    counts = TransitionCountEstimator(lag, "sliding-effective", n_states=states).fit_fetch(long_enough)
    connected = counts.submodel_largest()
    if connected.n_states < 2:
        raise TooFewDataError(
            f"{name}: no two states are connected at a lag time of {lag} frames, "
            "so there are no time scales; give a longer trajectory or a shorter lag time"
        )
    visits = np.bincount(np.concatenate(assignments), minlength=states)
    active = np.asarray(connected.state_symbols, dtype=np.int64)
    return StateModel(
        lag=lag,
        n_states=states,
        n_visited=int(np.count_nonzero(visits)),
        active=active,
        frame_share=100.0 * float(visits[active].sum() / visits.sum()),
        model=MaximumLikelihoodMSM(reversible=True).fit_fetch(connected),
    )


def posterior(state_model: StateModel, seed: int, count: int = POSTERIOR_SAMPLES) -> list[MarkovStateModel]:
    """Draw reversible transition matrices from the posterior of the counts, by Gibbs sampling.

    Uses the sampler and the number of steps between samples of ``deeptime.markov.msm.BayesianMSM``, which
    does not take a seed.
    """
    from deeptime.markov.msm import MarkovStateModel
    from deeptime.markov.tools.estimation.dense.tmat_sampling.tmatrix_sampler import TransitionMatrixSampler

    model = state_model.model
    sampler = TransitionMatrixSampler(
        model.count_model.count_matrix,
        reversible=True,
        P0=model.transition_matrix,
        n_steps=max(1, int(np.sqrt(state_model.n_states))),
        seed=seed % _SEEDS,
    )
    matrices, stationary = sampler.sample(count, return_statdist=True)
    return [
        MarkovStateModel(matrix, distribution, reversible=True, count_model=model.count_model)
        for matrix, distribution in zip(matrices, stationary, strict=True)
    ]


def time_scale_interval(state_model: StateModel, samples: Sequence[MarkovStateModel]) -> Interval:
    """Return the implied time scales in frames, (processes,), with their 95 % intervals.

    The posterior samples are moved by a factor, so that their median is the estimate.
    """
    value = state_model.time_scales()
    low, middle, high = _quantiles(np.stack([_time_scales(each, PROCESSES) for each in samples]))
    slow = (value > 0.0) & (middle > 0.0)
    factor = np.divide(value, middle, out=np.ones_like(value), where=slow)
    return Interval(value, np.minimum(value, factor * low), np.maximum(value, factor * high))


def agrees(reference: Interval, sample: Interval, lag: float) -> bool | None:
    """Return whether a time scale of the sample lies in the reference's interval; None for too few data.

    With too few data on a side, only intervals that do not overlap decide. A time scale of the sample below
    the lag time is fast, however wide its interval; but an interval from 0 to 0 comes from single visits.
    """
    if not (reference.high > 0.0 and sample.high > 0.0):
        return None
    if is_determined(reference) and (is_determined(sample) or sample.value <= lag):
        return bool(reference.low <= sample.value <= reference.high)
    apart = sample.high < reference.low or reference.high < sample.low
    return False if apart else None


def probability_interval(value: np.ndarray, samples: np.ndarray) -> Interval:
    """Combine probabilities with the 95 % range of their posterior samples, (samples, ...).

    The samples are moved so that their median is the value, and limits beyond 0 or 1 are cut.
    """
    low, middle, high = _quantiles(samples)
    return Interval(value, np.maximum(value + low - middle, 0.0), np.minimum(value + high - middle, 1.0))


def is_determined(time_scale: Interval) -> np.ndarray:
    """Return whether the data determine time scales: their intervals span at most a factor of ten."""
    return (
        np.isfinite(time_scale.high)
        & (time_scale.low > 0.0)
        & (time_scale.high <= WIDEST_INTERVAL * time_scale.low)
    )


def cosine_similarities(first: StateModel, second: StateModel, processes: int = PROCESSES) -> np.ndarray:
    """Compare right eigenvectors on the states that are active in both models.

    Returns
    -------
    ndarray, (processes, processes)
        Absolute cosine between process i of the first and process j of the second model; NaN where a process
        does not exist, and everywhere if the models share fewer than two states.
    """
    shared = np.intersect1d(first.active, second.active)
    if len(shared) < 2:
        return np.full((processes, processes), np.nan)
    rows, columns = (model.right_eigenvectors(processes)[:, shared] for model in (first, second))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    columns = columns / np.linalg.norm(columns, axis=1, keepdims=True)
    return np.abs(rows @ columns.T)


def metastable_count(state_model: StateModel) -> int:
    """Count metastable sets: one more than the time scales longer than the lag time, and at least two."""
    slow = int((state_model.time_scales() > state_model.lag).sum())
    return max(2, slow + 1)


def metastable_sets(state_model: StateModel, count: int, name: str) -> np.ndarray:
    """Assign the states to metastable sets by PCCA+, the most populated set first.

    Returns
    -------
    ndarray, (states,) int64
        Set of each state, -1 for inactive states.

    Raises
    ------
    InputError
        If there are fewer active states than sets.
    """
    if count > len(state_model.active):
        raise InputError(
            f"{name}: has {len(state_model.active)} connected states, too few for {count} metastable sets; "
            "ask for fewer sets"
        )
    found = state_model.model.pcca(count).assignments
    populations = np.bincount(found, state_model.model.stationary_distribution, minlength=count)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-populations, kind="stable")] = np.arange(count)
    sets = np.full(state_model.n_states, -1)
    sets[state_model.active] = rank[found]
    return sets


def populations(
    state_model: StateModel, samples: Sequence[MarkovStateModel], sets: np.ndarray, count: int
) -> Interval:
    """Return the stationary population of each metastable set, (sets,), with 95 % intervals.

    States outside all sets are left out, and the populations normalised to 1.
    """
    own = sets[state_model.active]

    def of(stationary: np.ndarray) -> np.ndarray:
        total = np.bincount(own[own >= 0], stationary[own >= 0], minlength=count)
        return total / total.sum()

    each = np.stack([of(sample.stationary_distribution) for sample in samples])
    return probability_interval(of(state_model.model.stationary_distribution), each)


def chapman_kolmogorov(
    state_model: StateModel,
    samples: Sequence[MarkovStateModel],
    longer: Sequence[StateModel],
    sets: np.ndarray,
    count: int,
) -> ChapmanKolmogorov:
    """Test whether powers of a model predict models at longer lag times: T(k tau) = T(tau)^k.

    Parameters
    ----------
    state_model : StateModel
        The model to test.
    samples : sequence of MarkovStateModel
        Samples of its posterior, for the intervals.
    longer : sequence of StateModel
        Models at multiples of its lag time.
    sets : ndarray, (states,) int64
        Metastable set of each state, -1 for none.
    count : int
        Number of sets.

    Returns
    -------
    ChapmanKolmogorov
        Probabilities of going from set to set, starting from the stationary distribution within the first.
        NaN for sets that do not occur in the model.
    """

    def between(matrix: np.ndarray, active: np.ndarray, stationary: np.ndarray) -> np.ndarray:
        membership = (sets[active][:, None] == np.arange(count)).astype(np.float64)
        start = membership * stationary[:, None]
        with np.errstate(invalid="ignore"):
            return (start / start.sum(axis=0)).T @ matrix @ membership

    def predicted(model: MarkovStateModel, power: int) -> np.ndarray:
        matrix = np.linalg.matrix_power(model.transition_matrix, power)
        return between(matrix, state_model.active, state_model.model.stationary_distribution)

    powers = [each.lag // state_model.lag for each in longer]
    value = np.stack([predicted(state_model.model, power) for power in powers])
    each = np.stack([[predicted(sample, power) for power in powers] for sample in samples])
    estimated = np.stack(
        [
            between(long.model.transition_matrix, long.active, long.model.stationary_distribution)
            for long in longer
        ]
    )
    difference = np.abs(value - estimated)
    return ChapmanKolmogorov(
        lags=np.array([each.lag for each in longer], dtype=np.int64),
        predicted=probability_interval(value, each),
        estimated=estimated,
        largest_error=float(np.nanmax(difference)) if np.isfinite(difference).any() else float("nan"),
    )


def _time_scales(model: MarkovStateModel, processes: int) -> np.ndarray:
    count = min(processes, model.n_states - 1)
    found = np.full(processes, np.nan)
    with np.errstate(divide="ignore"):
        found[:count] = np.abs(model.lagtime / np.log(_relaxations(model)[0][:count]))
    return found


def _relaxations(model: MarkovStateModel) -> tuple[np.ndarray, np.ndarray]:
    """Return the eigenvalues below 1 of a reversible model, largest first, and the right eigenvectors.

    Negative eigenvalues become 0: what alternates from one lag time to the next is not slow.

    Returns
    -------
    eigenvalues : ndarray, (states - 1,)
        From 0 to 1.
    vectors : ndarray, (states, states - 1)
    """
    root = np.sqrt(model.stationary_distribution)
    symmetric = root[:, None] * model.transition_matrix / root
    values, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    return np.clip(values[-2::-1], 0.0, 1.0), vectors[:, -2::-1] / root[:, None]


def _quantiles(samples: np.ndarray) -> np.ndarray:
    """Return the lower limit, the median and the upper limit of posterior samples, (3, ...)."""
    return np.quantile(samples, (INTERVAL_PERCENT[0] / 100, 0.5, INTERVAL_PERCENT[1] / 100), axis=0)
