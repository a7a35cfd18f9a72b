"""How fast are densities on voxels, against broadcasting and separable PyTorch?"""

import math
from functools import partial

import torch
from compare import Work, arguments, compiled, every, measure, report, with_gradient, without_gradient
from torch import Tensor

from backmap.ops import voxelize
from backmap.ops.reference import voxel_centres

OPERATIONS_OF_FACTOR = 30
"""Of one exponential and its argument."""


def broadcast(coordinates: Tensor, grid_points: int, width: float, sigma: float) -> Tensor:
    """Every voxel's distance from every particle."""
    centres = voxel_centres(grid_points, width, coordinates)
    voxels = torch.stack(torch.meshgrid(centres, centres, centres, indexing="ij"), -1)
    squared = ((voxels - coordinates[..., None, None, None, :]) ** 2).sum(-1)
    return torch.exp(-squared / (2 * sigma**2))


def factors(coordinates: Tensor, grid_points: int, width: float, sigma: float) -> tuple[Tensor, ...]:
    """One Gaussian (*, N, grid_points) for each axis."""
    offset = coordinates.unsqueeze(-1) - voxel_centres(grid_points, width, coordinates)
    return torch.exp(offset.square() * (-1 / (2 * sigma**2))).unbind(-2)


def products(coordinates: Tensor, grid_points: int, width: float, sigma: float) -> Tensor:
    """The product of the factors, smaller tensors first."""
    x, y, z = factors(coordinates, grid_points, width, sigma)
    plane = (y.unsqueeze(-1) * z.unsqueeze(-2)).flatten(-2)
    return (x.unsqueeze(-1) * plane.unsqueeze(-2)).unflatten(-1, (grid_points, grid_points))


def einsum(coordinates: Tensor, grid_points: int, width: float, sigma: float) -> Tensor:
    """The same, as torch orders it."""
    return torch.einsum("bni,bnj,bnk->bnijk", *factors(coordinates, grid_points, width, sigma))


def main() -> None:
    for options in every(arguments(__doc__)):
        for batch, particles, points in [(64, 22, 12), (16, 175, 16), (64, 175, 16)]:
            compare(batch, particles, points, options)


def compare(batch: int, particles: int, points: int, options) -> None:
    width = 0.15 * points
    sigma = 0.4 * math.sqrt(0.5) * width / points
    coordinates = ((torch.rand(batch, particles, 3) - 0.5) * width).to(options.device).requires_grad_()
    out = torch.zeros(batch, particles, points, points, points, device=options.device)
    grad = torch.rand_like(out)
    sizes = {"grid_points": points, "width": width, "sigma": sigma}
    own = partial(voxelize, coordinates, **sizes)
    others = {
        "separable PyTorch, products": partial(products, coordinates, **sizes),
        "separable PyTorch, einsum": partial(einsum, coordinates, **sizes),
    }
    if out.numel() < 2e7:  # beyond, it would take gigabytes
        others["broadcasting PyTorch"] = partial(broadcast, coordinates, **sizes)
    fast = compiled(others["separable PyTorch, products"])
    if fast:
        others["torch.compile of the products"] = fast

    title = f"({batch}, {particles}, d = {points}), {out.numel() * out.itemsize / 1e6:.0f} MB"
    count = batch * particles
    operations = out.numel() + count * (points**2 + 3 * points * OPERATIONS_OF_FACTOR)
    work = Work(out.numel() * out.itemsize, operations)
    into = partial(voxelize, coordinates, **sizes, out=out)
    calls = {"backmap, out=": into, "backmap": own, **others}
    timings = [measure(name, without_gradient(call), count, options) for name, call in calls.items()]
    report(f"density {title}", timings, "particles", options, work)

    calls = {"backmap": own, **others}
    timings = [measure(n, with_gradient(c, coordinates, grad), count, options) for n, c in calls.items()]
    both = Work(2 * work.bytes_moved, 2 * operations + 4 * out.numel())
    report(f"density and gradient {title}", timings, "particles", options, both)


if __name__ == "__main__":
    main()
