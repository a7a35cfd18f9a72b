"""Training examples in random batches, and the mean loss over all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from backmap.errors import InputError
from backmap.models.tensor_tuples import count, take
from backmap.training.loop import LoopConfig

Examples = TypeVar("Examples")


def require_examples(examples: Examples, kind: str) -> Examples:
    """Return examples, or refuse data that hold none of a kind.

    Raises
    ------
    InputError
        If there is no example.
    """
    if not count(examples):
        raise InputError(f"the structures held out contain no {kind}: there is nothing to learn from")
    return examples


def random_batches(
    examples: Examples, config: LoopConfig, generator: np.random.Generator
) -> Iterator[tuple[Examples, int]]:
    """Whole batches in random order, and their size; all examples in one batch if they do not fill it."""
    size = min(config.batch, count(examples))
    for _ in range(config.passes):
        order = torch.from_numpy(generator.permutation(count(examples)))
        for rows in order.split(size)[: len(order) // size]:
            yield take(examples, rows), size


def mean_loss(examples: Examples, loss: Callable[[Examples], Tensor], batch: int = 4096) -> float:
    """Mean of a loss over all examples."""
    size, total = count(examples), 0.0
    for rows in torch.arange(size).split(batch):
        total += float(loss(take(examples, rows))) * len(rows)
    return total / size
