"""How fast are C-alphas drawn about beads, against the definition in PyTorch?"""

import math
from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report
from torch.nn.functional import normalize

from backmap.chemistry.c_alpha_prior import FIRST_ANGLE, LAST_ANGLE, c_alpha_energies
from backmap.ops import draw_c_alphas, reference

STEPS = 200
DYNAMICS = {
    "first_angle": float(FIRST_ANGLE),
    "last_angle": float(LAST_ANGLE),
    "temperature": 2.0,
    "step_size": 4e-4,
    "largest_step": 0.04,
    "contact_distance": 0.4,
    "contact_strength": 600.0,
}


def beads(frames: int, residues: int, device: str) -> list:
    """Crooked chains of 50 residues on a grid, as dense as a condensate."""
    chains = -(-residues // 50)
    edge = math.ceil(chains ** (1 / 3))
    steps = normalize(torch.randn(frames, chains, 50, 3), dim=-1)
    for bead in range(1, 50):
        steps[:, :, bead] = normalize(steps[:, :, bead] + 0.5 * steps[:, :, bead - 1], dim=-1)
    places = torch.cartesian_prod(*[torch.arange(edge)] * 3)[:chains] * 2.6
    positions = (places[:, None] + (0.38 * steps).cumsum(2)).flatten(1, 2)[:, :residues]
    linked = (torch.arange(residues) % 50 != 49) & (torch.arange(residues) < residues - 1)
    windows = linked.clone()
    windows[:-2] &= linked[1:-1] & linked[2:]
    inputs = [
        positions,
        torch.full((frames, residues), 0.08),
        0.3805 * linked.float().expand(frames, -1),
        torch.zeros(residues, dtype=torch.int64),
        windows.float().expand(frames, -1),
        torch.from_numpy(c_alpha_energies()),
        torch.arange(frames),
        torch.full((frames,), STEPS),
    ]
    return [(tensor.double() if tensor.is_floating_point() else tensor).to(device) for tensor in inputs]


def run(options: Namespace) -> None:
    for frames, residues in [(16, 200), (1, 20_000)]:
        inputs = beads(frames, residues, options.device)
        count = frames * residues
        timings = [measure("backmap", partial(draw_c_alphas, *inputs, **DYNAMICS), count, options)]
        if residues <= 200:
            one = [t[:1] if i in (0, 1, 2, 4, 6, 7) else t for i, t in enumerate(inputs)]
            one[-1] = torch.full_like(one[-1], STEPS // 20)
            call = partial(reference.draw_c_alphas, *one, **DYNAMICS)
            few_steps = measure("PyTorch, step by step", call, residues, options)
            timings.append(few_steps.scaled(20 * frames))
        title = f"{frames} frame{'s' if frames > 1 else ''} of {residues} residues, {STEPS} steps"
        report(title, timings, "residues", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
