"""How fast are ends of chains placed where they overlap least, against the definition in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.ops import least_overlap, reference

SLOTS, TRIALS, POINTS, SPACING = 4, 12, 3, 0.51


def chains(frames: int, residues: int, groups: int, device: str) -> list:
    """Compact backbones on a shaken lattice, and trials beside some of their residues."""
    edge = round(residues ** (1 / 3) + 0.5)
    grid = torch.cartesian_prod(*[torch.arange(edge)] * 3)[:residues] * SPACING
    atoms = grid[:, None] + 0.15 * torch.randn(frames, residues, SLOTS, 3)
    residue = torch.randperm(residues)[:groups].sort().values
    trials = grid[residue, None, None] + 0.15 * torch.randn(frames, groups, TRIALS, POINTS, 3)
    target = residue[:, None] * SLOTS + torch.arange(POINTS)
    inputs = [atoms, trials, torch.zeros(frames, groups, TRIALS), residue, target]
    return [tensor.to(device) for tensor in inputs]


def run(options: Namespace) -> None:
    for frames, residues, groups in [(16, 300, 4), (1, 20_000, 400)]:
        inputs = chains(frames, residues, groups, options.device)
        box = 20 * torch.eye(3, device=options.device)
        count = frames * groups
        timings = [
            measure("backmap", partial(least_overlap, *inputs, distance=0.34), count, options),
            measure(
                "backmap, in a box", partial(least_overlap, *inputs, distance=0.34, box=box), count, options
            ),
        ]
        if residues <= 300:
            call = partial(reference.least_overlap, *inputs, 0.34)
            timings.append(measure("PyTorch, group by group", call, count, options))
        title = f"{frames} frame{'s' if frames > 1 else ''} of {residues} residues, {groups} ends"
        report(title, timings, "ends", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
