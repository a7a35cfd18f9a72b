"""Parts of trajectories with the numbers of their frames."""

from __future__ import annotations

import numpy as np


def part(
    trajectories: list[np.ndarray], first: int = 0, end: int | None = None
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Give some frames of every trajectory, and their numbers."""
    numbers = [np.arange(len(whole))[first:end] for whole in trajectories]
    return [whole[first:end] for whole in trajectories], numbers
