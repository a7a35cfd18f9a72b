"""The noise of beads that are atoms follows from distances that hardly vary."""

import pytest
import torch

from backmap.models.beads.evidence import bead_table
from backmap.models.beads.rigid_distances import RigidDistances
from tests.beaded import Beaded, crambin, crystal

MAPPINGS = ["awsem", "sirah", "backbone", "c-alpha+c-beta"]


def seen(mapping: str, structure: Beaded, noise_nm: float, n_frames: int = 20) -> torch.Tensor:
    """Noise (frames,) in nm seen in frames with the given noise."""
    exact = structure.beads(mapping).expand(n_frames, -1, -1)
    noise = noise_nm * torch.randn(exact.shape, generator=torch.Generator().manual_seed(0))
    return seen_in(exact + noise, mapping, structure)


def seen_in(beads: torch.Tensor, mapping: str, structure: Beaded) -> torch.Tensor:
    """Noise (frames,) in nm seen in beads (frames, beads, 3)."""
    distances = RigidDistances()
    table = bead_table(structure.layout(mapping))
    return distances.noise(beads, distances.find(table, structure.chain))


@pytest.mark.parametrize("structure", [crystal(0, 80), crambin()], ids=["2bf5", "1ab1"])
@pytest.mark.parametrize("mapping", MAPPINGS)
@pytest.mark.parametrize("noise_nm", [0.0124, 0.03])
def test_noise_is_seen(mapping, structure, noise_nm):
    ratio = seen(mapping, structure, noise_nm) / noise_nm
    assert ((ratio > 0.6) & (ratio < 1.4)).float().mean() >= 0.95
    assert abs(ratio.median() - 1) < 0.2


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_beads_of_crystals_and_little_noise_are_exact(mapping):
    for structure in (crystal(), crambin()):
        assert not seen(mapping, structure, 0.0, n_frames=1).any()
        assert not seen(mapping, structure, 0.004).any()


def test_errors_of_single_residues_do_not_count():
    structure = crystal()
    beads = structure.beads("awsem").clone()
    beads[0, ::7] += 0.1
    assert seen_in(beads, "awsem", structure) == 0


def test_frames_do_not_depend_on_each_other():
    structure = crystal()
    beads = structure.beads("sirah").expand(3, -1, -1) + 0.02 * torch.randn(
        3, len(structure.layout("sirah").residues), 3
    )
    alone = [seen_in(part[None], "sirah", structure) for part in beads]
    assert torch.equal(seen_in(beads, "sirah", structure), torch.cat(alone))


@pytest.mark.parametrize("mapping", ["c-alpha", "residue-centre", "martini3"])
def test_without_rigid_distances_no_noise_is_seen(mapping):
    assert not seen(mapping, crystal(), 0.03).any()
