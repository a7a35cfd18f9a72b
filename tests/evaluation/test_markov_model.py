"""Markov models: chains with known time scales, states that are not connected, and what is refused."""

import numpy as np
import pytest

from backmap.errors import InputError
from backmap.evaluation import markov_model
from backmap.evaluation.kinetics import Lags, compare_kinetics

TWO_STATES = np.array([[0.98, 0.02], [0.03, 0.97]])
TWO_BASINS = np.array(
    [
        [0.695, 0.3, 0.005, 0.0],
        [0.3, 0.70, 0.0, 0.0],
        [0.01, 0.0, 0.59, 0.4],
        [0.0, 0.0, 0.4, 0.60],
    ]
)


def chain(matrix: np.ndarray, steps: int, seed: int = 0) -> np.ndarray:
    """Walk a Markov chain."""
    generator = np.random.default_rng(seed)
    cumulative = np.cumsum(matrix, axis=1)
    states = np.zeros(steps, dtype=np.int32)
    for step, draw in enumerate(generator.random(steps - 1), 1):
        states[step] = np.searchsorted(cumulative[states[step - 1]], draw)
    return states


@pytest.mark.parametrize("lag", [1, 4])
@pytest.mark.parametrize("matrix", [TWO_STATES, TWO_BASINS], ids=["two states", "two basins"])
def test_known_time_scale_lies_in_its_interval(matrix, lag):
    eigenvalues = np.sort(np.linalg.eigvals(matrix).real)[::-1]
    known = -1.0 / np.log(eigenvalues[1])
    model = markov_model.estimate([chain(matrix, 20_000)], lag, len(matrix), "the chain")
    found = markov_model.time_scale_interval(model, markov_model.posterior(model, seed=0))
    assert found.low[0] < known < found.high[0]
    assert found.value[0] == pytest.approx(known, rel=0.25)
    assert found.high[0] - found.low[0] < known
    assert np.isnan(found.value[len(matrix) - 1 :]).all()


@pytest.mark.parametrize("frames", [300, 1000, 4000])
def test_time_scales_lie_in_their_intervals_however_few_the_data(frames):
    points = np.random.default_rng(1).random((100, 1))
    walk = points[chain(np.full((100, 100), 0.01), frames), 0] + chain(TWO_STATES, frames, seed=1)
    features = {"reference": [walk[:, None]], "sample": [walk[:, None]]}
    kinetics, _ = compare_kinetics(features, Lags(1.0, 5, (1, 5)), states=50)
    for each in kinetics.time_scales.values():
        known = np.isfinite(each.value)
        assert (each.low <= each.value)[known].all()
        assert (each.value <= each.high)[known].all()
    for each in kinetics.populations.values():
        assert ((each.low <= each.value) & (each.value <= each.high)).all()
    assert all(process.agrees is not False for process in kinetics.processes)


@pytest.mark.parametrize(("frames", "verdict"), [(400, None), (9000, True)])
def test_too_few_data_are_no_verdict(frames, verdict):
    walks = {side: chain(TWO_STATES, frames, seed) for seed, side in enumerate(("reference", "sample"))}
    features = {side: [walk[:, None].astype(float)] for side, walk in walks.items()}
    kinetics, _ = compare_kinetics(features, Lags(1.0, 20, (20,)), states=2)
    slowest = kinetics.processes[0]
    assert slowest.agrees is verdict
    equal = kinetics.time_factor * slowest.time_scale["sample"].value
    assert equal == pytest.approx(float(slowest.time_scale["reference"].value))


@pytest.mark.parametrize(
    ("reference", "sample", "verdict"),
    [
        ((20, 15, 30), (25, 20, 35), True),
        ((20, 15, 30), (40, 25, 60), False),
        ((20, 5, 300), (25, 20, 35), None),
        ((20, 5, 300), (400, 90, 2000), None),
        ((20, 5, 300), (1, 0, 3), False),
        ((20, 15, 30), (4, 0, 12), False),
        ((20, 15, 30), (0, 0, 0), None),
        ((20, 15, np.inf), (20, 15, np.inf), None),
        ((np.nan,) * 3, (20, 15, 30), None),
        ((20, 15, 30), (np.nan,) * 3, None),
    ],
)
def test_verdicts(reference, sample, verdict):
    sides = (markov_model.Interval(*map(np.float64, side)) for side in (reference, sample))
    assert markov_model.agrees(*sides, lag=5.0) is verdict


