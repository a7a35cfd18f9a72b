"""What becomes of C-alphas on the command line: what is said, written down and refused."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.cli.main import main
from backmap.io import open_writer
from tests import toy_protein
from tests.proteins import c_alpha_list

FRAMES, RESIDUES, BAD = 130, 30, 120
TOPOLOGY = Topology.from_sequences("MKWAGPCDEFGHIKLNQRSTVWYMKWAGPC")


@pytest.fixture
def toy(monkeypatch, tmp_path) -> toy_protein.FixedOffsets:
    return toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)


def write(path: Path, noise_nm: float, bad: int | None = None) -> Path:
    """Write C-alphas of a helix with noise, as TRR, one frame damaged."""
    turn = np.arange(RESIDUES) * np.radians(100.0)
    helix = np.stack([0.23 * np.cos(turn), 0.23 * np.sin(turn), 0.15 * np.arange(RESIDUES)], axis=1)
    noise = np.random.default_rng(0).normal(size=(FRAMES, RESIDUES, 3))
    coordinates = helix + noise_nm * noise
    if bad is not None:
        coordinates[bad, 3] = 1e9
    with open_writer(path, c_alpha_list(TOPOLOGY)) as writer:
        writer.write(coordinates, np.arange(FRAMES, dtype=float))
    return path


def run(given: Path, output: Path, *more: object) -> int:
    top = given.with_suffix(".pdb")
    return main(list(map(str, ["reconstruct", given, "--top", top, "-o", output, "--model", "toy", *more])))


def c_alphas(path: Path) -> np.ndarray:
    atoms = mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))
    return atoms.xyz[:, atoms.topology.select("name CA")]


def record(output: Path) -> dict:
    return json.loads(output.with_name(output.name + ".backmap.json").read_text())


def test_soft_beads_move_and_it_is_said(toy, tmp_path, capsys):
    given = write(tmp_path / "soft.trr", 0.0124)
    log = tmp_path / "run.jsonl"
    assert run(given, tmp_path / "out.trr", "--samples", 2, "--one-file", "--log", log) == 0
    assert "C-alphas moved by 0.01" in capsys.readouterr().err
    last = json.loads(log.read_text().splitlines()[-1])
    assert last["event"] == "end" and 0.01 < last["c_alpha_displacement_rms_nm"] < 0.03
    known = record(tmp_path / "out.trr")
    assert known["structures_with_moved_c_alphas"] == known["structures_built"] == 2 * FRAMES
    beads = mdtraj.load(str(given), top=str(given.with_suffix(".pdb"))).xyz
    moved = np.linalg.norm(c_alphas(tmp_path / "out.trr")[::2] - beads, axis=-1)
    assert 0.008 < np.sqrt(np.square(moved).mean()) < 0.03
    assert known["c_alpha_displacement_largest_nm"] >= moved.max() - 1e-4
    assert known["c_alphas"] == "auto" and known["bead_noise"] is None


@pytest.mark.parametrize("noise_nm, more", [(0.0, ()), (0.0124, ("--c-alphas", "keep"))])
def test_c_alphas_that_stay_are_those_of_the_input(toy, tmp_path, capsys, noise_nm, more):
    given = write(tmp_path / "in.trr", noise_nm)
    assert run(given, tmp_path / "out.trr", *more) == 0
    assert "C-alphas moved" not in capsys.readouterr().err
    beads = mdtraj.load(str(given), top=str(given.with_suffix(".pdb"))).xyz
    np.testing.assert_array_equal(c_alphas(tmp_path / "out.trr"), beads)
    assert record(tmp_path / "out.trr")["structures_with_moved_c_alphas"] == 0


@pytest.mark.parametrize("more", [("--c-alphas", "relax"), ("--bead-noise", "0.02")])
def test_c_alphas_can_be_asked_to_move(toy, tmp_path, more):
    given = write(tmp_path / "in.trr", 0.0)
    assert run(given, tmp_path / "out.trr", *more) == 0
    assert record(tmp_path / "out.trr")["structures_with_moved_c_alphas"] == FRAMES


def test_a_run_that_was_stopped_goes_on_with_what_it_knows(toy, tmp_path):
    given = write(tmp_path / "in.trr", 0.0124, bad=BAD)
    assert run(given, tmp_path / "whole.trr", "--on-bad-frame", "skip", "--batch", 10) == 0
    assert run(given, tmp_path / "out.trr", "--chunk", 10, "--batch", 10) == 2
    assert run(given, tmp_path / "out.trr", "--on-bad-frame", "skip", "--resume", "--batch", 10) == 0
    assert (tmp_path / "out.trr").read_bytes() == (tmp_path / "whole.trr").read_bytes()
    keys = ("structures_built", "c_alpha_displacement_rms_nm", "c_alpha_displacement_largest_nm")
    assert [record(tmp_path / "out.trr")[key] for key in keys] == [
        record(tmp_path / "whole.trr")[key] for key in keys
    ]


def test_a_resumed_run_must_ask_for_the_same(toy, tmp_path, capsys):
    given = write(tmp_path / "in.trr", 0.0124, bad=BAD)
    assert run(given, tmp_path / "out.trr", "--chunk", 10, "--batch", 10) == 2
    assert run(given, tmp_path / "out.trr", "--resume", "--c-alphas", "keep", "--batch", 10) == 2
    assert "c_alphas" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--c-alphas", "keep", "--bead-noise", "0.1"), "does not apply to C-alphas that are kept"),
        (
            ("--keep-given", "--c-alphas", "relax"),
            "--c-alphas: moves C-alphas, which keep_given keeps in place",
        ),
    ],
)
def test_contradictions_are_refused_before_anything_is_built(toy, tmp_path, capsys, more, message):
    given = write(tmp_path / "in.trr", 0.0)
    assert run(given, tmp_path / "out.trr", *more) == 2
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "out.trr").exists() and not toy.calls


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_noise_is_a_length(toy, tmp_path, capsys, value):
    with pytest.raises(SystemExit) as stopped:
        run(write(tmp_path / "in.trr", 0.0), tmp_path / "out.trr", "--bead-noise", value)
    assert stopped.value.code == 2 and "is not a number from 1e-06 to 0.3" in capsys.readouterr().err


@pytest.mark.parametrize("more", [("--c-alphas", "relax"), ("--bead-noise", "0.1")])
def test_temporal_models_take_beads_as_they_are(tmp_path, capsys, more):
    beads = "examples/ww_c_alpha.pdb"
    assert main(["reconstruct", beads, "-o", str(tmp_path / "x.pdb"), "--model", "chignolin", *more]) == 2
    assert (
        f"{more[0]}: applies only to protein and diamondback models; chignolin is a temporal model"
        in capsys.readouterr().err
    )
