"""Helpers of the operator tests, as fixtures."""

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor


@pytest.fixture
def rotation() -> Tensor:
    """A random proper rotation (3, 3), float64."""
    q, r = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))
    q = q * r.diagonal().sign()
    return q if torch.linalg.det(q) > 0 else -q


@pytest.fixture
def scattered() -> Callable[[Tensor], Tensor]:
    """Makes a copy of a tensor that is not contiguous in any dimension longer than 1."""

    def scatter(tensor: Tensor) -> Tensor:
        wide = tensor.repeat_interleave(2, -1) if tensor.dim() else tensor
        turned = wide.movedim(0, -1).contiguous().movedim(-1, 0)
        return turned[..., ::2] if tensor.dim() else tensor

    return scatter


@pytest.fixture
def to_device() -> Callable[[Sequence, torch.device | str], list]:
    """Moves the tensors among arguments to a device."""
    return lambda arguments, device: [a.to(device) if isinstance(a, Tensor) else a for a in arguments]


@pytest.fixture
def allocated() -> Callable[[Callable[[], object]], int]:
    """Most bytes of CPU memory that torch holds at any time of a call, beyond those it held before."""

    def peak(call: Callable[[], object]) -> int:
        call()  # what is allocated once only does not count
        activities = [torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
            kept = call()
        events = profile.profiler.kineto_results.events()
        changes = [e.nbytes() for e in events if e.name() == "[memory]"]
        del kept
        return max(itertools.accumulate(changes), default=0)

    return peak


@pytest.fixture
def boxes() -> dict[str, Tensor]:
    """Periodic boxes: of many cells for contacts of 0.17 nm, and of one or two along an axis."""
    rows = {
        "orthorhombic": [[1.0, 0, 0], [0, 0.8, 0], [0, 0, 1.2]],
        "triclinic": [[1.0, 0, 0], [-0.4, 0.9, 0], [0.45, -0.4, 0.8]],
        "one cell": [[0.36, 0, 0], [0.17, 0.355, 0], [-0.17, 0.17, 0.4]],
        "two cells": [[0.75, 0, 0], [0.3, 0.8, 0], [-0.3, 0.3, 0.75]],
        "long and narrow": [[4.0, 0, 0], [2.0, 0.4, 0], [-2.0, 0.2, 0.4]],
    }
    return {name: torch.tensor(box, dtype=torch.float64) for name, box in rows.items()}
