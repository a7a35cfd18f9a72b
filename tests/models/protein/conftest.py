import pytest
import torch

from backmap.models.protein.config import PackingConfig, PeptidePlaneConfig, ProteinConfig, SideChainConfig
from backmap.models.protein.model import ProteinModel

SMALL = ProteinConfig(
    PeptidePlaneConfig(neighbours=6, neighbour_width=16, queries=2, trunk_width=16, head_width=16),
    SideChainConfig(neighbours=6, neighbour_width=16, queries=2, trunk_width=16, head_width=16),
    PackingConfig(candidates=4, sweeps=2),
)


@pytest.fixture
def model() -> ProteinModel:
    """A small model with random weights."""
    torch.manual_seed(0)
    return ProteinModel(SMALL)
