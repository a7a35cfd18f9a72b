"""Positions of particles from their densities on a voxel grid."""

import torch
from torch import Tensor


def density_to_coordinates(density: Tensor, *, width: float, logits: bool = False) -> Tensor:
    """Return the centre of each density: sum of v * density(v) over sum of density(v), for all voxels v.

    The grid is the one of `voxelize`.

    Parameters
    ----------
    density : Tensor (*, N, d, d, d), float32 or float64
        One density per particle; dimensions -3, -2, -1 are x, y, z; d from 1 to 512.
    width : float
        Edge of the grid in nm.
    logits : bool
        Whether the values are logits, and the density is their logistic function (sigmoid).

    Returns
    -------
    Tensor (*, N, 3)
        Positions relative to the centre of the grid, in nm. Gradients flow to `density`, to first order only.

    Raises
    ------
    TypeError
        If `density` has the wrong dtype.
    ValueError
        If an argument has the wrong shape or value.

    Notes
    -----
    Negative densities count as zero and have a zero gradient, so that the result lies inside the grid. A
    particle without density is placed at the centre of the grid, with a zero gradient. A density that is not
    finite, or whose sum overflows, makes the position and the gradient of that particle only NaN. With
    `logits`, infinite values are the densities 0 and 1, values below -87 (float32) or -708 (float64) are the
    density 0, and only NaN gives NaN.

    Where the summed density is below about 1e-38 (float32) the gradient may overflow.

    Memory: the output and one element per particle, the sum of its density, for the gradient (and a copy of
    `density` if its last three dimensions are not dense), and 4 d^2 elements per CPU thread. Backward pass:
    the gradient of `density`.

    References
    ----------
    Shmilovich, Stieffenhofer, Charron, Hoffmann, J. Phys. Chem. A 2022, 126, 9124.
    """
    coordinates, _ = torch.ops.backmap.density_to_coordinates(density, width, logits)
    return coordinates
