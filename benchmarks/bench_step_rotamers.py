"""How fast do side-chain torsions step in time, against the same formulas in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.ops import reference, step_rotamers

TORSIONS, WIDTH, BINS = 4, 160, 36


def inputs(residues: int, device: str) -> dict:
    """Residues with one to four torsions, a tenth of which leave their basins."""
    tensors = {
        "context": torch.randn(residues, TORSIONS, WIDTH),
        "coefficients": torch.randn(TORSIONS, 2, TORSIONS, WIDTH),
        "weight": torch.randn(TORSIONS, WIDTH, BINS) / WIDTH**0.5,
        "bias": torch.randn(TORSIONS, BINS),
        "moves": torch.arange(TORSIONS) < torch.randint(1, TORSIONS + 1, (residues, 1)),
        "repeats": torch.rand(residues, TORSIONS) < 0.1,
        "leaps_only": torch.zeros(residues, dtype=torch.bool),
        "before": 6 * torch.rand(residues, TORSIONS) - 3,
        "rate": torch.full((residues, TORSIONS), 0.05),
        "window": torch.full((residues,), 0.5),
        "uniforms": torch.rand(residues, TORSIONS, 5),
    }
    return {name: tensor.to(device) for name, tensor in tensors.items()}


@torch.inference_mode()
def run(options: Namespace) -> None:
    for residues in (10, 200, 4000):
        given = inputs(residues, options.device)
        timings = [
            measure("backmap", partial(step_rotamers, **given, smoothing_passes=5), residues, options),
            measure(
                "PyTorch", partial(reference.step_rotamers, **given, smoothing_passes=5), residues, options
            ),
        ]
        report(f"{residues} residues", timings, "residues", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
