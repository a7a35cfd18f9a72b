import pytest
import torch

from backmap.physics.constraints import BondConstraints

PAIRS = torch.tensor([[0, 1], [0, 2], [0, 3], [4, 5]])
LENGTHS = torch.tensor([0.109, 0.109, 0.109, 0.101], dtype=torch.float64)


def methyl_and_one_more() -> tuple[BondConstraints, torch.Tensor]:
    """A heavy atom with three hydrogens, and an atom that is held with one; all bonds at their length."""
    inverse = torch.tensor([1 / 12, 1 / 3, 1 / 3, 1 / 3, 0.0, 1 / 3], dtype=torch.float64)
    directions = torch.randn(7, 4, 3, dtype=torch.float64)
    directions = directions / directions.norm(dim=-1, keepdim=True) * LENGTHS.unsqueeze(-1)
    atoms = torch.zeros(7, 6, 3, dtype=torch.float64)
    atoms[:, 4] = 0.5
    atoms[:, [1, 2, 3, 5]] = atoms[:, [0, 0, 0, 4]] + directions
    return BondConstraints(PAIRS, LENGTHS, inverse), atoms


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_positions_have_their_lengths_and_momentum_is_kept():
    constraints, before = methyl_and_one_more()
    moved = before + 0.004 * torch.randn_like(before)
    moved[:, 4] = before[:, 4]
    after = constraints.positions(moved, before)
    bonds = after[:, PAIRS[:, 0]] - after[:, PAIRS[:, 1]]
    assert torch.allclose(bonds.norm(dim=-1), LENGTHS.expand(7, -1), atol=1e-5)
    assert torch.equal(after[:, 4], before[:, 4])
    masses = torch.tensor([12.0, 3, 3, 3], dtype=torch.float64).view(1, 4, 1)
    assert torch.allclose((masses * (after - moved)[:, :4]).sum(1), torch.zeros(7, 3).double(), atol=1e-12)


def test_velocities_do_not_stretch_bonds():
    constraints, atoms = methyl_and_one_more()
    velocities = torch.randn_like(atoms)
    velocities[:, 4] = 0.0
    left = constraints.velocities(velocities, atoms)
    relative = left[:, PAIRS[:, 0]] - left[:, PAIRS[:, 1]]
    along = (relative * (atoms[:, PAIRS[:, 0]] - atoms[:, PAIRS[:, 1]])).sum(-1)
    assert along.abs().max() < 1e-3 * velocities.norm(dim=-1).max() * 0.1
    assert torch.equal(left[:, 4], torch.zeros(7, 3).double())
    # what is across the bonds stays
    assert torch.allclose(constraints.velocities(left, atoms), left, atol=1e-3)
