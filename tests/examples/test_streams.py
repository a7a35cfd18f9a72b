"""The examples that build frame by frame: what goes in comes out, one frame after the other."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType

import mdtraj
import numpy as np
import pytest

import backmap

EXAMPLES = Path(__file__).parents[2] / "examples"
BEADS = 34


def load(name: str) -> ModuleType:
    """Import an example, or skip the test where its package is not installed."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def beads_themselves(
    frames: Iterable[np.ndarray], *, top: mdtraj.Topology, model: str, samples: int, seed: int
) -> Iterator[mdtraj.Trajectory]:
    """Stand for a model that builds nothing but the beads."""
    assert (model, samples) == ("protein", 1)
    for frame in frames:
        assert frame.shape == (top.n_atoms, 3)
        yield mdtraj.Trajectory(np.asarray(frame, dtype=np.float32)[None], top)


@pytest.fixture
def copied_inputs(tmp_path) -> list[Path]:
    """The C-alphas where MDAnalysis may leave the index files that it makes beside a trajectory."""
    names = ("ww_c_alpha.pdb", "ww_c_alpha.xtc")
    return [Path(shutil.copy(EXAMPLES / name, tmp_path)) for name in names]


@pytest.fixture
def run(tmp_path, monkeypatch) -> Callable[..., mdtraj.Trajectory]:
    """Run an example's main function and read what it wrote."""

    def main(name: str, *arguments: str) -> mdtraj.Trajectory:
        output = tmp_path / "built.xtc"
        monkeypatch.setattr(sys, "argv", [name, *arguments, "-o", str(output)])
        load(name).main()
        return mdtraj.load(str(output), top=str(output.with_suffix(".pdb")))

    return main


def test_openmm_live_hands_over_every_frame_as_it_comes(run, monkeypatch, capsys):
    pytest.importorskip("openmm")
    monkeypatch.setattr(backmap, "reconstruct_stream", beads_themselves)
    written = run("openmm_live", "--frames", "4", "--interval", "50", "--seed", "2")
    assert written.n_frames == 4 and written.n_atoms == BEADS
    assert np.allclose(written.time, [0.5, 1.0, 1.5, 2.0])
    start = mdtraj.load(str(EXAMPLES / "ww_c_alpha.pdb")).xyz
    moved = np.linalg.norm(written.xyz - start, axis=-1).mean(axis=1)
    assert (moved > 0.001).all() and (moved < 0.2).all()
    assert len({frame.tobytes() for frame in written.xyz}) == 4
    assert "4 frames of 34 C-alphas" in capsys.readouterr().out


def test_openmm_live_does_not_wait_for_a_frame_that_is_not_there(tmp_path, monkeypatch):
    pytest.importorskip("openmm")

    def reading_ahead(frames: Iterable[np.ndarray], **options: object) -> Iterator[mdtraj.Trajectory]:
        yield from beads_themselves(list(frames), **options)

    monkeypatch.setattr(backmap, "reconstruct_stream", reading_ahead)
    monkeypatch.setattr(sys, "argv", ["openmm_live", "--frames", "2", "-o", str(tmp_path / "built.xtc")])
    with pytest.raises(IndexError):
        load("openmm_live").main()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_mdanalysis_trajectory_keeps_positions_and_residues(run, copied_inputs, monkeypatch, capsys):
    pytest.importorskip("MDAnalysis")
    monkeypatch.setattr(backmap, "reconstruct_stream", beads_themselves)
    given = mdtraj.load(str(EXAMPLES / "ww_c_alpha.xtc"), top=str(EXAMPLES / "ww_c_alpha.pdb"))
    written = run("mdanalysis_trajectory", *map(str, copied_inputs))
    assert np.allclose(written.xyz, given.xyz, atol=1e-3)
    assert np.allclose(written.time, given.time)
    names = [[(r.name, r.resSeq) for r in t.topology.residues] for t in (written, given)]
    assert names[0] == names[1]
    assert "34 C-alphas became 34 atoms in each of 32 frames" in capsys.readouterr().out


def test_openmm_live_builds_atoms(run):
    pytest.importorskip("openmm")
    written = run("openmm_live", "--frames", "2", "--interval", "50")
    assert written.n_frames == 2 and written.n_atoms > 7 * BEADS


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_mdanalysis_trajectory_builds_atoms(run, copied_inputs):
    pytest.importorskip("MDAnalysis")
    written = run("mdanalysis_trajectory", *map(str, copied_inputs))
    assert written.n_frames == 32 and written.n_atoms > 7 * BEADS
