"""How fast are bond and clash scores, against batched PyTorch (cdist of all atoms)? Linear in size?"""

from argparse import Namespace
from dataclasses import dataclass
from functools import partial

import torch
from compare import Timing, Work, arguments, compiled, every, measure, report
from torch import Tensor

from backmap.ops import structure_score

SLOTS, ATOMS_OF_RESIDUE, BONDS_OF_RESIDUE, SPACING = 14, 8, 8, 0.51


@dataclass(frozen=True)
class Structures:
    """Synthetic proteins: residues on a winding lattice, as dense as in globular proteins."""

    atoms: Tensor
    present: Tensor
    side_chain: Tensor
    following: Tensor
    bonds: Tensor
    lengths: Tensor
    box: Tensor

    @property
    def residues(self) -> int:
        """Residues of all frames together."""
        return self.atoms.shape[0] * self.atoms.shape[1]


def structures(frames: int, residues: int, device: str) -> Structures:
    """Frames of a structure of so many residues, and the box that it fills."""
    edge = int(residues ** (1 / 3)) + 1
    layer, place = (
        torch.arange(residues).div(edge**2, rounding_mode="floor"),
        torch.arange(residues) % edge**2,
    )
    row, column = place.div(edge, rounding_mode="floor"), place % edge
    row = torch.where(layer % 2 == 1, edge - 1 - row, row)
    column = torch.where((layer + row) % 2 == 1, edge - 1 - column, column)
    centre = SPACING * torch.stack([column, row, layer], dim=-1)
    within = torch.randint(0, SLOTS, (residues, BONDS_OF_RESIDUE, 2))
    parts = (
        centre[:, None] + 0.12 * torch.randn(frames, residues, SLOTS, 3),
        torch.rand(residues, SLOTS).argsort(-1) < ATOMS_OF_RESIDUE,
        (torch.arange(SLOTS) >= 4).expand(residues, -1).contiguous(),
        torch.arange(1, residues + 1),
        (torch.arange(residues)[:, None, None] * SLOTS + within).flatten(0, 1),
        torch.full((residues * BONDS_OF_RESIDUE,), 0.15),
        SPACING * edge * torch.eye(3),
    )
    return Structures(*(part.to(device) for part in parts))


def batched_pytorch(atoms, present, side_chain, following, bonds, lengths):
    """The same with all pairs of atoms: (frames, atoms, atoms) of memory, the mask computed once."""
    points = atoms.flatten(1, 2)
    i, j = bonds.unbind(-1)
    deviation = (points[:, i] - points[:, j]).norm(dim=-1) / lengths - 1
    there = present.flatten()
    deviation = torch.where(there[i] & there[j], deviation, 0.0)
    residue = torch.arange(len(following), device=atoms.device).repeat_interleave(SLOTS)[there]
    side = side_chain.flatten()[there]
    after = following[residue][:, None] == residue
    apart = (residue[:, None] != residue) & ~(after | after.T)
    counts = apart | ((residue[:, None] != residue) & side[:, None] & side)
    close = ((torch.cdist(points[:, there], points[:, there]) < 0.12) & counts).any(-1)
    clash = torch.zeros(len(atoms), len(following), device=atoms.device)
    clash = clash.index_add(1, residue, close.float()) > 0
    return deviation, clash, clash.sum(-1)


def least_work(s: Structures) -> Work:
    """All read or written once; a place among the cells and one distance for each atom."""
    frames, residues = s.atoms.shape[:2]
    bonds = residues * BONDS_OF_RESIDUE
    of_frame = residues * SLOTS * 12 + bonds * 4 + residues
    shared = residues * SLOTS * 2 + bonds * 20
    return Work(frames * of_frame + shared, frames * (bonds * 12 + residues * ATOMS_OF_RESIDUE * 20))


def compare_with_pytorch(options: Namespace) -> None:
    for frames, residues in [(50, 76), (10, 300)]:
        s = structures(frames, residues, options.device)
        plain = partial(batched_pytorch, s.atoms, s.present, s.side_chain, s.following, s.bonds, s.lengths)
        calls = {
            "backmap": partial(score, s),
            "backmap, in a box": partial(score, s, s.box),
            "batched PyTorch": plain,
            "torch.compile of it": compiled(plain),
        }
        timings = [measure(name, call, s.residues, options) for name, call in calls.items() if call]
        report(f"{frames} frames of {residues} residues", timings, "residues", options, least_work(s))


def grow(options: Namespace) -> None:
    for residues in (1_000, 10_000, 100_000):
        s = structures(1, residues, options.device)
        timings = [
            measure("backmap", partial(score, s), residues, options),
            measure("backmap, in a box", partial(score, s, s.box), residues, options),
        ]
        report(f"1 frame of {residues} residues", timings, "residues", options, least_work(s))
        show_nanoseconds(timings)


def show_nanoseconds(timings: list[Timing]) -> None:
    print("  " + ", ".join(f"{t.name}: {1e9 / t.rate:.0f} ns a residue" for t in timings))


def score(s: Structures, box: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    return structure_score(s.atoms, s.side_chain, s.following, s.bonds, s.lengths, present=s.present, box=box)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        compare_with_pytorch(options)
        grow(options)
