"""Densities of particles on a voxel grid."""

import torch
from torch import Tensor


def voxelize(
    coordinates: Tensor,
    *,
    grid_points: int | None = None,
    width: float,
    sigma: float,
    out: Tensor | None = None,
) -> Tensor:
    """Return the Gaussian density of each particle on its own cubic grid, centred at the origin.

    The density of particle r at voxel v is exp(-|v - r|^2 / (2 sigma^2)), with the voxels' centres at
    (k - grid_points / 2 + 1 / 2) * width / grid_points, k = 0 ... grid_points - 1, along each axis.

    Parameters
    ----------
    coordinates : Tensor (*, N, 3), float32 or float64
        Positions of the particles relative to the centre of the grid, in nm.
    grid_points : int, optional
        Voxels along each axis, d, from 1 to 512. May be omitted if `out` is given.
    width : float
        Edge of the grid in nm.
    sigma : float
        Standard deviation of the Gaussians in nm.
    out : Tensor (*, N, d, d, d), dtype of `coordinates`, optional
        Tensor to write the density to, such as a slice `all[..., first:first + N, :, :, :]` of a larger
        tensor. It must be dense in its last three dimensions; the others may have any strides.

    Returns
    -------
    Tensor (*, N, d, d, d)
        Densities from 0 to 1; dimensions -3, -2, -1 are x, y, z. This is `out` if given. Gradients flow to
        `coordinates`, to first order only, and not with `out`.

    Raises
    ------
    TypeError
        If an argument has the wrong dtype, or neither `grid_points` nor `out` is given.
    ValueError
        If an argument has the wrong shape, strides, device or value.
    RuntimeError
        If `out` is given while `coordinates` or `out` require a gradient and gradients are enabled.

    Notes
    -----
    A NaN coordinate makes the density and the gradient of its particle NaN. Particles far outside the grid,
    even at infinity, have zero density and zero gradient. The density is a product of three factors, one per
    axis; factors below 2^-42 (float32) or 2^-340 (float64), 7.6 and 21.7 sigma away, count as zero.

    Memory: the output only; with `out`, none (a copy of `coordinates` if they are not contiguous). Each CPU
    thread uses another 2 d^2 + 6 d elements, 5 d^2 + 9 d in the backward pass. Backward pass: the gradient of
    `coordinates`, and a copy of the incoming gradient if its last three dimensions are not dense.

    References
    ----------
    Shmilovich, Stieffenhofer, Charron, Hoffmann, J. Phys. Chem. A 2022, 126, 9124.
    """
    if out is None:
        if grid_points is None:
            raise TypeError("voxelize: give grid_points or out")
        return torch.ops.backmap.voxelize(coordinates, grid_points, width, sigma)
    if grid_points is not None and tuple(out.shape[-3:]) != (grid_points,) * 3:
        raise ValueError(
            f"voxelize: out must end in {(grid_points,) * 3} (grid_points), got shape {tuple(out.shape)}"
        )
    torch.ops.backmap.voxelize_into(coordinates, out, width, sigma)
    return out
