"""A small protein model and made-up C-alpha traces."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import Topology
from backmap.models.protein.config import PackingConfig, PeptidePlaneConfig, ProteinConfig, SideChainConfig
from backmap.models.protein.model import ProteinModel

SMALL = ProteinConfig(
    PeptidePlaneConfig(neighbours=6, neighbour_width=16, queries=2, trunk_width=16, head_width=16),
    SideChainConfig(neighbours=6, neighbour_width=16, queries=2, trunk_width=16, head_width=16),
    PackingConfig(candidates=4, sweeps=2),
)


def make_model() -> ProteinModel:
    """An untrained model, the same in every test."""
    torch.manual_seed(0)
    return ProteinModel(SMALL).eval()


def random_walk(topology: Topology, frames: int) -> Tensor:
    """C-alphas (frames, residues, 3) float64 in nm, 0.38 apart to five decimals, chains side by side."""
    generator = torch.Generator().manual_seed(frames + topology.n_residues)
    steps = torch.randn(frames, topology.n_residues, 3, generator=generator, dtype=torch.float64)
    steps[..., 0] += 2.0
    walk = torch.cumsum(0.38 * steps / steps.norm(dim=-1, keepdim=True), dim=1)
    walk = walk + torch.from_numpy(topology.chain_index)[:, None] * torch.tensor([0.0, 1.5, 0.0])
    return walk.round(decimals=5)


def chains_of(topology: Topology) -> tuple[Tensor, Tensor]:
    """Residue types and chain offsets of a topology."""
    ends = np.flatnonzero(topology.chain_ends) + 1
    return torch.from_numpy(topology.residue_types), torch.from_numpy(np.append(0, ends))
