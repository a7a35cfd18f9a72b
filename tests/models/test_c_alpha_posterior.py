"""C-alphas drawn given beads."""

import numpy as np
import pytest
import torch

from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain


@pytest.fixture
def beads() -> torch.Tensor:
    """Noisy beads (20, 50, 3) of walks in nm."""
    steps = torch.nn.functional.normalize(torch.randn(20, 50, 3, generator=torch.manual_seed(1)), dim=-1)
    return 0.38 * torch.cumsum(steps, dim=1)


@pytest.mark.parametrize("frames_at_once", [1, 3])
def test_other_frames_change_nothing(beads, frames_at_once):
    """Neither how many frames are drawn at once nor how they lie in memory."""
    residues = beads.shape[1]
    chain = Chain.from_arrays(
        np.arange(residues) % 20, np.zeros(residues, dtype=int), np.arange(residues) < residues - 1, "cpu"
    )
    posterior = CAlphaPosterior()
    in_rows, in_columns = beads, beads.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    expected, moves = posterior(in_rows, chain, torch.full((2, len(beads)), 5))
    assert moves.all()
    parts = [
        posterior(part, chain, torch.full((2, len(part)), 5))[0] for part in in_columns.split(frames_at_once)
    ]
    np.testing.assert_array_equal(torch.cat(parts, dim=1), expected)
