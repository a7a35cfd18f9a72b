"""How fast are steps of torsions in time, against the definition in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.ops import reference, step_angle

BINS, PASSES = 36, 4


def torsions(count: int, device: str) -> list:
    """Torsions with random distributions of a few maxima."""
    probabilities = torch.softmax(3 * torch.randn(count, BINS), dim=-1)
    before, rate, window = 6 * torch.rand(count) - 3, 0.1 * torch.rand(count), torch.rand(count)
    return [tensor.to(device) for tensor in (probabilities, before, rate, window, torch.rand(count, 5))]


def run(options: Namespace) -> None:
    for count in (30, 30_000):
        inputs = torsions(count, options.device)
        timings = [
            measure("backmap", partial(step_angle, *inputs, smoothing_passes=PASSES), count, options),
            measure("PyTorch", partial(reference.step_angle, *inputs, PASSES), count, options),
        ]
        report(f"{count} torsions of {BINS} bins", timings, "torsions", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
