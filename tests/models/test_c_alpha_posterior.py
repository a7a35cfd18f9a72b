"""C-alphas given beads: crystals stay, soft bonds heal, blind beads become chains of a protein."""

import numpy as np
import pytest
import torch

from backmap.chemistry import SLOT_CA, Topology
from backmap.chemistry.c_alpha_prior import SOFT_BOND_NOISE_NM, c_alpha_energies, window_kinds
from backmap.io import open_source
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.ops import c_alpha_energy
from tests.proteins import atoms_in_slots

ONE_KEY = stream_keys(0, 1, torch.zeros(1, dtype=torch.int64))


@pytest.fixture(scope="module")
def posterior() -> CAlphaPosterior:
    return CAlphaPosterior()


@pytest.fixture(scope="module")
def crystal() -> tuple[torch.Tensor, Chain]:
    """C-alphas (1, residues, 3) of a crystal structure, near the origin."""
    source = open_source("examples/2bf5.pdb.gz")
    c_alpha = torch.tensor(atoms_in_slots(source)[:, :, SLOT_CA], dtype=torch.float64)
    topology = source.topology
    chain = Chain.from_arrays(topology.residue_types, topology.chain_index, source.linked, "cpu")
    return (c_alpha - c_alpha[:, :1]).float(), chain


def blind_walk(topology: Topology, n_frames: int, seed: int = 0) -> torch.Tensor:
    """Chains with soft bonds whose angles and dihedrals are anything."""
    random = np.random.default_rng(seed)
    steps = random.normal(size=(n_frames, topology.n_residues, 3))
    for residue in range(1, topology.n_residues):  # no hairpins
        steps[:, residue] += 0.7 * steps[:, residue - 1]
        steps[:, residue] /= np.linalg.norm(steps[:, residue], axis=-1, keepdims=True)
    steps *= random.normal(0.38, 0.0174, size=(n_frames, topology.n_residues, 1))
    return torch.tensor(steps.cumsum(axis=1), dtype=torch.float32)


def chain_of(topology: Topology) -> Chain:
    return Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")


def bond_lengths(c_alpha: torch.Tensor, chain: Chain) -> torch.Tensor:
    return (c_alpha[..., 1:, :] - c_alpha[..., :-1, :]).norm(dim=-1)[..., chain.linked[:-1]]


def test_crystals_stay_exactly_where_they_are(posterior, crystal):
    c_alpha, chain = crystal
    drawn, moves = posterior(c_alpha, chain, stream_keys(0, 3, torch.zeros(1, dtype=torch.int64)))
    assert not moves.any()
    assert torch.equal(drawn, c_alpha.expand(3, -1, -1, -1))


def test_noisy_crystals_come_nearer_to_the_truth(posterior, crystal):
    c_alpha, chain = crystal
    torch.manual_seed(1)
    beads = c_alpha + SOFT_BOND_NOISE_NM * torch.randn(c_alpha.shape)
    drawn, moves = posterior(beads, chain, ONE_KEY)
    assert moves.all()
    before, after = ((found - c_alpha).square().sum(-1).mean().sqrt() for found in (beads, drawn[0]))
    assert after < 0.85 * before
    spread = (bond_lengths(drawn[0], chain) - 0.3805).abs()
    assert (spread < 1e-3).float().mean() > 0.98  # but for cis peptides
    noise, _ = posterior.estimate_noise(beads.double(), chain, posterior.bond_spread(beads, chain), 0.0)
    assert 0.8 < noise.median() / SOFT_BOND_NOISE_NM < 1.3


def test_blind_beads_become_chains_of_a_protein(posterior):
    topology = Topology.from_sequences("GSQNAPTEDKRLYFVIMHWC" * 3)
    chain, beads = chain_of(topology), blind_walk(topology, 4)
    keys = stream_keys(0, 2, torch.zeros(4, dtype=torch.int64))
    drawn, moves = posterior(beads, chain, keys)
    assert moves.all()
    moved = (drawn - beads).square().sum(-1).mean().sqrt()
    assert 0.05 < moved < 0.15
    assert (drawn[0] - drawn[1]).norm(dim=-1).mean() > 0.01
    spread = posterior.bond_spread(beads, chain)
    weights = torch.ones(4, 60) * chain.has_neighbour(3)
    kinds, _ = posterior._windows(chain)
    energy = [
        c_alpha_energy(
            x.double(),
            kinds,
            weights.double(),
            posterior.table,
            first_angle=posterior.first_angle,
            last_angle=posterior.last_angle,
        )
        for x in (beads, drawn[0])
    ]
    assert energy[1].mean() < energy[0].mean() - 2
    assert (bond_lengths(drawn, chain) - 0.3805).abs().max() < 2e-3
    assert (spread > 0.0115).all()


def test_frames_do_not_depend_on_each_other(posterior):
    topology = Topology.from_sequences("ACDEFGHIKLMNPQRSTVWY" * 2, "GAPGAPGAPG")
    chain, beads = chain_of(topology), blind_walk(topology, 5)
    keys = stream_keys(3, 2, torch.zeros(5, dtype=torch.int64))
    together, _ = posterior(beads, chain, keys)
    alone, _ = posterior(beads[3:4], chain, keys[:, 3:4])
    assert torch.equal(together[:, 3:4], alone)
    first_sample, _ = posterior(beads, chain, keys[:1])
    assert torch.equal(first_sample, together[:1])


