import math

import pytest
import torch

from backmap.chemistry import Topology
from backmap.models.chain import Chain
from backmap.models.protein.backbone import BackboneBuilder, EndMemory, chain_ends
from backmap.models.protein.geometry import classify_angle, torsion_angle
from backmap.models.protein.moving_ends import END_DRAWS, no_trials, step_ends


@pytest.fixture
def chain() -> Chain:
    topology = Topology.from_sequences("AVLK")
    return Chain.from_arrays(topology.residue_types, topology.chain_index, topology.linked(), "cpu")


def rocking_peptides(n_samples: int, n_frames: int, degrees: float) -> tuple[torch.Tensor, torch.Tensor]:
    """C-alphas (samples, frames, 4, 3) at rest, and peptides that turn at random about their axes."""
    generator = torch.Generator().manual_seed(0)
    zigzag = torch.tensor([[0.0, 0, 0], [0.33, 0.19, 0], [0.66, 0, 0], [0.99, 0.19, 0]])
    c_alpha = zigzag.expand(n_samples, n_frames, 4, 3)
    axis = torch.nn.functional.normalize(zigzag[1:] - zigzag[:-1], dim=-1)
    axis = torch.cat([axis, axis[-1:]])
    across = torch.linalg.cross(axis, torch.tensor([0.0, 0.0, 1.0]).expand_as(axis))
    up = torch.tensor([0.0, 0.0, 1.0])
    turn = math.radians(degrees) * torch.randn(n_samples, n_frames, 4, 1, generator=generator)
    outward = torch.cos(turn) * across + torch.sin(turn) * up
    c = c_alpha + 0.14 * axis + 0.06 * outward
    o = c_alpha + 0.16 * axis + 0.18 * outward
    n = c_alpha + 0.24 * axis - 0.04 * outward
    return c_alpha, torch.stack([c, o, n], dim=3)


def step(chain, c_alpha, peptides, rate, window_degrees, before=None):
    builder = BackboneBuilder()
    samples, frames = c_alpha.shape[:2]
    ends = len(torch.cat(chain_ends(chain)))
    trials = no_trials(samples, 1, chain) if before is None else before
    generator = torch.Generator().manual_seed(1)
    uniforms = torch.rand(samples, frames, ends, 1, END_DRAWS, generator=generator)
    rates = torch.full((frames, ends), rate)
    windows = torch.full((frames, ends), math.radians(window_degrees))
    if before is None:  # drawn anew in the first frame
        rates[0], windows[0] = 1e9, 1e4
    return step_ends(builder, chain, c_alpha, peptides, trials, rates, windows, uniforms)


def test_ends_keep_their_distribution_while_the_peptide_rocks(chain):
    c_alpha, peptides = rocking_peptides(3000, 15, degrees=20.0)
    trials, _ = step(chain, c_alpha, peptides, rate=0.02, window_degrees=30.0)
    for end, expected in enumerate(BackboneBuilder().end_distributions(chain)):
        found = torch.bincount(
            classify_angle(trials.torsion[:, end, 0], len(expected)), minlength=len(expected)
        )
        error = (expected * (1 - expected) / 3000).sqrt().clamp_min(1 / 3000)
        assert ((found / 3000 - expected).abs() < 4.5 * error).all()


def test_the_last_carbon_keeps_its_direction(chain):
    c_alpha, peptides = rocking_peptides(500, 2, degrees=20.0)
    first, _ = step(chain, c_alpha[:, :1], peptides[:, :1], rate=0.0, window_degrees=1.0)
    then, _ = step(chain, c_alpha[:, 1:], peptides[:, 1:], 0.0, window_degrees=1.0, before=first)
    turned = (then.torsion - first.torsion)[:, 1, 0]
    turned = torch.remainder(turned + math.pi, 2 * math.pi) - math.pi
    moved = torch.linalg.vector_norm(then.direction - first.direction, dim=-1)[:, 0, 0]
    n, c_before = peptides[:, :, 2, 2], peptides[:, :, 2, 0]
    carbon = c_alpha[:, 0, 3] + first.direction[:, 0, 0]
    rocked = torsion_angle(c_before[:, 1], n[:, 1], c_alpha[:, 1, 3], carbon) - torsion_angle(
        c_before[:, 0], n[:, 0], c_alpha[:, 0, 3], carbon
    )
    rocked = torch.remainder(rocked + math.pi, 2 * math.pi) - math.pi
    accepted = (turned - rocked).abs() < 0.05
    assert accepted.float().mean() > 0.6
    assert moved[accepted].median() < 0.02
    assert turned[accepted].abs().median() > math.radians(10.0)


def test_ends_take_the_same_trial_again_unless_it_overlaps(chain):
    c_alpha, peptides = rocking_peptides(1, 3, degrees=0.0)
    builder = BackboneBuilder()
    atoms = torch.cat([peptides[0, :, :, 2:], c_alpha[0].unsqueeze(2), peptides[0, :, :, :2]], dim=2)
    far, near = torch.tensor([5.0, 5.0, 5.0]), c_alpha[0, 0, 3]
    trials = torch.stack([far, far]).expand(3, 1, 2, 3).clone().unsqueeze(3)
    trials[2, 0, 1] = near
    memory = EndMemory(torch.tensor([[1]]), 0.01)
    starts = torch.tensor([0])
    built = builder._least_overlap(
        trials, atoms, starts, torch.tensor([[0]]), torch.zeros(3, 1, 2), None, memory, 0
    )
    assert memory.chosen.tolist() == [[0]]
    assert torch.allclose(built[2, 0, 0], far)
    kept = EndMemory(torch.tensor([[1]]), 0.01)
    builder._least_overlap(
        trials[:2], atoms[:2], starts, torch.tensor([[0]]), torch.zeros(2, 1, 2), None, kept, 0
    )
    assert kept.chosen.tolist() == [[1]]
