"""Positions of particles from their densities on a grid of voxels."""

import torch
from torch import Tensor


def density_to_coordinates(density: Tensor, *, width: float, logits: bool = False) -> Tensor:
    """Centre of every particle's density: sum of v * density(v) over sum of density(v), over the voxels v.

    The grid is that of `voxelize`.

    Parameters
    ----------
    density : Tensor (*, N, d, d, d), float32 or float64
        A density for each particle; dimensions -3, -2, -1 are x, y, z; d from 1 to 512.
    width : float
        Edge of the grid in nm.
    logits : bool
        Whether the density is the logistic function (sigmoid) of the values given.

    Returns
    -------
    Tensor (*, N, 3)
        Positions relative to the centre of the grid, in nm. Gradients flow to `density`, once.

    Raises
    ------
    TypeError
        If `density` has the wrong dtype.
    ValueError
        If an argument has the wrong shape or value.

    Notes
    -----
    Negative densities count as zero and get a zero gradient, so that the result lies inside the grid. A
    particle without any density stands at the centre of the grid, and its gradient is zero. A density that
    is not finite, or a sum of them that overflows, makes this particle's position and gradient NaN, and no
    other's. With `logits`, infinite values are the densities 0 and 1, values below -87 (float32) or -708
    (float64) are the density 0, and only NaN gives NaN.

    Where the summed density is below about 1e-38 (float32) the gradient may overflow.

    Memory: the output and one element a particle, the sum of its density, which the gradient needs (a copy of
    `density` where its last three dimensions are not dense). Each CPU thread works in 4 d^2 elements besides.
    Backward: the gradient of `density`.

    References
    ----------
    Shmilovich, Stieffenhofer, Charron, Hoffmann, J. Phys. Chem. A 2022, 126, 9124.
    """
    coordinates, _ = torch.ops.backmap.density_to_coordinates(density, width, logits)
    return coordinates
