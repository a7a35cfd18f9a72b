"""Random streams that change slowly in time."""

import math

import torch

from backmap.models.wandering import fresh_time, wandering_streams


def test_streams_turn_into_the_next_and_meet_at_the_end_of_a_period():
    elapsed = torch.tensor([0.0, 5.0, 19.99, 20.0, 30.0], dtype=torch.float64)
    streams, turns = wandering_streams(3, 2, elapsed, 20.0)
    assert streams.shape == (2, 2, 5)
    assert torch.equal(streams[:, :, 0], streams[:, :, 1]) and torch.equal(streams[1, :, 2], streams[0, :, 3])
    assert torch.allclose(turns[[0, 1, 3, 4]], torch.tensor([0, 1, 0, 2], dtype=torch.float64) * math.pi / 8)
    assert len(torch.unique(streams)) == 2 * 3


def test_nothing_is_shared_after_a_jump():
    for elapsed in (0.0, 7.0, 20.0, 1e6 + 3):
        later = fresh_time(elapsed, 20.0)
        times = torch.tensor([elapsed, later], dtype=torch.float64)
        (first, second), _ = wandering_streams(0, 1, times, 20.0)
        assert later > elapsed
        assert {int(first[0, 0]), int(second[0, 0])}.isdisjoint({int(first[0, 1]), int(second[0, 1])})
