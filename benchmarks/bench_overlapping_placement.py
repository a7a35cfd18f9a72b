"""How fast are overlapping points placed, and their gradients, against PyTorch (einsum, scatter, gather)?"""

from collections.abc import Callable
from functools import partial

import torch
from compare import Work, arguments, compiled, every, measure, report
from torch import Tensor

from backmap.ops import overlapping_placement, reference

SLOTS = 14


def chain(residues: int) -> Tensor:
    """Targets (residues, 17): each residue, then C and O of the one before it and N of the one after it."""
    own = torch.arange(residues * SLOTS).reshape(residues, SLOTS)
    target = torch.full((residues, SLOTS + 3), -1)
    target[:, :SLOTS] = own
    target[1:, SLOTS : SLOTS + 2] = own[:-1, 2:4]
    target[:-1, SLOTS + 2] = own[1:, 0]
    return target


def pytorch(atoms: Tensor, frame: Tensor, local: Tensor, target: Tensor) -> Tensor:
    """The rule of the operator in PyTorch: the last point of each atom, then all atoms at once."""
    flat, points = atoms.flatten(-3, -2), reference.canonical_placement(frame, local).flatten(-3, -2)
    order = torch.arange(target.numel(), device=target.device)
    winner = torch.full(
        (flat.shape[-2] + 1,), -1, device=target.device
    )  # the last one takes those without target
    winner.scatter_reduce_(0, target.flatten() % (flat.shape[-2] + 1), order, "amax")
    winner = winner[:-1]
    placed = torch.where((winner >= 0)[:, None], points.index_select(-2, winner.clamp(min=0)), flat)
    return placed.view_as(atoms)


def with_gradients(
    call: Callable[..., Tensor], atoms: Tensor, frame: Tensor, local: Tensor, target: Tensor
) -> None:
    """Gradients of the sum of the results."""
    atoms, frame, local = (t.detach().requires_grad_() for t in (atoms, frame, local))
    placed = call(atoms, frame, local, target)
    placed.backward(torch.ones_like(placed))


def main() -> None:
    for options in every(arguments(__doc__)):
        for frames, residues in [(64, 300), (8, 2000)]:
            sizes = (frames, residues, SLOTS, 3), (frames, residues, 4, 3), (frames, residues, SLOTS + 3, 3)
            given = [torch.rand(size).to(options.device) for size in sizes] + [
                chain(residues).to(options.device)
            ]
            torch.testing.assert_close(overlapping_placement(*given), pytorch(*given))
            calls = {"backmap": overlapping_placement, "PyTorch": pytorch}
            items, unit = frames * residues, "residues"
            timings = [measure(name, partial(call, *given), items, options) for name, call in calls.items()]
            fused = compiled(partial(pytorch, *given))
            if fused:
                timings.append(measure("torch.compile", fused, items, options))
            title = f"{frames} frames of {residues} residues"
            moved = sum(t.nbytes for t in given) + given[0].nbytes
            report(title, timings, unit, options, Work(moved, 18 * items * (SLOTS + 3)))
            both = [
                measure(name, partial(with_gradients, call, *given), items, options)
                for name, call in calls.items()
            ]
            report(f"{title}, with gradients", both, unit, options)


if __name__ == "__main__":
    main()
