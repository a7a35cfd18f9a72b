"""Pack the Ramachandran distributions of the Top8000 into the package.

``python -m backmap.datasets.ramachandran_grids FOLDER`` reads the six ``rama8000-*.data.gz`` of FOLDER (from
https://github.com/rlabduke/reference_data, ``Top8000/Top8000_ramachandran_pct_contour_grids``, gzipped) and
writes ``backmap/chemistry/ramachandran.npz``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from backmap.chemistry.ramachandran import (
    CELL_DEGREES,
    CELLS,
    LOGARITHM_STEP,
    RAMACHANDRAN_CLASSES,
    RESOURCE,
)

FILES = {
    "general": "rama8000-general-noGPIVpreP.data.gz",
    "glycine": "rama8000-gly-sym.data.gz",
    "isoleucine-valine": "rama8000-ileval-nopreP.data.gz",
    "pre-proline": "rama8000-prepro-noGP.data.gz",
    "trans-proline": "rama8000-transpro.data.gz",
    "cis-proline": "rama8000-cispro.data.gz",
}


def read_grid(path: Path) -> np.ndarray:
    """Read percentiles (180, 180) by phi and psi; cells that the file leaves out are 0."""
    phi, psi, percentile = np.loadtxt(path).T
    grid = np.zeros((CELLS, CELLS))
    rows, columns = (np.rint((angle + 179.0) / CELL_DEGREES).astype(np.int64) for angle in (phi, psi))
    grid[rows, columns] = percentile
    return grid


def to_steps(grids: np.ndarray) -> np.ndarray:
    """Round the logarithm of percentiles to whole steps; see ``LOGARITHM_STEP``."""
    steps = np.rint(-np.log(np.where(grids > 0, grids, 1.0)) / LOGARITHM_STEP) + 1
    return np.where(grids > 0, steps, 0).astype(np.uint16)


def main() -> None:
    """Read the files of a folder and write the resource."""
    folder = Path(sys.argv[1])
    grids = np.stack([read_grid(folder / FILES[name]) for name in RAMACHANDRAN_CLASSES])
    np.savez_compressed(RESOURCE, steps=to_steps(grids))


if __name__ == "__main__":
    main()
