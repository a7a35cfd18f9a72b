"""C-alphas of frames: what does not depend on how they are computed."""

import torch

from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain


def test_threads_do_not_change_the_noise_of_large_frames():
    """Sums over so many residues are shared among threads."""
    generator = torch.Generator().manual_seed(5)
    n_residues, posterior, before = 100_000, CAlphaPosterior(), torch.get_num_threads()
    linked = torch.ones(n_residues, dtype=torch.bool)
    linked[-1] = False
    chain = Chain(
        torch.zeros(n_residues, dtype=torch.int64), torch.zeros(n_residues, dtype=torch.int64), linked
    )
    try:
        for _ in range(40):
            lengths = 0.38 + 0.0174 * torch.randn(n_residues, generator=generator)
            beads = torch.zeros(1, n_residues, 3)
            beads[0, ::2, 0] = lengths[::2]
            spreads = []
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                spreads.append(posterior.bond_spread(beads, chain))
            assert torch.equal(spreads[0], spreads[1]) and torch.equal(spreads[0], spreads[2])
            assert 0.01 < spreads[0] < 0.02
    finally:
        torch.set_num_threads(before)
