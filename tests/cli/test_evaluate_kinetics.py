"""``backmap evaluate --kinetics`` as a user runs it."""

import json

import mdtraj
import numpy as np
import pytest

from backmap.cli.main import main

from ..evaluation import dipeptide

QUICK = ["--states", "10", "--lag-times", "1", "5", "--metastable", "2"]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A reference and a sample as DCD and XTC, with their topology."""
    folder = tmp_path_factory.mktemp("trajectories")
    for seed, name in enumerate(("reference", "sample")):
        trajectory = dipeptide.trajectory(1200, seed=seed)
        for suffix in ("dcd", "xtc"):
            trajectory.save(str(folder / f"{name}.{suffix}"))
    trajectory[0].save(str(folder / "top.pdb"))
    return folder


def call(files, *options: str, suffix: str = "dcd") -> int:
    names = [
        "--reference",
        f"{files}/reference.{suffix}",
        "--top",
        f"{files}/top.pdb",
        f"{files}/sample.{suffix}",
    ]
    return main(["evaluate", "--kinetics", *names, *options])


def test_table_json_and_figures(files, tmp_path, capfd):
    pytest.importorskip("matplotlib", reason="no matplotlib")
    output, figures = tmp_path / "scores.json", tmp_path / "figures"
    options = [*QUICK, "--frame-interval", "2", "--lag-times", "2", "10", "--lag", "10"]
    assert call(files, *options, "--json", str(output), "--figures", str(figures)) == 0
    printed = capfd.readouterr().out
    assert printed.startswith("22 atoms, 1200 frames of 2 ps, against 1200 of ")
    assert "time scale at lag 10 ps" in printed
    scores = json.loads(output.read_text())
    assert scores["kinetics"]["lag_times"] == [2.0, 10.0]
    assert scores["inputs"]["samples"][0]["path"].endswith("sample.dcd")
    assert scores["energies"] is None
    assert len(list(figures.glob("*.pdf"))) == len(list(figures.glob("*.png"))) == 7
    assert not list(figures.glob(".*"))


def test_figures_without_data_are_left_out(files, tmp_path, capfd):
    pytest.importorskip("matplotlib", reason="no matplotlib")
    short = tmp_path / "short.xtc"
    mdtraj.load(f"{files}/sample.xtc", top=f"{files}/top.pdb")[:60].save(str(short))
    names = ["--reference", str(short), f"{files}/sample.xtc", "--top", f"{files}/top.pdb"]
    assert main(["evaluate", "--kinetics", *names, "--figures", str(tmp_path / "figures")]) == 0
    assert "no time scales, too few data: the reference: has 60 distinct" in capfd.readouterr().out
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"angles", "bonds", "coherence", "free_energy_surfaces", "velocities"}


def test_energies_by_a_force_field(files, capfd):
    pytest.importorskip("openmm", reason="no OpenMM")
    force_field = ["--force-field", "amber99sbildn.xml", "amber99_obc.xml"]
    assert call(files, *QUICK, *force_field, suffix="xtc") == 0
    assert "99.9th percentile" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "reference.dcd: does not contain the time between frames; give it with --frame-interval"),
        (["--frame-interval", "1", "--lag", "300"], "too short for lag times up to 1500 frames"),
        (["--frame-interval", "1", "--codes", "{}/none.npy"], "none.npy: cannot be read"),
        (["--frame-interval", "1", "--force-field", "none.xml"], "the force field none.xml cannot be used"),
        (["--frame-interval", "1", "--json", "{}/top.pdb"], "is an input of this run"),
    ],
)
def test_each_mistake_gets_one_sentence(options, message, files, capfd):
    assert call(files, *(option.format(files) for option in options)) == 2
    error = capfd.readouterr().err.strip()
    assert message in error
    assert "\n" not in error


def test_nucleic_acids_are_refused(tmp_path, capfd):
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for number in range(1, 5):
        residue = topology.add_residue("DA", chain, number)
        for name, element in (("P", "P"), ("C4'", "C"), ("C1'", "C")):
            topology.add_atom(name, mdtraj.element.get_by_symbol(element), residue)
    xyz = np.random.default_rng(0).normal(size=(50, 12, 3)).astype(np.float32)
    path = str(tmp_path / "dna.h5")
    mdtraj.Trajectory(xyz, topology, time=np.arange(50.0)).save(path)
    assert main(["evaluate", "--kinetics", path, "--reference", path]) == 2
    assert "has no C-alphas; kinetics are measured of proteins only" in capfd.readouterr().err


def test_options_that_belong_together(files, capfd):
    sample = f"{files}/sample.dcd"
    assert main(["evaluate", "--kinetics", sample, "--top", f"{files}/top.pdb"]) == 2
    assert "give one with --reference" in capfd.readouterr().err
    assert main(["evaluate", sample, "--top", f"{files}/top.pdb", "--figures", "figures"]) == 2
    assert "--figures applies only with --kinetics" in capfd.readouterr().err
