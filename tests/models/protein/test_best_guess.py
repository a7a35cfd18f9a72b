import math

import pytest
import torch

from backmap.chemistry import RESIDUE_INDEX, SLOT_CA, SLOT_CB
from backmap.inference.protein import ProteinBuilder
from backmap.models.chain import Chain
from backmap.models.protein.backbone import Backbone
from backmap.models.protein.best_guess import (
    HALF_WELL,
    BestGuess,
    _AngleChains,
    most_probable_angles,
    most_probable_torsions,
)
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.peptide_planes import take_peptides


@pytest.fixture
def chain(two_helices) -> Chain:
    topology, _ = two_helices
    return Chain.from_arrays(
        topology.residue_types, topology.chain_index, topology.linked(), torch.device("cpu")
    )


@pytest.fixture
def encoded(model, chain, two_helices):
    _, c_alpha = two_helices
    sharp = model.peptide_planes.eval()
    with torch.no_grad():
        sharp.output.weight *= 20  # so that neighbours matter
        return sharp.encode_all(c_alpha[None], chain, 512)[0]


def transitions(network, encoded, residue: int) -> torch.Tensor:
    """Log-probabilities (previous, classes) of one peptide."""
    here = take_peptides(encoded, torch.tensor([residue]))
    here = type(here)(*(part.unsqueeze(2) for part in here))
    logits = network.angle_logits(here, network.class_waves[1], network.class_waves[2])
    return torch.log_softmax(logits, dim=-1)[0, 0]


def near(network, angle: torch.Tensor) -> torch.Tensor:
    """Which classes lie in the well around an angle."""
    middles = torch.atan2(network.class_waves[2], network.class_waves[1])
    return (torch.remainder(middles - angle + math.pi, 2 * math.pi) - math.pi).abs() < HALF_WELL + 1e-3


@torch.no_grad()
def test_two_angles_are_the_most_probable_together(model, encoded):
    """By trying all pairs of classes."""
    network = model.peptide_planes
    segments = torch.tensor([[0, 1], [20, -1]])
    chains = _AngleChains(network, encoded, segments)
    chosen = chains.most_probable_classes()[0][0]
    places = torch.arange(network.classes)
    apart = torch.remainder(places[:, None] - places + 36, 72) - 36
    kernel = torch.exp(-0.5 * (apart * 5.0 / 20.0) ** 2)
    kernel = kernel / kernel.sum(dim=1, keepdim=True)
    first, second = ((transitions(network, encoded, i).exp() @ kernel).log() for i in (0, 1))
    together = first[0, :, None] + second
    assert chosen[0] * network.classes + chosen[1] == together.argmax()
    lone = (transitions(network, encoded, 20).exp() @ kernel)[0]
    assert chosen[20] == lone.argmax()


@torch.no_grad()
def test_angles_are_means_of_their_wells(model, encoded):
    """By summing over all pairs of classes in the wells."""
    network = model.peptide_planes
    segments = torch.tensor([[0, 1]])
    chosen, _, _ = _AngleChains(network, encoded, segments).most_probable_classes()
    angles = most_probable_angles(network, encoded, segments)[0][0]
    middles = torch.atan2(network.class_waves[2], network.class_waves[1])
    inside = [near(network, middles[chosen[0, i]]) for i in (0, 1)]
    joint = (transitions(network, encoded, 0)[0, :, None] + transitions(network, encoded, 1)).exp()
    joint = joint * inside[0][:, None] * inside[1]
    for angle, share in ((angles[0], joint.sum(dim=1)), (angles[1], joint.sum(dim=0))):
        mean = torch.atan2((share * middles.sin()).sum(), (share * middles.cos()).sum())
        assert abs(angle - mean) < 1e-4


@torch.no_grad()
def test_known_angles_are_kept_and_seen_by_the_next(model, encoded):
    network = model.peptide_planes
    segments = torch.tensor([[0, 1, 2]])
    shape = encoded.context.shape[:2]
    followers = []
    for known in torch.linspace(-3, 3, 7):
        angle = torch.full(shape, torch.nan)
        angle[0, 1] = known
        informed = network.inform(encoded, angle, torch.zeros_like(encoded.ahead), torch.zeros(*shape, 3))
        angles, alignment = most_probable_angles(network, informed, segments)
        assert angles[0, 1] == known and alignment[0, 1] == 1 and alignment[0, 2] < 1
        followers.append(float(angles[0, 2]))
    assert max(followers) - min(followers) > 0.01


