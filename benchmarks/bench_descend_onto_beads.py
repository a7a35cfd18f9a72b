"""How fast do atoms descend onto their beads, against the same formulas in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.ops import descend_onto_beads, reference

SLOTS, SPRINGS, CENTRES, BEADS = 15, 32, 9, 3
"""Of a residue, about as many as proteins on Martini beads have."""


def inputs(frames: int, residues: int, device: str) -> dict:
    """A chain whose springs, centres and beads lie within residues and their successors."""
    atoms, beads = SLOTS * residues, BEADS * residues
    first = torch.arange(residues)[:, None] * SLOTS

    def near(count: int, width: int) -> torch.Tensor:
        found = first[:, :, None] + torch.randint(2 * SLOTS, (residues, count, width))
        return found.clamp_max(atoms - 1).flatten(0, 1)

    springs, centres = near(SPRINGS, 2), near(CENTRES, 4)
    place = torch.rand(frames, residues, 1, 3).expand(-1, -1, SLOTS, -1) + 0.2 * torch.rand(SLOTS, 3)
    place = place.flatten(1, 2)
    parts = torch.stack([torch.arange(atoms) // (SLOTS // BEADS), torch.arange(atoms)], dim=1)
    tensors = {
        "atoms": place,
        "before": place,
        "slope": torch.zeros_like(place),
        "springs": springs,
        "spring_length": torch.full((frames, len(springs)), 0.2),
        "spring_stiffness": torch.full((len(springs),), 8e4),
        "centres": centres,
        "volume": torch.full((frames, len(centres)), 1e-3),
        "volume_stiffness": torch.full((len(centres),), 2.5e7),
        "links": torch.zeros(frames, 0, 2, dtype=torch.int64),
        "link_length": torch.zeros(frames, 0),
        "link_stiffness": torch.zeros(frames, 0),
        "parts": parts,
        "weight": torch.full((atoms,), BEADS / SLOTS),
        "pull": torch.ones(atoms),
        "beads": torch.rand(frames, beads, 3),
        "share": torch.ones(frames, beads),
    }
    return {name: tensor.to(device) for name, tensor in tensors.items()}


@torch.no_grad()
def run(options: Namespace) -> None:
    settings = {"steps": 9, "step_size": 1.2e-6, "momentum": 0.9, "largest_step": 0.01}
    for frames, residues in ((1, 200), (8, 200), (64, 50), (1, 5000)):
        given = inputs(frames, residues, options.device) | settings
        timings = [
            measure("backmap", partial(descend_onto_beads, **given), frames * residues, options),
            measure("PyTorch", partial(reference.descend_onto_beads, **given), frames * residues, options),
        ]
        report(f"{frames} frames of {residues} residues", timings, "residues", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
