"""How fast is the penalty of bonds, angles and overlaps, and its gradient, against batched PyTorch (cdist)?"""

from argparse import Namespace
from functools import partial

import torch
from bench_structure_score import (
    ATOMS_OF_RESIDUE,
    BONDS_OF_RESIDUE,
    SLOTS,
    Structures,
    show_nanoseconds,
    structures,
)
from compare import Work, arguments, compiled, every, measure, report
from torch import Tensor

from backmap.ops import structure_penalty

RADIUS, EXCLUDED_EACH_WAY = 0.15, 4


def exclusions(s: Structures) -> tuple[Tensor, Tensor]:
    """For each atom, those of the next few slots before and after."""
    atoms = s.present.numel()
    offsets = [d for d in range(-EXCLUDED_EACH_WAY, EXCLUDED_EACH_WAY + 1) if d]
    others = torch.arange(atoms)[:, None] + torch.tensor(offsets)
    inside = (others >= 0) & (others < atoms)
    start = torch.cat([torch.zeros(1, dtype=torch.int64), inside.sum(1).cumsum(0)])
    return start.to(s.atoms.device), others[inside].to(s.atoms.device)


def batched_pytorch(atoms, present, bonds, lengths, counts):
    """The same with all pairs of atoms: (frames, atoms, atoms) of memory, what counts computed once."""
    points = atoms.flatten(1, 2)
    there = present.flatten()
    i, j = bonds[there[bonds].all(-1)].unbind(-1)
    stretch = ((points[:, i] - points[:, j]).norm(dim=-1) - lengths[0]).square().sum(-1)
    distance = torch.cdist(points[:, there], points[:, there])
    overlap = ((2 * RADIUS - distance).clamp(min=0).square() * counts).sum((-1, -2))
    return torch.stack([stretch, stretch, overlap / 2], dim=-1)


def pairs_that_count(s: Structures) -> Tensor:
    """(atoms, atoms) of the atoms present: 1 where two may repel each other."""
    atom = torch.arange(s.present.numel(), device=s.atoms.device)[s.present.flatten()]
    return ((atom[:, None] - atom).abs() > EXCLUDED_EACH_WAY).float()


def least_work(s: Structures) -> Work:
    """What the score needs, and for each atom its radius and exclusions, and eight neighbours compared."""
    frames, residues = s.atoms.shape[:2]
    pairs, slots = 2 * residues * BONDS_OF_RESIDUE, residues * SLOTS
    shared = slots * (1 + 4 + 8 + 16 * EXCLUDED_EACH_WAY) + pairs * 20
    return Work(
        frames * slots * 12 + shared, frames * (pairs * 12 + residues * ATOMS_OF_RESIDUE * (20 + 8 * 10))
    )


def gradient(function, atoms: Tensor, *args) -> Tensor:
    leaf = atoms.detach().requires_grad_()
    return torch.autograd.grad(function(leaf, *args).sum(), leaf)[0]


def run(options: Namespace) -> None:
    for frames, residues in [(10, 300), (1, 1_000), (1, 10_000), (1, 100_000)]:
        s = structures(frames, residues, options.device)
        radii = torch.full_like(s.atoms[0, ..., 0], RADIUS)
        terms = [s.bonds, s.lengths, s.bonds, s.lengths, radii, *exclusions(s)]
        free = partial(structure_penalty, present=s.present)
        boxed = partial(structure_penalty, present=s.present, box=s.box)
        alone = {
            "backmap": partial(free, s.atoms, *terms),
            "backmap, in a box": partial(boxed, s.atoms, *terms),
        }
        both = {
            "backmap": partial(gradient, free, s.atoms, *terms),
            "backmap, in a box": partial(gradient, boxed, s.atoms, *terms),
        }
        if residues < 1_000:  # beyond, all pairs would take gigabytes
            plain = (s.atoms, s.present, s.bonds, s.lengths, pairs_that_count(s))
            alone["batched PyTorch"] = partial(batched_pytorch, *plain)
            alone["torch.compile of it"] = compiled(alone["batched PyTorch"])
            both["batched PyTorch"] = partial(gradient, batched_pytorch, *plain)
        for what, calls in (("energy", alone), ("energy and gradient", both)):
            timings = [measure(name, call, s.residues, options) for name, call in calls.items() if call]
            title = f"{frames} frame{'s' * (frames > 1)} of {residues} residues, {what}"
            report(title, timings, "residues", options, least_work(s))
            show_nanoseconds(timings)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
