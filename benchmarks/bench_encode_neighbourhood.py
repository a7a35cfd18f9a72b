"""How fast does the network over neighbours run, against the same network in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.ops import reference

NEIGHBOURS, QUERIES, TYPES, OFFSETS = 24, 4, 21, 18


def inputs(sites: int, points: int, width: int, device: str) -> list:
    """Neighbours within 1 nm, and weights of the usual size."""
    numbers = 4 * points + 3
    tensors = [
        torch.rand(sites, NEIGHBOURS, points, 3) - 0.5,
        torch.randint(0, TYPES, (sites, NEIGHBOURS), dtype=torch.uint8),
        torch.randint(0, OFFSETS, (sites, NEIGHBOURS), dtype=torch.uint8),
        torch.randn(sites, QUERIES, width),
        torch.randn(width, numbers) / numbers**0.5,
        torch.randn(width),
        torch.randn(TYPES, width),
        torch.randn(OFFSETS, width),
        torch.randn(width, width) / width**0.5,
        torch.randn(width),
    ]
    return [tensor.to(device) for tensor in tensors]


@torch.inference_mode()
def run(options: Namespace) -> None:
    for sites, points, width in [(512, 1, 96), (512, 3, 112)]:
        given = inputs(sites, points, width, options.device)
        timings = [
            measure("backmap", partial(torch.ops.backmap.encode_neighbourhood, *given), sites, options),
            measure("PyTorch", partial(reference.encode_neighbourhood, *given), sites, options),
        ]
        report(f"{sites} sites, {points} points a neighbour, width {width}", timings, "sites", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
