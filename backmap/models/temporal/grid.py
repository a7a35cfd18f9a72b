"""Whether a voxel grid suits a molecule: it must enclose it, and its voxels must resolve a particle."""

from __future__ import annotations

import math

from backmap.models.temporal.config import VoxelConfig

SIGMA_IN_VOXELS = 0.47
"""Standard deviation of a particle in voxels that the published grids have."""

_MIN_SIGMA_IN_VOXELS = 0.45
_MARGIN_IN_SIGMAS = 2.0


def suggest_grid(radius_nm: float, grid_points: int = 12) -> tuple[float, float]:
    """Width and sigma (nm) of a grid for a molecule whose atoms lie within a radius of their mean."""
    # width / 2 = radius + margin sigma, sigma = SIGMA_IN_VOXELS width / grid_points
    width = radius_nm / (0.5 - _MARGIN_IN_SIGMAS * SIGMA_IN_VOXELS / grid_points)
    width = math.ceil(width * 20) / 20
    return width, round(SIGMA_IN_VOXELS * width / grid_points, 4)


def check_grid(config: VoxelConfig, radius_nm: float) -> None:
    """Refuse a grid that does not suit a molecule.

    Parameters
    ----------
    config : VoxelConfig
        The grid.
    radius_nm : float
        Largest distance of an atom from the mean of all atoms, in any frame: frames are turned at random.

    Raises
    ------
    ValueError
        Saying which numbers to use.
    """
    voxel = config.width_nm / config.grid_points
    width, sigma = suggest_grid(radius_nm, config.grid_points)
    if config.width_nm / 2 < radius_nm:
        raise ValueError(
            f"width_nm = {config.width_nm:g} does not enclose the molecule, whose atoms lie up to "
            f"{radius_nm:.3f} nm from its centre; use width_nm = {width:g} and sigma_nm = {sigma:g}"
        )
    if config.sigma_nm < _MIN_SIGMA_IN_VOXELS * voxel:
        lowest = math.ceil(1e4 * _MIN_SIGMA_IN_VOXELS * voxel) / 1e4
        points = math.ceil(_MIN_SIGMA_IN_VOXELS * config.width_nm / config.sigma_nm)
        raise ValueError(
            f"sigma_nm = {config.sigma_nm:g} is not resolved by voxels of {voxel:.4g} nm; use sigma_nm = "
            f"{lowest:g} or more, or grid_points = {points} or more"
        )
