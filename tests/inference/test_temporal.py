"""Rolling a model along time: nothing depends on batches and chunks, and bad frames are caught."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backmap.inference.temporal import (
    FRAMES_PER_CHUNK,
    Patience,
    RolledFrames,
    TemporalBuilder,
    frames_per_chunk,
)
from tests.inference.frames import part
from tests.toy_temporal import BEAD_ATOMS, SHAPE_NM, ToyTemporal, beads


def roll(roller: TemporalBuilder, trajectories: list[np.ndarray], chunk: int = 1000) -> list[RolledFrames]:
    """Roll out whole trajectories, so many frames at a time."""
    longest = max(map(len, trajectories))
    pieces = [
        roller.reconstruct(*part(trajectories, first, first + chunk)) for first in range(0, longest, chunk)
    ]
    return [
        RolledFrames(np.concatenate([p.atoms for p in parts], 1), np.concatenate([p.origin for p in parts]))
        for parts in zip(*pieces, strict=True)
    ]


def assert_same(one: RolledFrames, other: RolledFrames) -> None:
    np.testing.assert_array_equal(one.atoms, other.atoms)
    np.testing.assert_array_equal(one.origin, other.origin)


def rarely(c_g: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    return uniform[:, 7] < 0.1


def test_shapes_and_the_input_is_hit():
    roller = TemporalBuilder(ToyTemporal(), samples=3)
    (built,) = roll(roller, [beads(20)])
    assert built.atoms.shape == (3, 20, 22, 3) and built.atoms.dtype == np.float32
    assert built.coordinates.dtype == np.float64
    image = built.coordinates[:, :, BEAD_ATOMS]
    assert np.sqrt(((image - beads(20)) ** 2).sum(-1).mean(-1)).max() < 0.001
    assert roller.tally.frames.tolist() == [60]
    assert 0 < roller.tally.mean_residual[0] < roller.tally.largest_residual[0] < 0.001
    assert len(np.unique(built.atoms[:, 5], axis=0)) == 3
    assert (built.atoms[0, 1:] != built.atoms[0, :-1]).any()


def test_frames_depend_on_the_frame_before():
    """What was built before still shows, a step later, in what is built on the same beads."""
    early = beads(6)
    other = early.copy()
    other[2] += np.random.default_rng(1).normal(0, 0.01, (6, 3))
    (one,), (two,) = (roll(TemporalBuilder(ToyTemporal()), [given]) for given in (early, other))
    np.testing.assert_array_equal(one.atoms[:, :2], two.atoms[:, :2])
    assert (one.atoms[:, 3:] != two.atoms[:, 3:]).any()


@pytest.mark.parametrize("chunk", [1, 7, 16])
def test_chunks_change_nothing(chunk):
    given = [beads(33), beads(12, seed=1)]
    whole, cut = (TemporalBuilder(ToyTemporal(rarely), samples=9, trajectories=(0, 1)) for _ in range(2))
    for one, other in zip(roll(whole, given), roll(cut, given, chunk), strict=True):
        assert_same(one, other)
    for name, value in whole.state.items():
        np.testing.assert_array_equal(value, cut.state[name], err_msg=name)
    assert whole.tally.redraws.min() > 0


def test_batch_of_one_equals_batch_of_many():
    given = [beads(length, seed) for seed, length in enumerate((9, 20, 1, 14))]
    together = roll(TemporalBuilder(ToyTemporal(rarely), samples=3, trajectories=range(4)), given, chunk=6)
    for number, whole in enumerate(given):
        (alone,) = roll(TemporalBuilder(ToyTemporal(rarely), samples=3, trajectories=(number,)), [whole])
        np.testing.assert_allclose(together[number].atoms, alone.atoms, atol=1e-6)
        (one,) = roll(TemporalBuilder(ToyTemporal(rarely), samples=1, trajectories=(number,)), [whole])
        np.testing.assert_allclose(together[number].atoms[:1], one.atoms, atol=1e-6)


def test_resumed_equals_uninterrupted():
    given = [beads(30), beads(11, seed=1)]
    whole = TemporalBuilder(ToyTemporal(rarely), samples=2, seed=5, trajectories=(0, 1))
    first, resumed = (
        TemporalBuilder(ToyTemporal(rarely), samples=2, seed=5, trajectories=(0, 1)) for _ in range(2)
    )
    expected = roll(whole, given)
    first.reconstruct(*part(given, 0, 13))
    state = first.state
    first.reconstruct(*part(given, 13, 20))
    resumed.restore(state)
    built = resumed.reconstruct(*part(given, 13, 30))
    np.testing.assert_array_equal(built[0].atoms, expected[0].atoms[:, 13:])
    assert built[1].atoms.shape[1] == 0
    for name, value in whole.state.items():
        np.testing.assert_array_equal(value, resumed.state[name], err_msg=name)


def test_seed_sample_and_trajectory_matter():
    given = beads(4)
    first, other = roll(TemporalBuilder(ToyTemporal(), trajectories=(0, 1)), [given, given])
    assert (first.atoms != other.atoms).any()
    (seeded,) = roll(TemporalBuilder(ToyTemporal(), seed=1), [given])
    assert (first.atoms != seeded.atoms).any()


def test_rotation_translation():
    given = beads(40)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    far = given @ turn.T + np.array([4e4, -1e5, 7.0])
    here, there = TemporalBuilder(ToyTemporal()), TemporalBuilder(ToyTemporal())
    roll(here, [given])
    (built,) = roll(there, [far])
    np.testing.assert_allclose(here.tally.mean_residual, there.tally.mean_residual, atol=1e-6)
    np.testing.assert_allclose(here.tally.largest_residual, there.tally.largest_residual, atol=1e-6)
    assert np.abs(built.coordinates[0, :, BEAD_ATOMS] - far.transpose(1, 0, 2)).max() < 0.001
    assert there.tally.redraws.sum() == 0


def test_a_bad_draw_is_drawn_again():
    roller = TemporalBuilder(ToyTemporal(rarely), samples=50)
    (built,) = roll(roller, [beads(20)])
    assert 50 < roller.tally.redraws[0] < 200  # 1000 frames, one draw in ten is bad
    assert roller.tally.reseeds[0] == roller.tally.unphysical[0] == 0
    assert np.abs(built.atoms).max() < 2


class SpoiledPast(ToyTemporal):
    """Once a marked frame is reached, builds nothing good until the previous frames come from the library."""

    def step(self, c_g, previous, uniform):
        atoms = super().step(c_g, previous, uniform)
        from_library = (previous[:, 0] == previous[:, 1]).flatten(1).all(1)
        atoms[(c_g[:, 1:].norm(dim=-1).amax(1) > 0.6) & ~from_library, 0] = torch.nan
        return atoms


def test_after_the_redraws_comes_the_library():
    given = beads(10)
    given[6] *= 1.5  # a stretched molecule
    roller = TemporalBuilder(SpoiledPast(), samples=2, trajectories=(0, 1), patience=Patience(redraws=3))
    built = roll(roller, [beads(10), given])
    assert roller.tally.redraws.tolist() == [0, 2 * (3 + 1)]
    assert roller.tally.reseeds.tolist() == [0, 2]
    assert roller.tally.unphysical.tolist() == [0, 0]
    assert np.isfinite(built[1].atoms).all()


@pytest.mark.parametrize("bad_value", [5.0, np.nan])
def test_what_stays_unphysical_is_counted_and_harms_no_other_frame(bad_value):
    def at_the_mark(c_g, uniform):
        return c_g[:, 1:].norm(dim=-1).amax(1) > 0.6

    given = beads(10)
    given[6] *= 1.5
    roller = TemporalBuilder(ToyTemporal(at_the_mark, bad_value), patience=Patience(redraws=2))
    (built,) = roll(roller, [given])
    assert roller.tally.unphysical.tolist() == [1]
    assert roller.tally.redraws.tolist() == [2 + 3]
    assert np.isfinite(built.atoms).all()
    distance = np.linalg.norm(built.atoms[0, :, 0] - built.atoms[0, :, 1], axis=-1)
    assert (distance[[*range(6), *range(7, 10)]] < 0.3).all()
    assert (distance[6] > 1) == np.isfinite(bad_value)


def test_empty_and_single():
    roller = TemporalBuilder(ToyTemporal())
    assert roller.reconstruct([np.empty((0, 6, 3))], [np.arange(0)])[0].atoms.shape == (1, 0, 22, 3)
    assert roller.reconstruct([beads(1)], [np.arange(1)])[0].atoms.shape == (1, 1, 22, 3)
    assert roller.tally.frames.tolist() == [1]


def test_chunks_of_different_lengths():
    given = [beads(9), beads(9, seed=1)]
    expected = roll(TemporalBuilder(ToyTemporal(rarely), seed=5, trajectories=(0, 1)), given)
    roller = TemporalBuilder(ToyTemporal(rarely), seed=5, trajectories=(0, 1))
    cuts = [(slice(0, 4), slice(0, 0)), (slice(4, 4), slice(0, 7)), (slice(4, 9), slice(7, 9))]
    pieces = []
    for both in cuts:
        chunks = [whole[cut] for whole, cut in zip(given, both, strict=True)]
        pieces.append(roller.reconstruct(chunks, [np.arange(9)[cut] for cut in both]))
    for index in range(2):
        built = np.concatenate([piece[index].atoms for piece in pieces], axis=1)
        np.testing.assert_array_equal(built, expected[index].atoms)


def test_bad_input():
    with pytest.raises(ValueError, match="redraws is -1; it must be at least 0"):
        Patience(redraws=-1)


def test_chunks_hold_at_least_one_frame():
    assert frames_per_chunk(10**7, 22) == 1
    assert frames_per_chunk(1, len(SHAPE_NM)) == FRAMES_PER_CHUNK
    assert 1 < frames_per_chunk(1000, len(SHAPE_NM)) < 100