def test_a_chain_in_another_image_of_the_box_is_the_same(posterior):
    topology = Topology.from_sequences("ACDEFGHIKLMNPQRSTVWY", "ACDEFGHIKLMNPQRSTVWY")
    chain = chain_of(topology)
    strand = torch.stack([0.33 * torch.arange(20), 0.19 * (torch.arange(20) % 2), torch.zeros(20)], dim=1)
    torch.manual_seed(0)
    beads = torch.cat([strand, strand + torch.tensor([0.0, 0.0, 0.42])]) + 0.04 * torch.randn(1, 40, 3)
    beads = (1e3 * beads).round() / 1e3  # as XTC files have them
    box = torch.tensor([[[6.0, 0, 0], [1.0, 7, 0], [-2, 3, 8]]])
    shifted = beads.clone()
    shifted[:, 20:] += box[:, 2] - box[:, 1]
    drawn, _ = posterior(beads, chain, ONE_KEY, box)
    moved, _ = posterior(shifted, chain, ONE_KEY, box)
    assert (moved[0, :, :20] - drawn[0, :, :20]).abs().max() < 1e-4
    assert (moved[0, :, 20:] - drawn[0, :, 20:] - (box[:, 2] - box[:, 1])).abs().max() < 1e-4
    without, _ = posterior(shifted, chain, ONE_KEY)
    assert (without[0, :, :20] - drawn[0, :, :20]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("residue", "distance", "spread", "share"),
    [
        ("PRO", 0.295, 0.0175, (0.9, 1.0)),
        ("ALA", 0.295, 0.0175, (0.5, 1.0)),
        ("ALA", 0.335, 0.0175, (0.0, 0.01)),
        ("PRO", 0.38, 0.0175, (0.0, 0.01)),
        ("ALA", 0.30, 0.005, (0.99, 1.0)),
        ("PRO", 0.34, 0.1, (0.02, 0.2)),
    ],
)
def test_cis_is_a_statement_about_residue_and_distance(posterior, residue, distance, spread, share):
    letter = {"PRO": "P", "ALA": "A"}[residue]
    topology = Topology.from_sequences("AA" + letter + "AA")
    beads = torch.zeros(1, 5, 3)
    beads[0, :, 0] = 0.38 * torch.arange(5)
    beads[0, 2:, 0] += distance - 0.38
    keys = stream_keys(0, 1000, torch.zeros(1, dtype=torch.int64))
    bonds, weights = posterior.draw_bonds(beads, chain_of(topology), keys, torch.tensor([spread]))
    cis = (bonds[:, 0, 1] - 0.295).abs() < 1e-6
    assert share[0] <= cis.float().mean() <= share[1]
    assert torch.equal(weights[:, 0, 0], (~cis).float())
    assert (bonds[:, 0, 4] == 0).all()


def test_straight_and_coinciding_beads_stay_finite(posterior):
    topology = Topology.from_sequences("A" * 12)
    beads = torch.zeros(3, 12, 3)
    beads[1, :, 0] = 0.38 * torch.arange(12)
    beads[2, :, 0] = 1e-3 * torch.arange(12)
    noise = torch.full((3, 12), 0.05, dtype=torch.float64)
    drawn, _ = posterior(beads, chain_of(topology), ONE_KEY.expand(1, 3), None, 0.0, noise)
    assert torch.isfinite(drawn).all() and (drawn - beads).norm(dim=-1).max() < 3


@pytest.mark.parametrize("sequences", [("A",), ("AC",), ("ACD", "G"), ("ACDE",)])
def test_short_chains(posterior, sequences):
    topology = Topology.from_sequences(*sequences)
    beads = blind_walk(topology, 2)
    drawn, moves = posterior(beads, chain_of(topology), ONE_KEY.expand(1, 2), None, 0.0124)
    assert moves.all() and torch.isfinite(drawn).all()


def test_it_compiles_with_torchscript(posterior, crystal):
    c_alpha, chain = crystal
    scripted = torch.jit.script(posterior)
    expected, _ = posterior(c_alpha, chain, ONE_KEY, None, 0.0124)

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = scripted

    assert torch.equal(Whole().inner.bond_spread(c_alpha, chain), posterior.bond_spread(c_alpha, chain))
    assert expected.shape == (1, *c_alpha.shape)


def test_the_prior_knows_helices_and_glycine():
    energies, kinds = c_alpha_energies(), window_kinds()
    assert energies.shape == (9, 20, 36, 20) and (energies.min(axis=(1, 2, 3)) == 0).all()
    angle, right, left = round((91 - 60) / 6), round((50 + 180) / 10), round((-50 + 180) / 10)
    general, glycine = kinds[0, 0], kinds[7, 7]
    assert general == 0 and glycine != 0 and len(np.unique(kinds)) == 9
    assert energies[general, angle, right, angle] < 1  # the right-handed helix
    assert energies[general, angle, left, angle] > 4  # and its mirror image
    assert energies[glycine, angle, left, angle] < energies[general, angle, left, angle] - 1


@pytest.fixture
def walks() -> torch.Tensor:
    """Noisy beads (20, 50, 3) of walks in nm."""
    steps = torch.nn.functional.normalize(torch.randn(20, 50, 3, generator=torch.manual_seed(1)), dim=-1)
    return 0.38 * torch.cumsum(steps, dim=1)


@pytest.mark.parametrize("frames_at_once", [1, 3])
def test_other_frames_change_nothing(walks, frames_at_once):
    """Neither how many frames are drawn at once nor how they lie in memory."""
    beads, residues = walks, walks.shape[1]
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