@torch.no_grad()
def test_torsions_are_sorted_by_the_probability_of_their_wells(model):
    network = model.side_chains.eval()
    types = torch.tensor([RESIDUE_INDEX[name] for name in ("GLY", "SER", "PHE", "LYS")])
    hidden = 5 * torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    likely = most_probable_torsions(network, hidden, types, 48)
    assert likely.torsions.shape == (4, 48, 4)
    assert (likely.energies.diff(dim=1) >= 0).all() and (likely.energies[:, 0] >= 0).all()
    assert (likely.torsions[0] == 0).all() and likely.energies[0, 0] == 0
    sound = likely.energies[1] < 50
    middles = likely.energies[1][sound].exp().reciprocal().sum()
    assert abs(middles / (1 + 2 * math.exp(-0.5)) - 1) < 2e-3  # all wells, with both sides of each
    known = torch.full((4, 4), torch.nan)
    known[3, 1] = 1.234
    fixed = most_probable_torsions(network, hidden, types, 48, known)
    assert (fixed.torsions[3, :, 1] == known[3, 1]).all()
    assert torch.equal(fixed.torsions[:3], likely.torsions[:3])


def test_frames_are_built_alike_alone_and_together(model, two_helices):
    topology, c_alpha = two_helices
    builder = ProteinBuilder(model, topology, topology.linked(), best=True)
    frames = torch.stack([c_alpha, c_alpha + 0.003 * torch.randn_like(c_alpha)])
    both = builder.reconstruct(frames, numbers=torch.arange(2), samples=1, seed=0)
    alone = builder.reconstruct(frames[1:], numbers=torch.tensor([77]), samples=1, seed=5)
    assert both.shape == (1, 2, 25, 15, 3)
    torch.testing.assert_close(both[:, 1:], alone, rtol=0, atol=1e-5)
    assert torch.equal(both[0, :, :, SLOT_CA], frames)
    built = torch.from_numpy(topology.atom_mask)
    assert (both[0, 0] != 0).any(dim=-1)[built].all()


def test_given_atoms_are_kept(model, two_helices):
    topology, c_alpha = two_helices
    linked = topology.linked()
    drawn = ProteinBuilder(model, topology, linked).reconstruct(
        c_alpha[None], numbers=torch.arange(1), samples=1, seed=3
    )[0]
    present = torch.zeros(25, 15, dtype=torch.bool)
    present[:, :SLOT_CB] = True
    present[5:8] = torch.from_numpy(topology.atom_mask)[5:8]
    builder = ProteinBuilder(model, topology, linked, present=present.numpy(), best=True)
    guess = builder.reconstruct(c_alpha[None], numbers=torch.arange(1), samples=1, seed=0, given=drawn)[0]
    assert torch.equal(guess[:, present], drawn[:, present])
    assert not torch.equal(guess, drawn)


@torch.no_grad()
def test_packing_finds_less_energy_than_the_first_candidates(model, chain, two_helices):
    _, c_alpha = two_helices
    guess = BestGuess(model.eval())
    atoms = guess.build(c_alpha[None], chain).atoms
    backbone = Backbone(atoms[:, :, :4], atoms[:, :, 14])
    candidates, energies = guess._side_chains(backbone, chain, None, None)
    uniforms = torch.rand(1, 3, 4, 25, generator=torch.Generator().manual_seed(0))

    def energy(choice: torch.Tensor) -> float:
        index = choice[:, :, None, None, None].expand(-1, -1, 1, 10, 3)
        only, own = candidates.gather(2, index), energies.gather(2, choice[:, :, None])
        _, found = model.packer.choose(only, backbone, chain, uniforms[:, 0], None, None)
        return float(found.sum() / 2 + own.sum())

    packed = model.packer.minimise(candidates, energies, backbone, chain, uniforms, (1.0, 4.0, 50.0))
    same = (candidates == packed.unsqueeze(2)).flatten(3).all(dim=-1)
    assert same.any(dim=2).all()
    chosen = same.int().argmax(dim=2)
    assert energy(chosen) <= energy(torch.zeros_like(chosen))


def test_c_alphas_alone_are_no_given_atoms(model, chain, two_helices):
    _, c_alpha = two_helices
    guess = BestGuess(model.eval())
    nothing = Given(torch.zeros(1, 25, 15, 3), torch.zeros(25, 15, dtype=torch.bool))
    with torch.no_grad():
        expected, actual = guess.build(c_alpha[None], chain), guess.build(c_alpha[None], chain, nothing)
    assert torch.equal(actual.atoms, expected.atoms)


@torch.no_grad()
def test_deviations_are_those_of_draws_from_the_same_distributions(model, chain, two_helices):
    """Root mean squares over draws, for glycine and alanine."""
    _, c_alpha = two_helices
    guess = BestGuess(model.eval()).build(c_alpha[None], chain)
    topology, _ = two_helices
    drawn = ProteinBuilder(model, topology, topology.linked()).reconstruct(
        c_alpha[None], numbers=torch.arange(1), samples=200, seed=0
    )
    squares = (drawn[:, 0] - guess.atoms).square().sum(dim=-1).mean(dim=0)
    present = torch.from_numpy(topology.atom_mask)
    measured = ((squares * present).sum(dim=1) / present.sum(dim=1)).sqrt()
    small = present.sum(dim=1) <= 5  # no torsion, no packing
    inner = chain.linked & chain.has_neighbour(-1) & small
    assert inner.sum() >= 2
    ratio = guess.deviation[0, inner].square().mean().sqrt() / measured[inner].square().mean().sqrt()
    assert 0.85 < ratio < 1.15
