"""Uniform random numbers that depend on a key and a counter, not on the order in which they are requested."""

import torch
from torch import Tensor


def counter_uniform(keys: Tensor, purpose: int, counters: Tensor) -> Tensor:
    """Draw one uniform number in [0, 1) for each key and counter.

    Each number is a hash of its key, the purpose and its counter: SplitMix64 (Steele, Lea and Flood, OOPSLA
    2014) absorbs one word after another, then zero, and the highest 24 bits remain.

    Parameters
    ----------
    keys : Tensor (*), int64
        Any numbers.
    purpose : int
        Separates the uses of one key.
    counters : Tensor of any shape, int64
        Any numbers.

    Returns
    -------
    Tensor, shape of the keys followed by that of the counters, float32
        The same on the CPU and on CUDA.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype.
    ValueError
        If the counters are on another device.
    """
    return torch.ops.backmap.counter_uniform(keys, purpose, counters)
