import torch

from backmap.models.counter_random import composed_uniform, stream_keys, trajectory_keys, uniform


def test_numbers_are_uniform_and_uncorrelated():
    draws = uniform(stream_keys(7, 4, torch.arange(50)), 1, torch.arange(1000)).double()
    assert draws.min() >= 0 and draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.003
    assert abs(draws.var() - 1 / 12) < 0.001
    for shifted in (draws.roll(1, 0), draws.roll(1, 1), draws.roll(1, 2)):
        assert abs(((draws - 0.5) * (shifted - 0.5)).mean()) < 0.001
    counts = torch.histc(draws.float(), 64, 0, 1)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 110  # chi-squared, 63 degrees of freedom


def test_a_frame_keeps_its_numbers_in_any_chunk():
    whole = uniform(stream_keys(5, 3, torch.arange(20)), 2, torch.arange(6).view(2, 3))
    part = uniform(stream_keys(5, 2, torch.arange(12, 12 + 4)), 2, torch.arange(6).view(2, 3))
    assert torch.equal(whole[:2, 12:16], part)


def test_seed_purpose_and_sample_matter():
    first = uniform(stream_keys(1, 2, torch.arange(1)), 1, torch.arange(8))
    assert not torch.equal(first, uniform(stream_keys(2, 2, torch.arange(1)), 1, torch.arange(8)))
    assert not torch.equal(first, uniform(stream_keys(1, 2, torch.arange(1)), 2, torch.arange(8)))
    assert not torch.equal(first[0], first[1])


def test_neighbouring_seeds_share_no_sample():
    keys = torch.cat([stream_keys(seed, 8, torch.arange(16)).flatten() for seed in range(16)])
    assert len(keys.unique()) == len(keys)


def test_largest_seed():
    assert uniform(stream_keys(2**63 - 1, 1, torch.arange(1)), 0, torch.arange(3)).shape == (1, 1, 3)


def test_a_trajectory_keeps_its_numbers_in_any_batch():
    numbers = torch.tensor([0, 3, 9])
    frames = torch.full((len(numbers),), 7)
    several, alone = trajectory_keys(5, numbers, 4, frames), trajectory_keys(5, numbers[1:2], 2, frames[:1])
    assert several.shape == (3, 4) and len(several.unique()) == 12
    assert torch.equal(several[1:2, :2], alone)
    assert not (several == trajectory_keys(5, numbers, 4, frames + 1)).any()
    rows = several.flatten()
    drawn = uniform(rows, 1, torch.arange(6))
    assert torch.equal(drawn[[2, 5]], uniform(rows[[2, 5]], 1, torch.arange(6)))


def test_operations_of_pytorch_draw_the_same_numbers():
    keys = stream_keys(-5, 3, torch.arange(4))
    counters = torch.arange(6).view(2, 3)
    expected = uniform(keys, 2, counters)
    assert torch.equal(composed_uniform(keys, 2, counters), expected)
    assert torch.equal(composed_uniform(keys, torch.tensor(2), counters), expected)
