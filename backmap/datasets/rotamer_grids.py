"""Pack the rotamer distributions of the Top8000 into the package.

``python -m backmap.datasets.rotamer_grids GRIDS CENTRAL_VALUES`` reads the ``rota8000-*.data.gz`` of the
folder GRIDS and ``ARG.csv`` and ``LYS.csv`` of the folder CENTRAL_VALUES (from
https://github.com/rlabduke/reference_data, ``Top8000/Top8000_rotamer_pct_contour_grids``, gzipped, and
``Top8000/Top8000_rotamer_central_values``) and writes ``backmap/chemistry/rotamers.npz``.
"""

from __future__ import annotations

import csv
import gzip
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backmap.chemistry.rotamers import (
    GRID_TORSIONS,
    LEVELS,
    LOGARITHM_STEP,
    RESOURCE,
    WIDENING,
    RotamerMixture,
)

FROM_MIXTURE = ("ARG", "LYS")
DRAWS = 1_000_000
SEED = 0


def read_grid(path: Path) -> np.ndarray:
    """Read percentiles, one axis per torsion; cells that the file leaves out are 0."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().splitlines()
    n_torsions = int(lines[1].split(":")[1])
    axes = [line.split(":")[1].split() for line in lines[3 : 3 + n_torsions]]
    cells = [int(axis[2]) for axis in axes]
    widths = np.array([float(axis[1]) / number for axis, number in zip(axes, cells, strict=True)])
    table = np.loadtxt(lines[4 + n_torsions :], ndmin=2)
    grid = np.zeros(cells)
    grid[tuple(np.rint(table[:, :-1] / widths - 0.5).astype(np.int64).T)] = table[:, -1]
    return grid


def to_steps(grid: np.ndarray) -> np.ndarray:
    """Round the logarithm of percentiles to whole steps; see ``LOGARITHM_STEP``."""
    steps = np.rint(-np.log(np.where(grid > 0, grid, 1.0)) / LOGARITHM_STEP) + 1
    return np.where(grid > 0, steps, 0).astype(np.uint16)


def read_mixture(path: Path) -> RotamerMixture:
    """Read the rotamers of a residue type and tabulate the densities of their mixture."""
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    n_torsions = sum(name.startswith("chi") and name.endswith("_mean") for name in rows[0])
    means, deviations = (
        np.array([[float(row[f"chi{chi + 1}_{part}"]) for chi in range(n_torsions)] for row in rows])
        for part in ("mean", "esd")
    )
    counts = np.array([float(row["n"]) for row in rows])
    mixture = RotamerMixture(counts / counts.sum(), means, deviations, np.empty(0))
    generator = np.random.default_rng(SEED)
    drawn = generator.choice(len(counts), size=DRAWS, p=mixture.weights)
    chi = generator.normal(means[drawn], WIDENING * deviations[drawn])
    return replace(mixture, levels=np.quantile(mixture.log_density(chi), LEVELS))


def main() -> None:
    """Read the files of both folders and write the resource."""
    grids, central = map(Path, sys.argv[1:])
    arrays: dict[str, Any] = {}
    for name in GRID_TORSIONS:
        if name != "TYR":
            file = "phetyr" if name == "PHE" else name.lower()
            arrays[name] = to_steps(read_grid(grids / f"rota8000-{file}.data.gz"))
    for name in FROM_MIXTURE:
        mixture = read_mixture(central / f"{name}.csv")
        arrays |= {f"{name}_{part}": values for part, values in vars(mixture).items()}
    np.savez_compressed(RESOURCE, **arrays)


if __name__ == "__main__":
    main()
