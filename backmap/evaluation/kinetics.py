"""Markov models of a reference and a sample, both on the reference's states. Times are in ps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .distributions import SIDES
from .markov_model import (
    ChapmanKolmogorov,
    Interval,
    StateModel,
    TooFewDataError,
    agrees,
    assign,
    chapman_kolmogorov,
    cluster,
    cosine_similarities,
    estimate,
    metastable_count,
    metastable_sets,
    populations,
    posterior,
    time_scale_interval,
)

NAMES = dict(zip(SIDES, ("the reference", "the sample"), strict=True))
TEST_MULTIPLES = (1, 2, 3, 4, 5)
"""Multiples of the lag time at which the Chapman-Kolmogorov test is made."""


_SAME_PROCESS = 0.5
"""Least cosine similarity of eigenvectors that count as those of one process."""


@dataclass(frozen=True)
class Lags:
    """Lag times in frames, and the duration of a frame.

    Attributes
    ----------
    interval : float
        ps between frames.
    main : int
        Lag time of the models that are compared.
    others : tuple of int
        All lag times at which implied time scales are estimated, including the main one, in ascending order.
    """

    interval: float
    main: int
    others: tuple[int, ...]


@dataclass(frozen=True)
class Connectivity:
    """Part of a trajectory that a Markov model covers.

    Attributes
    ----------
    n_visited, n_active : int
        Numbers of visited states and of states in the largest connected set.
    frame_share : float
        Percent of frames in that set.
    """

    n_visited: int
    n_active: int
    frame_share: float


@dataclass(frozen=True)
class Process:
    """One slow process, at the main lag time.

    Attributes
    ----------
    time_scale : dict of str to Interval
        ps, by side.
    resolved : bool
        Whether the reference's time scale is longer than the lag time.
    agrees : bool or None
        Whether the sample's time scale lies in the reference's interval; None if there are too few data: the
        interval of a side spans more than a factor of ten, and overlaps with the other.
    cosine_similarity : float
        Cosine similarity of the two right eigenvectors; NaN if there is none.
    """

    time_scale: dict[str, Interval]
    resolved: bool
    agrees: bool | None
    cosine_similarity: float


@dataclass(frozen=True)
class Kinetics:
    """Markov models of both sides.

    Attributes
    ----------
    lag : float
        Main lag time, ps.
    n_states : int
        Number of k-means centres, found in the reference.
    connectivity : dict of str to Connectivity
        At the main lag time, by side.
    processes : list of Process
        Slowest first.
    time_factor : float
        Factor on the sample's time that makes the reference's slowest process and the sample's most similar
        one equally slow: coarse-grained dynamics are faster than those of the atoms. NaN if no process of
        the sample is similar.
    cosine_similarities : ndarray, (processes, processes)
        Reference processes by sample processes.
    lag_times : ndarray, (lags,)
        ps.
    time_scales : dict of str to Interval of (lags, processes)
        ps, by side.
    n_metastable : dict of str to int
        One more than the time scales above the lag time, by side.
    populations : dict of str to Interval of (sets,)
        Stationary populations of the reference's metastable sets, by side.
    chapman_kolmogorov : dict of str to ChapmanKolmogorov
        Test between the same sets, by side; lags in frames.
    test_lag_times : ndarray, (lags,)
        Lag times of the test, ps.
    """

    lag: float
    n_states: int
    connectivity: dict[str, Connectivity]
    processes: list[Process]
    time_factor: float
    cosine_similarities: np.ndarray
    lag_times: np.ndarray
    time_scales: dict[str, Interval]
    n_metastable: dict[str, int]
    populations: dict[str, Interval]
    chapman_kolmogorov: dict[str, ChapmanKolmogorov]
    test_lag_times: np.ndarray


@dataclass(frozen=True)
class Models:
    """States and models behind :class:`Kinetics`, for weights and further analysis.

    Attributes
    ----------
    centres : ndarray, (states, features)
    assignments : dict of str to list of ndarray, (frames,) int
        State of each frame of each trajectory, by side.
    main : dict of str to StateModel
        Models at the main lag time.
    sets : ndarray, (states,) int64
        Metastable set of each state, -1 if in none.
    """

    centres: np.ndarray
    assignments: dict[str, list[np.ndarray]]
    main: dict[str, StateModel]
    sets: np.ndarray


def compare_kinetics(
    features: Mapping[str, Sequence[np.ndarray]],
    lags: Lags,
    *,
    states: int = 100,
    metastable: int | None = None,
    seed: int = 0,
) -> tuple[Kinetics, Models]:
    """Cluster the reference and model both sides on its states.

    Parameters
    ----------
    features : dict of str to sequence of ndarray, (frames, features)
        Trajectories by side (``reference``, ``sample``), in coordinates suited to k-means.
    lags : Lags
    states : int
        Number of states.
    metastable : int, optional
        Number of metastable sets; by default :func:`~backmap.evaluation.markov_model.metastable_count` of
        the reference.
    seed : int
        Seed of the clustering and the posterior samples.

    Returns
    -------
    Kinetics, Models

    Raises
    ------
    InputError
        If the reference has fewer connected states than metastable sets were asked for.
    TooFewDataError
        If a side is too short or not connected; the message says which.
    """
    _require_length(features, lags)
    centres = cluster(features["reference"], states, seed)
    assignments = {side: assign(features[side], centres) for side in SIDES}

    def models(lag: int) -> dict[str, StateModel]:
        return {side: estimate(assignments[side], lag, states, NAMES[side]) for side in SIDES}

    wanted = {*lags.others, *(lags.main * multiple for multiple in TEST_MULTIPLES)}
    by_lag = {lag: models(lag) for lag in sorted(wanted)}
    drawn = {lag: {side: posterior(by_lag[lag][side], seed) for side in SIDES} for lag in lags.others}
    main, samples = by_lag[lags.main], drawn[lags.main]
    count = metastable or metastable_count(main["reference"])
    sets = metastable_sets(main["reference"], count, NAMES["reference"])
    longer = [by_lag[lags.main * multiple] for multiple in TEST_MULTIPLES]
    scales = {
        side: [time_scale_interval(by_lag[lag][side], drawn[lag][side]) for lag in lags.others]
        for side in SIDES
    }
    similarities = cosine_similarities(main["reference"], main["sample"])
    place = lags.others.index(lags.main)
    processes = _processes(
        {side: _scaled(scales[side][place], lags.interval) for side in SIDES},
        similarities,
        lags.main * lags.interval,
    )
    kinetics = Kinetics(
        lag=lags.main * lags.interval,
        n_states=states,
        connectivity={
            side: Connectivity(model.n_visited, len(model.active), model.frame_share)
            for side, model in main.items()
        },
        processes=processes,
        time_factor=_time_factor(processes, similarities),
        cosine_similarities=similarities,
        lag_times=np.array(lags.others) * lags.interval,
        time_scales={side: _scaled(_stack(scales[side]), lags.interval) for side in SIDES},
        n_metastable={side: metastable_count(model) for side, model in main.items()},
        populations={side: populations(main[side], samples[side], sets, count) for side in SIDES},
        chapman_kolmogorov={
            side: chapman_kolmogorov(
                main[side], samples[side], [models[side] for models in longer], sets, count
            )
            for side in SIDES
        },
        test_lag_times=lags.main * lags.interval * np.array(TEST_MULTIPLES),
    )
    return kinetics, Models(centres, assignments, main, sets)


def _require_length(features: Mapping[str, Sequence[np.ndarray]], lags: Lags) -> None:
    """Refuse trajectories too short for the longest lag time, before any slow computation."""
    longest_lag = max(*lags.others, lags.main * TEST_MULTIPLES[-1])
    for side in SIDES:
        longest = max(map(len, features[side]))
        if longest <= longest_lag:
            raise TooFewDataError(
                f"{NAMES[side]}: its longest trajectory has {longest} frames, too short for lag times up to "
                f"{longest_lag} frames; give a longer one or a shorter lag time"
            )


def _processes(time_scales: dict[str, Interval], similarities: np.ndarray, lag: float) -> list[Process]:
    reference, sample = (time_scales[side] for side in SIDES)
    known = np.flatnonzero(np.isfinite(reference.value))
    return [
        Process(
            time_scale={side: _at(each, index) for side, each in time_scales.items()},
            resolved=bool(reference.value[index] > lag),
            agrees=agrees(_at(reference, index), _at(sample, index), lag),
            cosine_similarity=float(similarities[index, index]),
        )
        for index in known.tolist()
    ]


def _time_factor(processes: Sequence[Process], similarities: np.ndarray) -> float:
    """Return the factor on the sample's time that makes one process equally slow on both sides.

    The sample may have slower processes that the reference never saw, so that their order does not tell which
    are the same.
    """
    alike = np.nan_to_num(np.abs(similarities[0, : len(processes)]))
    if not len(alike) or alike.max() < _SAME_PROCESS:
        return float("nan")
    same = processes[int(alike.argmax())]
    return float(processes[0].time_scale["reference"].value / same.time_scale["sample"].value)


def _scaled(values: Interval, factor: float) -> Interval:
    return Interval(values.value * factor, values.low * factor, values.high * factor)


def _at(values: Interval, index: int) -> Interval:
    return Interval(values.value[index], values.low[index], values.high[index])


def _stack(values: Sequence[Interval]) -> Interval:
    return Interval(
        *(np.stack([getattr(each, name) for each in values]) for name in ("value", "low", "high"))
    )
