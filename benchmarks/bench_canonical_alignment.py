"""How fast are nearest residues in local frames, against batched PyTorch (cdist, topk, gather, einsum)?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.ops import FrameRule, canonical_alignment, reference


def structures(frames: int, residues: int, slots: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Atoms of folded proteins at their usual density, and three consecutive points for each residue."""
    extent = (residues / 7.5) ** (1 / 3)
    centre = torch.rand(frames, residues, 1, 3) * extent
    atoms = centre + 0.15 * torch.randn(frames, residues, slots, 3)
    triangle = torch.stack([centre[:, :, 0].roll(s, 1) for s in (1, 0, -1)], dim=2)
    return atoms.to(device), triangle.to(device)


def batched_pytorch(atoms, query, triangle, exclude, neighbours):
    """The same in few, large tensor operations: fast, but (frames, residues, residues, atoms) of memory."""
    frames, residues, slots, _ = atoms.shape
    distance = torch.cdist(query, atoms.flatten(1, 2)).unflatten(-1, (residues, slots)).amin(-1)
    distance.scatter_(-1, exclude.expand(frames, -1).unsqueeze(-1), float("inf"))
    index = distance.topk(neighbours, largest=False).indices
    frame = reference.local_frame(triangle, FrameRule.ISOSCELES)
    chosen = atoms[torch.arange(frames, device=atoms.device)[:, None, None], index]
    local = torch.einsum("bqij,bqkaj->bqkai", frame[:, :, :3], chosen - frame[:, :, None, None, 3])
    return local, index, frame


def run(options: Namespace) -> None:
    cases = [(16, 300, 2, 24), (16, 300, 11, 14), (2, 2000, 2, 24), (2, 2000, 11, 14)]
    for frames, residues, slots, neighbours in cases:
        atoms, triangle = structures(frames, residues, slots, options.device)
        query, exclude = triangle[:, :, 1], torch.arange(residues, device=options.device)
        own = partial(canonical_alignment, atoms, query, triangle, neighbours=neighbours, exclude=exclude)
        batched = partial(batched_pytorch, atoms, query, triangle, exclude, neighbours)
        calls = {"backmap": own, "batched PyTorch": batched}
        timings = [measure(name, call, frames * residues, options) for name, call in calls.items()]
        title = f"{frames} frames of {residues} residues, {neighbours} neighbours of {slots} atoms"
        report(title, timings, "environments", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
