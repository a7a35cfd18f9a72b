"""Nested named tuples of tensors (n, ...), split and joined along n."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


def _map(function: Callable[..., Tensor], *values: Any) -> Any:
    """Apply a function to the matching tensors of nested named tuples."""
    if isinstance(values[0], Tensor):
        return function(*values)
    return type(values[0])(*(_map(function, *parts) for parts in zip(*values, strict=True)))


def take(batch: Batch, rows: Tensor | slice) -> Batch:
    """Return some rows, as a view if `rows` is a slice."""
    return _map(lambda tensor: tensor[rows], batch)


def concatenate(parts: Sequence[Batch]) -> Batch:
    """Join batches."""
    return _map(lambda *tensors: torch.cat(tensors), *parts)


def repeat_rows(batch: Batch, times: int) -> Batch:
    """Repeat each row ``times`` times; without a copy if ``times`` is 1."""
    return batch if times == 1 else _map(lambda tensor: tensor.repeat_interleave(times, 0), batch)


def count(batch: Any) -> int:
    """Return the number of rows."""
    return len(batch) if isinstance(batch, Tensor) else count(batch[0])


def split(batch: Batch, size: int) -> list[Batch]:
    """Split a batch into views of up to ``size`` rows."""
    return [take(batch, slice(first, first + size)) for first in range(0, count(batch), size)]
