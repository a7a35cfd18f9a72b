"""C-alphas of frames: what does not depend on how they are computed."""

import pytest
import torch

from backmap.inference.c_alphas import CAlphaDrawer, CAlphaRule
from backmap.models.chain import Chain


@pytest.fixture
def large_frame() -> tuple[torch.Tensor, Chain]:
    """Soft beads of 400 chains, too many for one thread to sum over, (1, 40000, 3) nm."""
    generator = torch.Generator().manual_seed(5)
    steps = torch.randn(400, 100, 3, generator=generator)
    lengths = 0.38 + 0.0174 * torch.randn(400, 100, 1, generator=generator)
    steps *= lengths / steps.norm(dim=-1, keepdim=True)
    walks = steps.cumsum(dim=1) + 30 * torch.rand(400, 1, 3, generator=generator)
    chains = torch.arange(400).repeat_interleave(100)
    linked = torch.arange(1, 40_001) % 100 > 0
    types = torch.randint(20, (40_000,), generator=generator)
    return walks.reshape(1, -1, 3), Chain(types, chains, linked)


def test_threads_change_nothing(large_frame):
    beads, chain = large_frame
    drawer = CAlphaDrawer(CAlphaRule(), chain)
    before, drawn = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            drawn.append(drawer.draw(beads, samples=1, seed=0))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(drawn[0], drawn[1]) and torch.equal(drawn[0], drawn[2])
    assert (drawn[0][0] - beads).norm(dim=-1).mean() > 0.01
