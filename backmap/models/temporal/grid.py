"""Check of voxel grids: a grid must enclose the molecule, and its voxels must resolve particles."""

from __future__ import annotations

import math

from backmap.models.temporal.config import VoxelConfig

SIGMA_IN_VOXELS = 0.47
"""Standard deviation of a particle, in voxels, of the published grids."""

_MIN_SIGMA_IN_VOXELS = 0.45
_MARGIN_IN_SIGMAS = 2.0


def suggest_grid(radius_nm: float, grid_points: int = 12) -> tuple[float, float]:
    """Return width and sigma (nm) of a grid for a molecule with atoms within a radius of their mean."""
    # width / 2 = radius + margin sigma, sigma = SIGMA_IN_VOXELS width / grid_points
    width = radius_nm / (0.5 - _MARGIN_IN_SIGMAS * SIGMA_IN_VOXELS / grid_points)
    width = math.ceil(width * 20) / 20
    return width, round(SIGMA_IN_VOXELS * width / grid_points, 4)


def check_grid(config: VoxelConfig, radius_nm: float) -> None:
    """Check that a grid suits a molecule.

    Parameters
    ----------
    config : VoxelConfig
        The grid.
    radius_nm : float
        Largest distance of an atom from the mean of all atoms in any frame; frames are rotated at random.

    Raises
    ------
    ValueError
        If it does not; the message suggests values.
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
