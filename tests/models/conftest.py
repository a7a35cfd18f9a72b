import math

import pytest
import torch

from backmap.chemistry import Topology

ALL_TYPES = "ARNDCQEGHILKMFPSTWYV"


def helix(residues: int, offset: float = 0.0) -> torch.Tensor:
    """C-alphas of an ideal alpha helix, (residues, 3) nm."""
    turn = torch.arange(residues) * math.radians(100.0)
    return torch.stack(
        [0.23 * torch.cos(turn) + offset, 0.23 * torch.sin(turn), 0.15 * torch.arange(residues)], dim=1
    )


@pytest.fixture
def two_helices() -> tuple[Topology, torch.Tensor]:
    """All twenty amino acids in a helix, and a short second chain beside it."""
    topology = Topology.from_sequences(ALL_TYPES, "GAWPL")
    return topology, torch.cat([helix(20), helix(5, offset=1.0)])


@pytest.fixture
def random_rotation() -> torch.Tensor:
    """A proper rotation, (3, 3) float32."""
    matrix, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))
    return matrix * torch.linalg.det(matrix).sign()
