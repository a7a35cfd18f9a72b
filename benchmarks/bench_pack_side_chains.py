"""How fast are side chains packed, against the same sweeps in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report
from torch.nn.functional import normalize

from backmap.ops import pack_side_chains, reference

SIDE_SLOTS, BACKBONE_SLOTS, SPACING = 10, 4, 0.51
SIDE_ATOMS = torch.tensor(
    [1, 7, 4, 4, 2, 5, 5, 0, 6, 4, 4, 5, 4, 7, 3, 2, 3, 10, 8, 3]
)  # of the 20 amino acids


def proteins(frames: int, residues: int, candidates: int, sweeps: int, device: str) -> list:
    """Compact structures: C-alphas on a shaken lattice, side chains that grow in crooked lines."""
    edge = round(residues ** (1 / 3) + 0.5)
    grid = torch.cartesian_prod(*[torch.arange(edge)] * 3)[:residues] * SPACING
    c_alpha = grid + 0.05 * torch.randn(frames, residues, 3)
    backbone = c_alpha[:, :, None] + 0.15 * normalize(
        torch.randn(frames, residues, BACKBONE_SLOTS, 3), dim=-1
    )
    direction = normalize(torch.randn(frames, residues, 1, 3), dim=-1).expand(-1, -1, candidates, -1)
    atoms = [c_alpha[:, :, None] + 0.153 * direction]
    for _ in range(SIDE_SLOTS - 1):
        direction = normalize(direction + 0.9 * torch.randn(frames, residues, candidates, 3), dim=-1)
        atoms.append(atoms[-1] + 0.13 * direction)
    present = torch.arange(SIDE_SLOTS) < SIDE_ATOMS[torch.randint(0, 20, (residues, 1))]
    inputs = [
        torch.stack(atoms, dim=-2),
        present,
        backbone,
        torch.ones(residues, BACKBONE_SLOTS, dtype=torch.bool),
        torch.full((residues, SIDE_SLOTS), 0.17),
        torch.full((residues, BACKBONE_SLOTS), 0.16),
        torch.arange(1, residues + 1),
        torch.rand(frames, sweeps, residues),
    ]
    return [t.to(device) for t in inputs]


def contacts(residues: int, device: str) -> dict:
    """A table as large as that of the protein model, whose energies are zero."""
    return {
        "contacts": torch.zeros(20, 20, 32, device=device),
        "classes": torch.randint(0, 20, (residues, SIDE_SLOTS), device=device),
        "backbone_classes": torch.randint(0, 20, (residues, BACKBONE_SLOTS), device=device),
        "reach": 0.48,
    }


def run(options: Namespace) -> None:
    for frames, residues, candidates, sweeps in [(16, 76, 16, 4), (8, 300, 16, 4), (2, 2000, 16, 4)]:
        inputs = proteins(frames, residues, candidates, sweeps, options.device)
        items = frames * residues
        timings = [
            measure("backmap", partial(pack_side_chains, *inputs, strength=500.0), items, options),
            measure(
                "with contacts",
                partial(pack_side_chains, *inputs, strength=500.0, **contacts(residues, options.device)),
                items,
                options,
            ),
        ]
        if residues <= 300:
            one = [t[:1] if i in (0, 2, 7) else t for i, t in enumerate(inputs)]
            call = partial(reference.pack_side_chains, *one, 500.0)
            one_frame = measure("PyTorch, residue by residue", call, residues, options)
            timings.append(one_frame.scaled(frames))
        title = f"{frames} frames of {residues} residues, {candidates} candidates, {sweeps} sweeps"
        report(title, timings, "residues", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
