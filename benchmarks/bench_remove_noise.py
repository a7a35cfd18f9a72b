"""How fast does a diffusion of residues run, all steps in one call, against the same network in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report
from torch import Tensor

from backmap.ops import in_panels, reference, remove_noise

POINTS, ATOMS, WIDTH, LAYERS, STEPS = 19, 64, 384, 4, 50
PAIRS = POINTS * (POINTS - 1) // 2


def weights(*shape: int) -> Tensor:
    """Random weights in panels."""
    return in_panels(torch.randn(*shape) / shape[-1] ** 0.5)


def inputs(residues: int, device: str) -> dict[str, Tensor]:
    """A network of the size that ships, with random weights."""
    tensors = {
        "given": torch.randn(residues, 3 * POINTS),
        "generated": torch.rand(residues, POINTS) < 0.8,
        "empty": torch.rand(residues, POINTS) < 0.3,
        "normals": torch.randn(residues, STEPS, 3 * POINTS),
        "features": torch.randn(residues, WIDTH),
        "modulation": 0.3 * torch.randn(residues, LAYERS, 2 * WIDTH),
        "pairs": 0.5 + torch.rand(residues, 4, PAIRS),
        "atoms": 2 * torch.randn(residues, 3, ATOMS),
        "levels": 0.3 + torch.rand(STEPS, 6),
        "moves": 0.5 * torch.rand(STEPS, 3),
        "step_features": torch.randn(STEPS, WIDTH),
        "step_modulation": 0.3 * torch.randn(STEPS, LAYERS, 2 * WIDTH),
        "entry": weights(WIDTH, 7 * POINTS + PAIRS),
        "layers": weights(LAYERS, 2, WIDTH, WIDTH),
        "layer_bias": torch.randn(LAYERS, 2, WIDTH),
        "leave": weights(3 * POINTS + PAIRS, WIDTH),
        "leave_bias": torch.randn(3 * POINTS + PAIRS),
    }
    return {name: tensor.to(device) for name, tensor in tensors.items()}


@torch.inference_mode()
def run(options: Namespace) -> None:
    for residues in (1, 16, 64):
        given = inputs(residues, options.device)
        plainly = partial(reference.remove_noise, **given, clip=3.0, furthest=4.0)
        timings = [
            measure(
                "backmap", partial(remove_noise, **given, clip=3.0, furthest=4.0), residues * STEPS, options
            ),
            measure("PyTorch", plainly, residues * STEPS, options),
        ]
        report(f"{residues} residues, {STEPS} steps", timings, "steps", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
