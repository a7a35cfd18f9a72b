"""A model of proteins that places every atom at a fixed offset. Stands in for a trained one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from backmap.chemistry import SLOT_CA
from tests.toy_temporal import ToyFile


class FixedOffsets:
    """Places atoms at offsets that depend on seed, sample and frame alone."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls: list[tuple[int, int]] = []
        self.boxes: list[torch.Tensor | None] = []
        self._seconds = seconds

    def reconstruct(
        self,
        c_alpha: torch.Tensor,
        *,
        numbers: torch.Tensor,
        samples: int,
        seed: int,
        box: torch.Tensor | None = None,
        given: torch.Tensor | None = None,
        obstacles: object = None,
    ) -> torch.Tensor:
        if c_alpha.dim() == 3:
            c_alpha = c_alpha.expand(samples, -1, -1, -1)
        _, frames, residues, _ = c_alpha.shape
        self.boxes.append(box)
        self.calls.append((int(numbers[0]), frames))
        time.sleep(self._seconds)
        assert c_alpha.dtype == torch.float32 and c_alpha.abs().max() < 50
        assert c_alpha[:, :, 0].abs().max() < 0.5  # C-alphas may be drawn near their beads
        offsets = torch.stack([_offset(seed, int(number), samples) for number in numbers], 1)
        return c_alpha[:, :, :, None] + offsets[:, :, None].expand(-1, -1, residues, -1, -1)


def _offset(seed: int, frame: int, samples: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1000 * seed + frame)
    offsets = 0.1 * torch.randn(samples, 15, 3, generator=generator)
    offsets[:, SLOT_CA] = 0
    return offsets


def install(weights: Path, model: FixedOffsets | None = None, replace=setattr) -> FixedOffsets:
    """Put the toy in the place of a trained model, whatever name is asked for."""
    import backmap.inference.frame_builder
    import backmap.models.shipped

    fixed = model or FixedOffsets()
    weights.write_text("weights")
    replace(backmap.models.shipped, "require_model", lambda name: weights)
    replace(backmap.models.shipped, "read_model", lambda name: ToyFile(str(name), weights, "protein"))
    replace(backmap.inference.frame_builder, "open_reconstructor", lambda *arguments: fixed)
    return fixed


def main(arguments: Sequence[str]) -> int:
    """Run the command line with the toy: what a test kills."""
    from backmap.cli.main import main as command

    install(Path(arguments[0]), FixedOffsets(seconds=0.005))
    return command(arguments[1:])
