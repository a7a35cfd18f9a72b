"""Nucleic acids are built on their beads, and are sound molecules."""

import numpy as np
import pytest
import torch

from backmap.chemistry.nucleic_mapping import shipped_nucleic_mappings
from backmap.evaluation.nucleic_acids import score_nucleic
from tests.nucleic import DNA, RNA, Duplex

FRAME = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize("path", [DNA, RNA], ids=["dna", "rna"])
@pytest.mark.parametrize("mapping", shipped_nucleic_mappings())
def test_molecules_are_sound_and_lie_on_their_beads(mapping, path):
    duplex = Duplex.read(path)
    builder, beads = duplex.builder(mapping), duplex.beads(mapping)
    built = builder.reconstruct(beads, numbers=FRAME, samples=2, seed=1)
    assert builder.image_distance(built, beads).max() < 1e-3
    score = score_nucleic(built[:, 0].double().numpy(), np.repeat(duplex.atoms, 2, axis=0), duplex.topology)
    assert score.bonds_off < 2 and score.wrong_hands == 0
    several = len(duplex.layout(mapping).names) > duplex.topology.n_nucleotides
    assert score.rmsd_nm < (0.15 if several else 0.45)


@pytest.mark.parametrize("mapping", ["3spn2", "nucleotide-p"])
def test_frames_do_not_depend_on_their_batch_or_on_motion(mapping):
    duplex = Duplex.read(DNA)
    builder, beads = duplex.builder(mapping), duplex.beads(mapping)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))[0]
    turn = turn * torch.linalg.det(turn)
    frames = torch.cat([beads, beads @ turn + 1.0])
    both = builder.reconstruct(frames, numbers=torch.tensor([4, 4]), samples=2, seed=0)
    alone = builder.reconstruct(beads, numbers=torch.tensor([4]), samples=2, seed=0)
    torch.testing.assert_close(both[:, :1], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(both[:, 1], both[:, 0] @ turn + 1.0, atol=5e-3, rtol=0)


def test_samples_differ_and_seeds_repeat():
    duplex = Duplex.read(RNA)
    builder, beads = duplex.builder("nucleotide-p"), duplex.beads("nucleotide-p")
    one, two = (builder.reconstruct(beads, numbers=FRAME, samples=3, seed=7) for _ in range(2))
    assert torch.equal(one, two)
    assert (one[0] - one[1]).abs().max() > 0.02
    other = builder.reconstruct(beads, numbers=FRAME, samples=3, seed=8)
    assert not torch.equal(one, other)
