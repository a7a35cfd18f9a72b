"""Nucleic acids are built on their beads, and are sound molecules."""

import pytest
import torch

from backmap.chemistry.nucleic_mapping import shipped_nucleic_mappings
from backmap.chemistry.nucleotides import NUCLEOTIDE_SLOTS
from backmap.evaluation.nucleic_acids import score_nucleic
from backmap.models.nucleic.pairing import BasePairs
from tests.nucleic import DNA, RNA, Duplex

FRAME = torch.zeros(1, dtype=torch.int64)


@pytest.mark.parametrize(
    ("mapping", "path"),
    [*((name, DNA) for name in shipped_nucleic_mappings()), ("3spn2", RNA), ("nucleotide-p", RNA)],
)
def test_molecules_are_sound_and_lie_on_their_beads(mapping, path):
    duplex = Duplex.read(path)
    builder, beads = duplex.builder(mapping), duplex.beads(mapping)
    built = builder.reconstruct(beads, numbers=FRAME, samples=1, seed=1)
    assert builder.image_distance(built, beads).max() < 1e-3
    score = score_nucleic(built[:, 0].double().numpy(), duplex.atoms, duplex.topology)
    assert score.bonds_off < 2 and score.wrong_hands == 0
    several = len(duplex.layout(mapping).names) > duplex.topology.n_nucleotides
    assert score.rmsd_nm < (0.15 if several else 0.45)


@pytest.mark.parametrize("mapping", ["p+base", "nucleotide-p"])
def test_frames_do_not_depend_on_their_batch_or_on_motion(mapping):
    duplex = Duplex.read(DNA)
    builder, beads = duplex.builder(mapping), duplex.beads(mapping)
    generator = torch.Generator().manual_seed(3)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator))[0]
    turn = turn * torch.linalg.det(turn)
    noisy = beads + 0.01 * torch.randn(beads.shape, generator=generator)
    frames, numbers = torch.cat([noisy, beads, beads @ turn + 1.0]), torch.tensor([0, 4, 4])
    together = builder.reconstruct(frames, numbers=numbers, samples=1, seed=0)
    alone = builder.reconstruct(noisy, numbers=numbers[:1], samples=1, seed=0)
    assert torch.equal(together[:, :1], alone)
    torch.testing.assert_close(together[:, 2], together[:, 1] @ turn + 1.0, atol=5e-3, rtol=0)


def test_pairs_are_those_of_all_distances_also_across_boundaries():
    duplex = Duplex.read(DNA)
    pairs = BasePairs(duplex.topology, "cpu")
    atoms = torch.from_numpy(duplex.atoms).nan_to_num().float()
    found = pairs.find(atoms)
    names = [duplex.topology.name(number)[-1] for number in range(12)]
    joined = {tuple(ends // NUCLEOTIDE_SLOTS for ends in bond) for bond in found.ends.tolist()}
    assert {tuple(sorted(pair)) for pair in joined} == {(row, 11 - row) for row in range(6)}
    assert all({names[one], names[other]} in ({"A", "T"}, {"C", "G"}) for one, other in joined)
    box = torch.tensor([[[5.0, 0.0, 0.0], [0.0, 5.0, 0.0], [1.0, 0.0, 5.0]]])
    apart = atoms.clone()
    apart[:, 6:] += box[:, None, 2] - 2 * box[:, None, 0]
    across = pairs.find(apart, box)
    assert torch.equal(across.ends, found.ends) and not len(pairs.find(apart).ends)
    zero = torch.zeros(1, 12 * NUCLEOTIDE_SLOTS, 3)
    force = pairs.add_gradient(zero.clone(), atoms, found)
    torch.testing.assert_close(pairs.add_gradient(zero.clone(), apart, across), force, atol=1e-2, rtol=0)
    assert force.abs().max() > 1


def test_samples_differ_and_seeds_repeat():
    duplex = Duplex.read(RNA)
    builder, beads = duplex.builder("nucleotide-p"), duplex.beads("nucleotide-p")
    one, two = (builder.reconstruct(beads, numbers=FRAME, samples=3, seed=7) for _ in range(2))
    assert torch.equal(one, two)
    assert (one[0] - one[1]).abs().max() > 0.02
    other = builder.reconstruct(beads, numbers=FRAME, samples=3, seed=8)
    assert not torch.equal(one, other)