def test_states_that_alternate_are_not_slow():
    model = markov_model.estimate([np.arange(500, dtype=np.int32) % 2], 5, 2, "the chain")
    assert model.time_scales()[0] == 0.0


def test_the_same_seed_gives_the_same_interval():
    model = markov_model.estimate([chain(TWO_STATES, 2000)], 1, 2, "the chain")
    first, again, other = (
        markov_model.time_scale_interval(model, markov_model.posterior(model, seed, count=20)).high[0]
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_states_outside_the_connected_set_are_left_out_and_counted():
    states = np.concatenate([np.full(100, 3), chain(TWO_STATES, 900)])
    model = markov_model.estimate([states], 1, 6, "the chain")
    assert model.active.tolist() == [0, 1]
    assert (model.n_visited, model.frame_share) == (3, 90.0)
    assert model.stationary()[2:].tolist() == [0.0] * 4
    assert model.stationary().sum() == pytest.approx(1.0)
    assert np.isnan(model.right_eigenvectors()[0, 2:]).all()


def test_eigenvectors_of_one_model_are_alike_and_of_processes_differ():
    model = markov_model.estimate([chain(TWO_BASINS, 20_000)], 1, 4, "the chain")
    similarities = markov_model.cosine_similarities(model, model)
    np.testing.assert_allclose(np.diag(similarities)[:3], 1.0)
    assert np.isnan(similarities[3:]).all()
    assert similarities[0, 1] < 0.5


def test_metastable_sets_are_the_basins():
    model = markov_model.estimate([chain(TWO_BASINS, 20_000)], 1, 4, "the chain")
    sets = markov_model.metastable_sets(model, 2, "the chain")
    assert sets.tolist() == [0, 0, 1, 1]
    share = markov_model.populations(model, markov_model.posterior(model, 0), sets, 2)
    assert share.low[0] < 2 / 3 < share.high[0]
    assert share.value.sum() == pytest.approx(1.0)


def test_chapman_kolmogorov_tells_a_markov_chain_from_one_with_memory():
    walk = chain(TWO_BASINS, 20_000)
    errors = []
    for states, count in ((walk, 4), (walk // 2 * 2 + (np.arange(len(walk)) // 2) % 2, 4)):
        models = [markov_model.estimate([states], lag, count, "the chain") for lag in (1, 2, 3)]
        sets = np.arange(count)
        test = markov_model.chapman_kolmogorov(
            models[0], markov_model.posterior(models[0], 0, count=20), models, sets, count
        )
        assert test.estimated[0] == pytest.approx(test.predicted.value[0])
        np.testing.assert_allclose(test.estimated.sum(axis=-1), 1.0)
        errors.append(test.largest_error)
    assert errors[0] < 0.05 < errors[1]


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (np.zeros(4, dtype=np.int32), "has 4 frames, too short for a lag time of 5"),
        (np.repeat(np.arange(3, dtype=np.int32), 50), "no two states are connected"),
    ],
    ids=["short", "never returns"],
)
def test_refusals(states, message):
    with pytest.raises(InputError, match=message) as refused:
        markov_model.estimate([states], 5, 3, "the sample")
    assert str(refused.value).startswith("the sample: ")


def test_too_few_frames_for_the_states_are_refused():
    with pytest.raises(InputError, match="has 30 distinct frames, too few for 40 states"):
        markov_model.cluster([np.random.default_rng(0).random((30, 2))], 40, seed=0)


def test_a_side_too_short_for_the_longest_lag_is_refused():
    features = {"reference": [np.zeros((1000, 2))], "sample": [np.zeros((50, 2))]}
    with pytest.raises(InputError, match="the sample: its longest trajectory has 50 frames"):
        compare_kinetics(features, Lags(1.0, 10, (1, 10)))


def test_every_seed_is_taken():
    frames = [np.random.default_rng(0).normal(size=(50, 2))]
    centres = [markov_model.cluster(frames, 3, seed) for seed in (0, 5, 2**31 + 5, 2**63 - 1)]
    assert np.array_equal(centres[1], centres[2])
