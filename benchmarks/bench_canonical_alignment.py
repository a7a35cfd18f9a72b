"""How fast are nearest residues in local frames, and their gradients, against PyTorch?

Rows:

PyTorch, in blocks    the same rule (exact distances, masks, ties to the lower index), for as many queries at
                      a time as keep their distances in the cache: the fastest form that was found
PyTorch, at once      the same for all queries of all frames together
torch.compile         of the latter
cdist, topk           a looser rule: distances rounded as matrix products, ties in any order, no masks
"""

from collections.abc import Callable
from functools import partial

import torch
from compare import Timing, Work, arguments, compiled, every, measure, report
from torch import Tensor

from backmap.ops import FrameRule, canonical_alignment, reference

QUERIES_OF_BLOCK = 300


def structures(frames: int, residues: int, slots: int, device: str) -> tuple[Tensor, Tensor]:
    """Atoms of folded proteins at their usual density, and three consecutive points for each residue."""
    extent = (residues / 7.5) ** (1 / 3)
    centre = torch.rand(frames, residues, 1, 3) * extent
    atoms = centre + 0.15 * torch.randn(frames, residues, slots, 3)
    triangle = torch.stack([centre[:, :, 0].roll(s, 1) for s in (1, 0, -1)], dim=2)
    return atoms.to(device), triangle.to(device)


def nearest(coordinates: Tensor, query: Tensor, exclude: Tensor, neighbours: int) -> Tensor:
    """Nearest residues (*, queries, neighbours).

    Coordinates are (*, 3, slots, residues), infinite where an atom does not count.
    """
    x, y, z = (query[..., None, axis] for axis in range(3))
    squared = None
    for slot in range(coordinates.shape[-2]):
        px, py, pz = (coordinates[..., axis, slot, :].unsqueeze(-2) for axis in range(3))
        of_slot = (px - x).square_().add_((py - y).square_()).add_((pz - z).square_())
        squared = of_slot if squared is None else torch.minimum(squared, of_slot, out=squared)
    squared.scatter_(-1, exclude.expand(squared.shape[:-1]).unsqueeze(-1), torch.inf)
    # The bits of numbers that are not negative keep their order as integers: one key of distance and index.
    index = torch.arange(squared.shape[-1], device=squared.device)
    key = (squared.view(torch.int32).long() << 32) | index
    return key.topk(neighbours, largest=False).values & 0xFFFFFFFF


def nearest_in_blocks(coordinates: Tensor, query: Tensor, exclude: Tensor, neighbours: int) -> Tensor:
    """The same, frame by frame and block by block."""
    index = exclude.new_empty((*query.shape[:2], neighbours))
    for frame, points in enumerate(query):
        for first in range(0, len(points), QUERIES_OF_BLOCK):
            block = slice(first, first + QUERIES_OF_BLOCK)
            index[frame, block] = nearest(coordinates[frame], points[block], exclude[block], neighbours)
    return index


def turned(atoms: Tensor, present: Tensor, index: Tensor, triangle: Tensor) -> tuple[Tensor, Tensor]:
    """Chosen residues in their local frames, and the frames."""
    frames, residues, slots, _ = atoms.shape
    frame = reference.local_frame(triangle, FrameRule.ISOSCELES)
    rows = index + residues * torch.arange(frames, device=index.device)[:, None, None]
    chosen = atoms.flatten(0, 1).index_select(0, rows.flatten()).view(*index.shape[:2], -1, 3)
    local = torch.matmul(chosen - frame[:, :, 3:], frame[:, :, :3].mT).unflatten(2, (-1, slots))
    return local.where(present[index].unsqueeze(-1), 0.0), frame


def pytorch(find: Callable[..., Tensor], atoms: Tensor, triangle: Tensor, present: Tensor, selectable: Tensor,
            exclude: Tensor, neighbours: int) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The rule of the operator in PyTorch."""
    counts = (present & selectable).unsqueeze(-1)
    coordinates = atoms.detach().where(counts, torch.inf).permute(0, 3, 2, 1).contiguous()
    index = find(coordinates, triangle.detach()[:, :, 1], exclude, neighbours)
    local, frame = turned(atoms, present, index, triangle)
    return local, index, frame


def cdist_and_topk(coordinates: Tensor, query: Tensor, exclude: Tensor, neighbours: int) -> Tensor:
    """The looser rule."""
    points = coordinates.permute(0, 3, 2, 1)
    distance = torch.cdist(query, points.flatten(1, 2)).unflatten(-1, points.shape[1:3]).amin(-1)
    distance.scatter_(-1, exclude.expand(len(query), -1).unsqueeze(-1), torch.inf)
    return distance.topk(neighbours, largest=False).indices


def with_gradients(call: Callable[..., tuple], atoms: Tensor, triangle: Tensor, *rest) -> None:
    """Gradients of the sum of the results."""
    atoms, triangle = (t.detach().requires_grad_() for t in (atoms, triangle))
    local, _, frame = call(atoms, triangle, *rest)
    torch.autograd.backward([local, frame], [torch.ones_like(local), torch.ones_like(frame)])


def own(
    atoms: Tensor, triangle: Tensor, present: Tensor, selectable: Tensor, exclude: Tensor, neighbours: int
):
    """The operator."""
    return canonical_alignment(
        atoms, triangle[:, :, 1], triangle, neighbours=neighbours, present=present, selectable=selectable,
        exclude=exclude,
    )  # fmt: skip


def work(frames: int, residues: int, slots: int, neighbours: int) -> Work:
    """Every argument read once and every result written once; chosen atoms turned, and their distances."""
    environments = frames * residues
    read = environments * (12 * slots + 12 + 36)
    written = environments * (12 * slots * neighbours + 8 * neighbours + 48)
    return Work(read + written, environments * neighbours * slots * (18 + 8))


def main() -> None:
    for options in every(arguments(__doc__)):
        for case in [(16, 300, 2, 24), (16, 300, 11, 14), (2, 2000, 2, 24), (2, 2000, 11, 14)]:
            compare(*case, options)


def compare(frames: int, residues: int, slots: int, neighbours: int, options) -> None:
    atoms, triangle = structures(frames, residues, slots, options.device)
    mask = torch.ones(residues, slots, dtype=torch.bool, device=options.device)
    exclude = torch.arange(residues, device=options.device)
    rest = atoms, triangle, mask, mask, exclude, neighbours
    calls = {
        "backmap": own,
        "PyTorch, in blocks": partial(pytorch, nearest_in_blocks),
        "PyTorch, at once": partial(pytorch, nearest),
    }
    results = [call(*rest)[1] for call in calls.values()]
    assert all(torch.equal(results[0], other) for other in results[1:])  # the same work
    title = f"{frames} frames of {residues} residues, {neighbours} neighbours of {slots} atoms"

    def timed(name: str, call: Callable[[], object]) -> Timing:
        return measure(name, call, frames * residues, options)

    timings = [timed(name, partial(call, *rest)) for name, call in calls.items()]
    fused = compiled(partial(pytorch, nearest, *rest))
    if fused:
        timings.append(timed("torch.compile", fused))
    timings.append(timed("cdist, topk", partial(pytorch, cdist_and_topk, *rest)))
    report(title, timings, "environments", options, work(frames, residues, slots, neighbours))
    both = [timed(name, partial(with_gradients, call, *rest)) for name, call in calls.items()]
    report(f"{title}, with gradients", both, "environments", options)


if __name__ == "__main__":
    main()
