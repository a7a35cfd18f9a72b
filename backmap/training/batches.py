"""Examples in nested named tuples of tensors (n, ...): cut, joined, and given in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from backmap.training.loop import LoopConfig

Examples = TypeVar("Examples")


def _map(function: Callable[..., Tensor], *values: Any) -> Any:
    """Apply a function to the matching tensors of nested named tuples."""
    if isinstance(values[0], Tensor):
        return function(*values)
    return type(values[0])(*(_map(function, *parts) for parts in zip(*values, strict=True)))


def take(examples: Examples, rows: Tensor) -> Examples:
    """Examples of some rows."""
    return _map(lambda tensor: tensor[rows], examples)


def concatenate(parts: Sequence[Examples]) -> Examples:
    """Join examples."""
    return _map(lambda *tensors: torch.cat(tensors), *parts)


def count(examples: Any) -> int:
    """Number of examples."""
    return len(examples) if isinstance(examples, Tensor) else count(examples[0])


def random_batches(
    examples: Examples, config: LoopConfig, generator: np.random.Generator
) -> Iterator[tuple[Examples, int]]:
    """Whole batches in random order, and their size."""
    for _ in range(config.passes):
        order = torch.from_numpy(generator.permutation(count(examples)))
        for rows in order.split(config.batch)[: len(order) // config.batch]:
            yield take(examples, rows), config.batch


def mean_loss(examples: Examples, loss: Callable[[Examples], Tensor], batch: int = 4096) -> float:
    """Mean of a loss over all examples."""
    size, total = count(examples), 0.0
    for rows in torch.arange(size).split(batch):
        total += float(loss(take(examples, rows))) * len(rows)
    return total / size
