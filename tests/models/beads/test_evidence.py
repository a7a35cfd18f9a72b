"""Beads as weighted means of atoms."""

import pytest
import torch

from backmap.chemistry import Topology
from backmap.chemistry.bead_mapping import load_mapping
from backmap.models.beads.evidence import bead_table, image, weighted_sum

SEQUENCE = "ACDEFGHIKLMNPQRSTVWY" * 5


@pytest.mark.parametrize("mapping", ["martini3", "residue-centre", "backbone"])
@pytest.mark.parametrize("frames", [1, 3, 33])
def test_beads_do_not_depend_on_how_many_frames_there_are(mapping, frames):
    """To the last bit; a matrix product did not hold this for residue centres of 33 frames."""
    table = bead_table(load_mapping(mapping).layout(Topology.from_sequences(SEQUENCE).residue_types))
    atoms = 3 * torch.randn(66, len(SEQUENCE), 15, 3)
    parts = [image(atoms[first : first + frames], table) for first in range(0, 66, frames)]
    assert torch.equal(torch.cat(parts), image(atoms, table))


def test_sums_are_weighted():
    weights, atoms = torch.rand(7, 5, dtype=torch.float64), torch.randn(2, 7, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(weighted_sum(weights, atoms), torch.einsum("bs,fbsx->fbx", weights, atoms))
