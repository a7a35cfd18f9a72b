"""How fast are logits of many draws computed, against the same layers in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.ops import reference

WIDTH = 160


def inputs(sites: int, draws: int, waves: int, classes: int, device: str) -> list:
    """Waves of each draw, and coefficients that all sites share."""
    tensors = [
        torch.randn(sites, WIDTH),
        torch.rand(sites, draws, waves),
        torch.randn(waves, WIDTH),
        torch.randn(classes, WIDTH) / WIDTH**0.5,
        torch.randn(classes),
    ]
    return [tensor.to(device) for tensor in tensors]


@torch.inference_mode()
def run(options: Namespace) -> None:
    for draws, waves, classes in [(16, 2, 36), (12, 3, 12)]:
        given = inputs(512, draws, waves, classes, options.device)
        timings = [
            measure("backmap", partial(torch.ops.backmap.wave_logits, *given), 512 * draws, options),
            measure("PyTorch", partial(reference.wave_logits, *given), 512 * draws, options),
        ]
        report(f"512 sites, {draws} draws, {classes} classes", timings, "draws", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
