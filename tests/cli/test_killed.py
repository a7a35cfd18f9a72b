"""Runs that are killed with SIGKILL at any moment, again and again, and gone on with."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.cli.main import main
from backmap.io import AtomList, open_writer, to_mdtraj
from tests import toy_protein, toy_temporal
from tests.proteins import c_alpha_list

FOLDER = Path(__file__).parents[2]
FRAMES = 1600


@pytest.fixture
def beads(tmp_path) -> Path:
    """Write the beads of a dipeptide, and give the file's name; a PDB file lies beside it."""
    atoms = np.zeros((FRAMES, 22, 3))
    atoms[:, toy_temporal.BEAD_ATOMS] = toy_temporal.beads(FRAMES)
    trajectory = to_mdtraj(AtomList.of_molecule(toy_temporal.DIPEPTIDE), atoms, time=np.arange(FRAMES))
    trajectory = trajectory.atom_slice(toy_temporal.BEAD_ATOMS)
    path = tmp_path / "in.xtc"
    trajectory.save(str(path))
    trajectory[0].save_pdb(str(path.with_suffix(".pdb")))
    return path


@pytest.fixture
def c_alphas(tmp_path) -> Path:
    """Write a C-alpha trajectory, and give the file's name; a PDB file lies beside it."""
    topology = Topology.from_sequences("MKWAGPCW")
    coordinates = np.zeros((FRAMES, 8, 3))
    coordinates[:, :, 0] = 0.38 * np.arange(8) + 0.001 * np.arange(FRAMES)[:, None]
    with open_writer(tmp_path / "in.xtc", c_alpha_list(topology)) as writer:
        writer.write(coordinates, time=np.arange(FRAMES))
    return tmp_path / "in.xtc"


def coordinates_of(path: Path) -> bytes:
    named = path.suffix in (".h5", ".pdb")
    trajectory = (
        mdtraj.load(str(path)) if named else mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))
    )
    assert trajectory.n_frames % FRAMES == 0
    return trajectory.xyz.tobytes()


@pytest.mark.parametrize(
    "family, kills, suffix, options",
    [
        ("temporal", 7, ".dcd", ["--chunk", "16"]),
        ("temporal", 4, ".xtc", ["--chunk", "16", "--segments", "3", "--burn-in", "10", "--samples", "2"]),
        ("protein", 7, ".xtc", ["--chunk", "16", "--batch", "8"]),
        ("protein", 4, ".h5", ["--chunk", "32", "--batch", "8", "--samples", "2", "--one-file"]),
    ],
)
def test_killed_at_any_moment(tmp_path, request, family, kills, suffix, options, monkeypatch):
    if suffix == ".h5":
        pytest.importorskip("tables")
    weights = tmp_path / "toy.safetensors"
    toy = {"temporal": toy_temporal, "protein": toy_protein}[family]
    given = request.getfixturevalue({"temporal": "beads", "protein": "c_alphas"}[family])
    toy.install(weights, None, monkeypatch.setattr)
    asked = ["--top", given.with_suffix(".pdb"), "--model", "toy", "--quiet", *options]
    whole, out = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    assert main(list(map(str, ["reconstruct", given, "-o", whole, *asked]))) == 0
    script = [sys.executable, FOLDER / "tests/cli/kill_again.py", FOLDER, kills, family, weights]
    command = [*script, "reconstruct", given, "-o", out, "--resume", *asked]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3
    files = sorted(path.name for path in tmp_path.glob(f"whole*{suffix}"))
    assert files
    for name in files:
        assert coordinates_of(tmp_path / name.replace("whole", "out")) == coordinates_of(tmp_path / name)
    assert not list(tmp_path.glob("*.partial"))
