"""Terms put together from residues and pairs are those that are listed for the whole protein."""

import numpy as np
import pytest
import torch

from backmap.chemistry import Topology, penalty_terms
from backmap.models.beads.local_terms import LocalTerms
from backmap.models.chain import Chain


@pytest.mark.parametrize("rings", [(), (1,)])
def test_terms_are_those_of_the_protein(rings):
    random = np.random.default_rng(0)
    types = np.concatenate([np.arange(20), random.integers(0, 20, 200)])
    chains = np.repeat([0, 1, 2], [100, 50, 70])
    topology = Topology(types, chains, ("A", "B", "C"), np.arange(220), rings=rings)
    linked = topology.linked()
    linked[[5, 33, 180]] = False
    expected = penalty_terms(topology, linked, dtype=np.float32)
    found = LocalTerms()(Chain.from_arrays(types, chains, linked, "cpu"))
    assert torch.equal(found.pop("present")[:, -1], torch.from_numpy(~linked))
    for name, term in found.items():
        assert np.array_equal(term.numpy(), expected[name]) and term.numpy().dtype == expected[name].dtype
