"""The noise of beads is noticed where it strains atoms, and beads of crystals are exact."""

import numpy as np
import pytest
import torch

from backmap.chemistry.bead_mapping import load_mapping
from backmap.models.beads.estimator import CAlphaEstimator, EstimatorConfig
from backmap.models.beads.evidence import bead_table
from backmap.models.shipped import read_estimator
from backmap.training.bead_noise import BeadBatch, measure_distances
from tests.beaded import Beaded, crambin, crystal

CPU = torch.device("cpu")


def estimate(mapping: str, structure: Beaded, noise_nm: float, n_frames: int = 20) -> torch.Tensor:
    """Noise (frames,) in nm seen in frames with the given noise."""
    estimator = read_estimator(load_mapping(mapping)).load(CPU)
    exact = structure.beads(mapping).expand(n_frames, -1, -1)
    beads = exact + noise_nm * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))
    table = bead_table(structure.layout(mapping))
    with torch.inference_mode():
        c_alpha, _ = estimator(beads, table, structure.chain)
        return estimator.estimate_noise(beads, c_alpha, table, structure.chain)


@pytest.mark.parametrize("structure", [crystal(0, 80), crambin()], ids=["2bf5", "1ab1"])
@pytest.mark.parametrize("mapping", ["martini2", "martini3"])
@pytest.mark.parametrize("noise_nm", [0.0124, 0.03])
def test_noise_is_seen_within_a_factor_of_one_and_a_half(mapping, structure, noise_nm):
    seen = estimate(mapping, structure, noise_nm) / noise_nm
    assert ((seen > 1 / 1.5) & (seen < 1.5)).float().mean() >= 0.95


@pytest.mark.parametrize("mapping", ["martini2", "martini3", "residue-centre", "side-chain-centre"])
def test_beads_of_crystals_are_exact(mapping):
    for structure in (crystal(), crambin()):
        assert not estimate(mapping, structure, 0.0, n_frames=1).any()


def test_much_noise_of_residue_centres_is_seen():
    seen = estimate("residue-centre", crystal(0, 80), 0.03)
    assert (seen > 0).float().mean() >= 0.8
    assert 0.02 < seen[seen > 0].median() < 0.045


def test_frames_do_not_depend_on_each_other():
    structure, estimator = crystal(), read_estimator(load_mapping("martini3")).load(CPU)
    beads = structure.beads("martini3")
    noise = 0.0124 * torch.randn(beads.shape, generator=torch.Generator().manual_seed(1))
    beads = torch.cat([beads, beads + noise])
    table = bead_table(structure.layout("martini3"))
    together = estimator.estimate_noise(beads, structure.c_alpha.repeat(2, 1, 1), table, structure.chain)
    alone = [
        estimator.estimate_noise(part[None], structure.c_alpha, table, structure.chain) for part in beads
    ]
    assert torch.equal(together, torch.cat(alone)) and together[0] == 0 < together[1]


def test_distances_are_measured_with_their_spread_and_gain():
    structure = crystal()
    mapping = load_mapping("martini3")
    network = CAlphaEstimator(EstimatorConfig("martini3", mapping.digest, 6))
    table = bead_table(structure.layout("martini3"))
    batches = []
    for seed in range(20):
        shift = torch.randn(structure.beads("martini3").shape, generator=torch.Generator().manual_seed(seed))
        whole = torch.ones(structure.topology.n_residues, dtype=torch.bool)
        beads = structure.beads("martini3") + 0.004 * shift
        batches.append(BeadBatch(beads, table, structure.chain, structure.c_alpha[0], whole))
    with torch.no_grad():
        measure_distances(network, batches, seed=0)
    mean, variance, gain = network.noise.expected[: 20 * 6**2].T  # between the beads of a residue
    assert (variance[mean > 0] > 2 * 0.002**2).all() and (variance > 0).sum() > 20
    assert 1.5 < gain[mean > 0].median() < 2.5


def test_neighbouring_c_alphas_that_are_beads_tell_noise_too():
    structure, estimator = crystal(), read_estimator(load_mapping("residue-centre")).load(CPU)
    is_bead = np.ones(structure.topology.n_residues, dtype=bool)
    table = bead_table(load_mapping("residue-centre").layout(structure.topology.residue_types, is_bead))
    noise = 0.03 * torch.randn(structure.c_alpha.shape, generator=torch.Generator().manual_seed(0))
    beads = structure.c_alpha + noise
    assert 0.02 < estimator.estimate_noise(beads, beads, table, structure.chain) < 0.045
    assert estimator.estimate_noise(structure.c_alpha, structure.c_alpha, table, structure.chain) == 0
