"""The regression before the networks: it is exact where the rule is linear, and splits without loss."""

import torch

from backmap.models.temporal.config import InternalConfig
from backmap.models.temporal.internal_autoencoder import InternalAutoencoder
from backmap.models.temporal.regression import Regression

from .dipeptide import dipeptide, following_frames

SIZE, CONDITION = 8, 11


def linear_data(frames: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Conditions, coordinates that follow them linearly with correlated noise, and which coordinates vary."""
    generator = torch.Generator().manual_seed(0)
    condition = torch.randn(frames, CONDITION, generator=generator)
    varies = torch.tensor([True, True, True, False, True, True, False, True])
    condition[:, -SIZE:] *= varies
    weight = torch.randn(CONDITION, SIZE, generator=generator)
    mixing = torch.randn(SIZE, SIZE, generator=generator)
    scaled = condition @ weight + 0.3 * torch.randn(frames, SIZE, generator=generator) @ mixing + 1.0
    return condition, scaled * varies, varies


def test_innovations_are_independent_of_the_condition_and_of_each_other():
    condition, scaled, varies = linear_data(20_000)
    regression = Regression(CONDITION, SIZE)
    regression.fit(condition, scaled, varies)
    left = regression.innovations(scaled, condition)
    assert torch.allclose(regression.coordinates(left, condition), scaled, atol=1e-4)
    covariance = torch.cov(left[:, varies].T)
    assert torch.allclose(covariance, torch.eye(int(varies.sum())), atol=0.25)  # shrunk
    assert left.mean(dim=0).abs().max() < 1e-3
    assert (left.T @ condition / len(left)).abs().max() < 0.2
    assert left[:, ~varies].abs().max() < 1e-4


def test_harmonics_of_free_torsions_alone_are_seen():
    """A coordinate that follows the threefold harmonic of a free torsion: no rule linear in its cosine."""
    turn = torch.linspace(-3.14, 3.14, 4000)
    previous = torch.zeros(4000, SIZE)
    previous[:, 4], previous[:, 6] = 2**0.5 * turn.cos(), 2**0.5 * turn.sin()  # free
    previous[:, 5] = turn  # narrow
    scaled = torch.zeros(4000, SIZE)
    scaled[:, 0] = (3 * turn).cos()
    varies = torch.tensor([True, True, True, True, True, True, True, False])
    regression = Regression(SIZE, SIZE)
    regression.fit(previous, scaled + 1e-3 * torch.randn(4000, SIZE) * varies, varies)
    predicted = scaled - regression.innovations(scaled, previous) @ regression.factor.T
    assert (predicted[:, 0] - scaled[:, 0]).abs().mean() < 0.1
    assert regression.free.tolist() == [True, False]


def test_untrained_networks_leave_the_regression_as_it_is():
    torch.manual_seed(0)
    molecule, mapping, _ = dipeptide()
    config = InternalConfig(hidden=32, layers=1, latent=8, regression=True)
    network = InternalAutoencoder(config, molecule, mapping, 1)
    frame, previous = following_frames(400)
    network.fit(frame, previous)
    beads = frame[:, list(mapping.bead_atoms)]
    observation = network.observe(frame, beads, previous)
    one, other = (network.decode(torch.randn(400, 8), observation.condition, beads) for _ in range(2))
    assert torch.equal(one.coordinates, other.coordinates)
    size = network.normals_per_frame
    target = observation.everything[:, :size]
    back = network.decode(torch.zeros(400, 8), observation.condition, beads, target).coordinates
    assert torch.allclose(back, frame, atol=2e-5)
    # its likelihood is that of the coordinates, not of what regression leaves
    plain = -torch.distributions.Normal(0.0, 1.0).log_prob(target)
    expected = ((plain + network.regression.factor.diagonal().log()) * network.scale.varies).sum(-1).mean()
    assert torch.allclose(network.reconstruction_loss(one, frame, observation), expected)
