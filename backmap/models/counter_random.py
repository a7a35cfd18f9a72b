"""Random numbers that depend on their purpose, not on the order in which they are requested.

Each number is a hash of (seed, sample, frame, purpose, residue, draw), and of the trajectory where several
are built together, so that batch size, chunking and resumption do not affect results. The hash is SplitMix64
(Steele, Lea and Flood, OOPSLA 2014), absorbing one word at a time.
"""

from __future__ import annotations

import torch
from torch import Tensor

import backmap.ops  # noqa: F401  # registers the operators


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of an int64."""
    return (x >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _absorb(state: Tensor, word: Tensor) -> Tensor:
    """Absorb a word; in place from the first step on, since the states of many numbers exceed the caches."""
    x = (state ^ word).add_(-7046029254386353131)  # 0x9E3779B97F4A7C15 as a signed integer
    x.bitwise_xor_(_shift_right(x, 30)).mul_(-4658895280553007687)  # 0xBF58476D1CE4E5B9
    x.bitwise_xor_(_shift_right(x, 27)).mul_(-7723592293110705685)  # 0x94D049BB133111EB
    return x.bitwise_xor_(_shift_right(x, 31))


def stream_keys(seed: int, samples: int, numbers: Tensor) -> Tensor:
    """Return one key per sample and frame.

    Parameters
    ----------
    seed : int
        Any 64-bit integer.
    samples : int
        Keys per frame.
    numbers : Tensor, (frames,) int64
        Number of each frame in its trajectory. The keys are on its device.

    Returns
    -------
    Tensor, (samples, frames) int64
    """
    state = torch.zeros((samples, len(numbers)), dtype=torch.int64, device=numbers.device) + seed
    # The constant of the hash spreads seeds, so that neighbours do not share samples in another order.
    state.mul_(-7046029254386353131)
    sample = torch.arange(samples, device=numbers.device)[:, None]
    return _absorb(_absorb(state, sample), numbers)


def trajectory_keys(seed: int, trajectories: Tensor, samples: int, numbers: Tensor) -> Tensor:
    """Return one key per trajectory and sample, for one frame of each trajectory.

    Parameters
    ----------
    seed : int
        Any 64-bit integer.
    trajectories : Tensor, (trajectories,) int64
        Number of each trajectory. The keys are on its device.
    samples : int
        Keys per trajectory.
    numbers : Tensor, (trajectories,) int64
        Number of the frame in each trajectory.

    Returns
    -------
    Tensor, (trajectories, samples) int64
    """
    return _absorb(stream_keys(seed, samples, numbers).T, trajectories[:, None])


def residue_keys(keys: Tensor, residues: Tensor) -> Tensor:
    """Return one key per stream and residue.

    Parameters
    ----------
    keys : Tensor, (...) int64
        From :func:`stream_keys`.
    residues : Tensor, (residues,) int64
        Number of each residue.

    Returns
    -------
    Tensor, (..., residues) int64
    """
    return _absorb(keys.unsqueeze(-1), residues)


def uniform(keys: Tensor, purpose: int, counters: Tensor) -> Tensor:
    """Draw uniform numbers in [0, 1).

    Parameters
    ----------
    keys : Tensor, (...) int64
        From :func:`stream_keys` or :func:`trajectory_keys`.
    purpose : int
        Separates the uses of one key.
    counters : Tensor, (...) int64
        One number is drawn per key and counter (residue, draw ...).

    Returns
    -------
    Tensor, shape of the keys followed by the shape of the counters, float32
    """
    return torch.ops.backmap.counter_uniform(keys, purpose, counters)


def composed_uniform(keys: Tensor, purpose: int, counters: Tensor) -> Tensor:
    """Draw the numbers of :func:`uniform` by operations of PyTorch.

    Packages compiled ahead of time then need no other library. The purpose may also be a tensor () int64.
    """
    state = _absorb(keys, torch.zeros_like(keys) + purpose)
    for _ in range(counters.dim()):
        state = state.unsqueeze(-1)
    bits = _absorb(_absorb(state, counters), torch.zeros_like(counters))
    return _shift_right(bits, 40).to(torch.float32) * (1.0 / (1 << 24))
