"""How fast are the centres of densities, against sums on the full grid and over each axis in PyTorch?"""

from collections.abc import Callable
from functools import partial

import torch
from compare import Work, arguments, compiled, every, measure, report, with_gradient, without_gradient
from torch import Tensor

from backmap.ops import density_to_coordinates
from backmap.ops.reference import voxel_centres

OPERATIONS_OF_VOXEL = {False: 5, True: 35}
"""Weight and moments of one voxel, of a density and of a logit."""


def broadcast(density: Tensor, width: float) -> Tensor:
    """The definition: every voxel times its coordinates."""
    centres = voxel_centres(density.shape[-1], width, density)
    voxels = torch.stack(torch.meshgrid(centres, centres, centres, indexing="ij"), -1)
    first = (density.unsqueeze(-1) * voxels).sum((-2, -3, -4))
    return first / density.sum((-1, -2, -3)).unsqueeze(-1)


def marginals(density: Tensor, width: float) -> Tensor:
    """Sums over two axes, then over the third."""
    centres = voxel_centres(density.shape[-1], width, density)
    yz = density.sum(-3)
    x, y, z = density.sum((-1, -2)), yz.sum(-1), yz.sum(-2)
    first = torch.stack([x, y, z], -2) @ centres
    return first / x.sum(-1, keepdim=True)


def matrix_product(density: Tensor, width: float) -> Tensor:
    """All sums as one product with a matrix of coordinates and ones."""
    centres = voxel_centres(density.shape[-1], width, density)
    x, y, z = (axis.flatten() for axis in torch.meshgrid(centres, centres, centres, indexing="ij"))
    sums = density.flatten(-3) @ torch.stack([x, y, z, torch.ones_like(x)], -1)
    return sums[..., :3] / sums[..., 3:]


def of_density(form: Callable[..., Tensor], logits: bool) -> Callable[..., Tensor]:
    """The form for logits: with a sigmoid before it."""
    return (lambda density, width: form(torch.sigmoid(density), width)) if logits else form


def main() -> None:
    for options in every(arguments(__doc__)):
        for logits in (False, True):
            for batch, particles, points in [(64, 22, 12), (16, 175, 16), (64, 175, 16)]:
                compare(batch, particles, points, logits, options)


def compare(batch: int, particles: int, points: int, logits: bool, options) -> None:
    width = 0.15 * points
    density = torch.rand(batch, particles, points, points, points, device=options.device).requires_grad_()
    grad = torch.rand(batch, particles, 3, device=options.device)
    forms = {
        "separable PyTorch, sums": marginals,
        "separable PyTorch, matrix product": matrix_product,
    }
    if density.numel() < 2e7:  # beyond, it would take gigabytes
        forms["broadcasting PyTorch"] = broadcast
    calls = {"backmap": partial(density_to_coordinates, density, width=width, logits=logits)}
    calls |= {name: partial(of_density(form, logits), density, width) for name, form in forms.items()}
    fast = compiled(calls["separable PyTorch, sums"])
    if fast:
        calls["torch.compile of the sums"] = fast

    kind, megabytes = "logits" if logits else "density", density.numel() * density.itemsize / 1e6
    title = f"of {kind} ({batch}, {particles}, d = {points}), {megabytes:.0f} MB"
    count = batch * particles
    work = Work(density.numel() * density.itemsize, OPERATIONS_OF_VOXEL[logits] * density.numel())
    timings = [measure(name, without_gradient(call), count, options) for name, call in calls.items()]
    report(f"centres {title}", timings, "particles", options, work)

    timings = [measure(n, with_gradient(c, density, grad), count, options) for n, c in calls.items()]
    both = Work(3 * work.bytes_moved, 2 * work.operations)
    report(f"centres and gradient {title}", timings, "particles", options, both)


if __name__ == "__main__":
    main()
