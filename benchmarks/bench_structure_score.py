"""How fast are bond and clash scores, against batched PyTorch (cdist of all atoms)?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.ops import structure_score

SLOTS, ATOMS_OF_RESIDUE, BONDS_OF_RESIDUE = 14, 8, 8


def batched_pytorch(atoms, side_chain, linked, bonds, lengths, present):
    """The same with all pairs of atoms: (frames, atoms, atoms) of memory, the mask computed once."""
    points = atoms.flatten(1, 2)
    i, j = bonds.unbind(-1)
    deviation = (points[:, i] - points[:, j]).norm(dim=-1) / lengths - 1
    there = present.flatten()
    deviation = torch.where(there[i] & there[j], deviation, 0.0)
    residue = torch.arange(len(linked), device=atoms.device).repeat_interleave(SLOTS)[there]
    side = side_chain.flatten()[there]
    gap = (residue[:, None] - residue).abs()
    counts = (gap > 1) | ((gap == 1) & ((side[:, None] & side) | ~linked[residue]))
    close = (torch.cdist(points[:, there], points[:, there]) < 0.12) & counts
    clash = torch.zeros(len(atoms), len(linked), dtype=torch.bool, device=atoms.device)
    frame, atom = close.any(-1).nonzero(as_tuple=True)
    clash[frame, residue[atom]] = True
    return deviation, clash, clash.sum(-1)


def run(options: Namespace) -> None:
    for frames, residues in [(50, 76), (10, 300), (1, 3000)]:
        extent = (residues / 7.5) ** (1 / 3)
        atoms = torch.rand(frames, residues, 1, 3) * extent + 0.15 * torch.randn(frames, residues, SLOTS, 3)
        present = torch.rand(residues, SLOTS).argsort(-1) < ATOMS_OF_RESIDUE
        side_chain = (torch.arange(SLOTS) >= 4).expand(residues, -1).contiguous()
        linked = torch.ones(residues, dtype=torch.bool)
        bonds = torch.randint(0, residues * SLOTS, (residues * BONDS_OF_RESIDUE, 2))
        lengths = torch.full((len(bonds),), 0.15)
        inputs = [t.to(options.device) for t in (atoms, side_chain, linked, bonds, lengths, present)]
        calls = {"backmap": partial(structure_score, *inputs[:5], present=inputs[5])}
        if residues < 1000:  # beyond, all pairs would take gigabytes
            calls["batched PyTorch"] = partial(batched_pytorch, *inputs)
        timings = [measure(name, call, frames * residues, options) for name, call in calls.items()]
        report(f"{frames} frames of {residues} residues", timings, "residues", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
