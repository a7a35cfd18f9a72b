"""How fast are angles drawn along chains, and their penalties computed, against the same in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap import ops
from backmap.ops import reference

WIDTH, CLASSES, KINDS, CELLS = 160, 72, 6, 180


def joints(*shape: int) -> dict[str, torch.Tensor]:
    return {
        "forms": torch.randn(*shape, 3, 5, 3),
        "kinds": torch.randint(0, KINDS, shape),
        "table": torch.rand(KINDS, CELLS, CELLS),
    }


def chains(frames: int, residues: int) -> dict[str, torch.Tensor]:
    """One chain of all residues."""
    return {
        "context": torch.randn(frames, residues, WIDTH),
        "coefficients": torch.randn(frames, residues, 3, WIDTH),
        "weight": torch.randn(CLASSES, WIDTH) / WIDTH**0.5,
        "bias": torch.randn(CLASSES),
        **joints(frames, residues),
        "offsets": torch.randn(frames, residues, CLASSES),
        "chains": torch.arange(residues).unsqueeze(0),
        "uniforms": torch.rand(frames, 1, residues, 2),
    }


def grid(sites: int, angles: int) -> dict[str, torch.Tensor]:
    """Each of some angles after each of them."""
    turn = torch.arange(angles) / angles * 6.28 - 3.14
    waves = torch.stack([torch.ones(angles), turn.cos(), turn.sin()])
    cosine, sine = (wave.expand(sites, -1) for wave in waves[1:])
    return {**joints(sites), "cosine": cosine, "sine": sine, "waves": waves}


def compare(
    title: str, operator: str, given: dict[str, torch.Tensor], items: int, options: Namespace
) -> None:
    given = {name: tensor.to(options.device) for name, tensor in given.items()}
    timings = [
        measure("backmap", partial(getattr(ops, operator), **given), items, options),
        measure("PyTorch", partial(getattr(reference, operator), **given), items, options),
    ]
    report(title, timings, "items", options)


@torch.inference_mode()
def run(options: Namespace) -> None:
    for frames, residues in ((27, 183), (1000, 10), (1, 2000)):
        title = f"draw_angle_chains, {frames} chains of {residues} residues"
        compare(title, "draw_angle_chains", chains(frames, residues), frames * residues, options)
    compare("joint_penalty, 512 sites, 12 x 12 angles", "joint_penalty", grid(512, 12), 512 * 144, options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
