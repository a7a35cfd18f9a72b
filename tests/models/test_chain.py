"""Which residues are bonded, as exported models decide it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backmap.chemistry import Topology
from backmap.models.chain import linked_residues


@pytest.mark.parametrize("seed", range(5))
def test_links_are_those_of_the_topology(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 20, 4)
    topology = Topology.from_sequences(*("A" * size for size in sizes))
    ways = rng.normal(size=(3, topology.n_residues, 3))
    ways *= rng.uniform(0.15, 0.6, (3, topology.n_residues, 1)) / np.linalg.norm(ways, axis=-1, keepdims=True)
    c_alpha = np.cumsum(ways, axis=1)
    linked = linked_residues(torch.from_numpy(c_alpha), torch.from_numpy(topology.chain_index))
    assert linked.tolist() == topology.linked(c_alpha).tolist()
    assert not linked.all() and linked.any()


def test_soft_bonds_are_no_breaks_in_any_frame():
    rng = np.random.default_rng(0)
    distances = np.clip(rng.normal(0.38, 0.0174, (200, 300)), 0.3, 0.5)
    c_alpha = torch.zeros(200, 301, 3, dtype=torch.float64)
    c_alpha[:, 1:, 0] = torch.from_numpy(np.cumsum(distances, axis=1))
    chain_index = torch.zeros(301, dtype=torch.int64)
    for frame in range(200):
        assert linked_residues(c_alpha[frame : frame + 1], chain_index).sum() == 300
