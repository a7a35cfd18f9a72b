"""Small models and structures that the tests of DiAMoNDBack share."""

import torch

from backmap.models.diamondback.config import CompactConfig, DiamondbackConfig, UNetConfig
from backmap.models.diamondback.model import DiamondbackModel

SMALL_COMPACT = DiamondbackConfig(
    "compact", steps=6, scale_nm=0.2, compact=CompactConfig(16, 2, 24, 32, 2, dropout=0.0)
)
SMALL_UNET = DiamondbackConfig(
    "unet", steps=6, unet=UNetConfig(width=8, levels=3, groups=4, heads=2, head_width=8)
)
SMALL = {"compact": SMALL_COMPACT, "unet": SMALL_UNET}


def make_model(network: str) -> DiamondbackModel:
    """A model with random weights that do something."""
    torch.manual_seed(3)
    return DiamondbackModel(SMALL[network]).eval()
