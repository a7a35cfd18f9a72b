"""Molecules whose energies OpenMM knows."""

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).parent / "data"
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def build() -> Callable:
    """Make an OpenMM System and positions in nm from a structure of the data folder and force-field files."""
    app = pytest.importorskip("openmm.app")
    force_fields = {}

    def build(name: str, *files: str, **options) -> tuple:
        path = next(folder / name for folder in (DATA, *EXAMPLES.iterdir()) if (folder / name).exists())
        text = gzip.open(path, "rt").read() if path.suffix == ".gz" else path.read_text()
        structure = app.PDBFile(io.StringIO(text))
        if files not in force_fields:
            force_fields[files] = app.ForceField(*files)
        system = force_fields[files].createSystem(structure.topology, **options)
        return system, np.array(structure.positions._value)

    return build
