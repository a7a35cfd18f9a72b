"""``backmap reconstruct --coherent``: frames that follow each other in time."""

from __future__ import annotations

import json
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main
from backmap.models.protein.coherence_statistics import RESOURCE

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMES = 12


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Path:
    """C-alphas that shake and turn, 1 ps per frame, with their topology beside them."""
    folder = tmp_path_factory.mktemp("given")
    whole = mdtraj.load(str(EXAMPLES / "ww_c_alpha.xtc"), top=str(EXAMPLES / "ww_c_alpha.pdb"))
    noise = np.random.default_rng(0).normal(size=(FRAMES, whole.n_atoms, 3))
    xyz = whole.xyz[:1] + 0.002 * noise
    moving = mdtraj.Trajectory(xyz.astype(np.float32), whole.topology, time=np.arange(FRAMES, dtype=float))
    moving.save(str(folder / "ca.xtc"))
    moving.save(str(folder / "ca.dcd"))
    moving[0].save(str(folder / "ca.pdb"))
    return folder / "ca.xtc"


def run(given: Path, output: Path, *more: object) -> int:
    top = given.with_name("ca.pdb")
    return main(list(map(str, ["reconstruct", given, "--top", top, "-o", output, "--quiet", *more])))


def load(path: Path) -> mdtraj.Trajectory:
    return mdtraj.load(str(path), top=str(path.with_suffix(".pdb")))


def rms_step(trajectory: mdtraj.Trajectory) -> float:
    return float(np.sqrt((np.diff(trajectory.xyz, axis=0) ** 2).sum(axis=-1).mean()))


def test_atoms_move_from_frame_to_frame_instead_of_jumping(given, tmp_path):
    assert run(given, tmp_path / "coherent.xtc", "--coherent") == 0
    assert run(given, tmp_path / "alone.xtc") == 0
    coherent, alone = load(tmp_path / "coherent.xtc"), load(tmp_path / "alone.xtc")
    assert [str(atom) for atom in coherent.topology.atoms] == [str(atom) for atom in alone.topology.atoms]
    assert rms_step(coherent) < 0.6 * rms_step(alone)
    beads = mdtraj.load(str(given), top=str(given.with_name("ca.pdb")))
    c_alphas = coherent.topology.select("name CA")
    assert np.abs(coherent.xyz[:, c_alphas] - beads.xyz).max() < 0.002
    record = json.loads((tmp_path / "coherent.xtc.backmap.json").read_text())
    assert record["coherent"] is True and record["jumps"] == 0


def test_samples_differ_and_seeds_repeat(given, tmp_path):
    for name in ("one", "two"):
        assert run(given, tmp_path / f"{name}.xtc", "--coherent", "--samples", 2, "--seed", 3) == 0
    one, other = (
        mdtraj.load(str(tmp_path / f"one_{n}.xtc"), top=str(tmp_path / "one_1.pdb")) for n in (1, 2)
    )
    assert np.abs(one.xyz - other.xyz).max() > 0.1
    for n in (1, 2):
        assert (tmp_path / f"one_{n}.xtc").read_bytes() == (tmp_path / f"two_{n}.xtc").read_bytes()


def test_a_resumed_run_is_the_uninterrupted_one(given, tmp_path, capsys):
    damaged = tmp_path / "ca.xtc"
    few = mdtraj.load(str(given), top=str(given.with_name("ca.pdb"))).atom_slice(range(8))
    whole = mdtraj.join([few] * 10)
    whole.time = np.arange(len(whole), dtype=float)
    whole.xyz[110, 3] += 4.0  # a torn bond, after the frames that are looked at first
    whole.save(str(damaged))
    whole[0].save(str(tmp_path / "ca.pdb"))
    options = ["--coherent", "--batch", 7]
    assert run(damaged, tmp_path / "stopped.xtc", *options) == 2
    assert "frame 111" in capsys.readouterr().err
    skipping = [*options, "--on-bad-frame", "skip"]
    assert run(damaged, tmp_path / "stopped.xtc", *skipping, "--resume") == 0
    assert run(damaged, tmp_path / "whole.xtc", *skipping) == 0
    assert (tmp_path / "stopped.xtc").read_bytes() == (tmp_path / "whole.xtc").read_bytes()


def test_frames_without_times_need_an_interval(given, tmp_path, capsys):
    assert run(given.with_suffix(".dcd"), tmp_path / "out.xtc", "--coherent") == 2
    error = capsys.readouterr().err
    assert "--frame-interval: " in error and "ca.dcd does not say how much time passes" in error
    assert not (tmp_path / "out.xtc").exists()
    assert run(given.with_suffix(".dcd"), tmp_path / "out.xtc", "--coherent", "--frame-interval", 1) == 0


def test_one_frame_needs_no_time(given, tmp_path):
    command = ["reconstruct", given.with_name("ca.pdb"), "-o", tmp_path / "o.pdb", "--coherent"]
    assert main(list(map(str, command))) == 0
    assert mdtraj.load(str(tmp_path / "o.pdb")).n_frames == 1


def test_jumps_are_counted(given, tmp_path, capsys):
    whole = mdtraj.load(str(given), top=str(given.with_name("ca.pdb")))
    whole.xyz[5:, :, 0] *= 1.6
    whole.save(str(tmp_path / "ca.xtc"))
    (tmp_path / "ca.pdb").write_bytes(given.with_name("ca.pdb").read_bytes())
    top = tmp_path / "ca.pdb"
    command = ["reconstruct", tmp_path / "ca.xtc", "--top", top, "-o", tmp_path / "o.xtc", "--coherent"]
    assert main([*map(str, command), "--c-alphas", "keep"]) == 0
    assert "1 jump between frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options, message",
    [
        (["--frame-interval", "1"], "--frame-interval: applies only to coherent frames"),
        (["--time-scale", "3"], "--time-scale: applies only to coherent frames"),
        (["--temperature", "350"], "--temperature: applies only to coherent frames"),
        (["--coherent", "--model", "diamondback"], "--coherent: applies only to protein models"),
    ],
)
def test_options_that_do_not_apply_are_refused(given, tmp_path, capsys, options, message):
    assert run(given, tmp_path / "out.xtc", *options) == 2
    assert message in capsys.readouterr().err


def test_frames_that_arrive_one_by_one_are_those_of_the_file(given, tmp_path):
    assert run(given, tmp_path / "file.xtc", "--coherent", "--batch", 1) == 0
    beads = mdtraj.load(str(given), top=str(given.with_name("ca.pdb")))
    stream = backmap.reconstruct_stream(
        iter(beads.xyz), top=given.with_name("ca.pdb"), coherent=True, frame_interval=1.0
    )
    built = np.concatenate([frame.xyz for frame in stream])
    assert np.abs(built - load(tmp_path / "file.xtc").xyz).max() < 0.002


def test_times_of_trajectories_in_memory(given, tmp_path):
    """Times of a simulation are taken; those that only count frames are not."""
    beads = mdtraj.load(str(given), top=str(given.with_name("ca.pdb")))[:4]
    with pytest.raises(backmap.InputError, match="does not say how much time passes between frames"):
        backmap.reconstruct(beads, coherent=True)
    beads.time = np.array([10.0, 10.2, 10.4, 10.6])
    own = backmap.reconstruct(beads, coherent=True)
    asked = backmap.reconstruct(beads, coherent=True, frame_interval=0.2)
    assert np.abs(own.xyz - asked.xyz).max() < 1e-5
    for times in ([0.0, 1.0, 3.0, 4.0], [5.0, 5.0, 5.0, 5.0], [3.0, 2.0, 1.0, 0.0]):
        beads.time = np.array(times)
        with pytest.raises(backmap.InputError, match="frame_interval"):
            backmap.reconstruct(beads, coherent=True)


def test_rates_of_ones_own(given, tmp_path, capsys):
    fast = json.loads(RESOURCE.read_text())
    for kind in ("peptide", "torsion"):
        fast[kind]["log rate"] = (np.array(fast[kind]["log rate"]) + 8).tolist()
    file = tmp_path / "fast.json"
    file.write_text(json.dumps(fast))
    assert run(given, tmp_path / "usual.xtc", "--coherent") == 0
    assert run(given, tmp_path / "fast.xtc", "--coherent", "--coherence", file) == 0
    usual, moving = load(tmp_path / "usual.xtc"), load(tmp_path / "fast.xtc")
    assert rms_step(moving) > 1.2 * rms_step(usual)
    record = json.loads((tmp_path / "fast.xtc.backmap.json").read_text())
    assert record["coherence"]["sha256"]
    beads = mdtraj.load(str(given), top=str(given.with_name("ca.pdb")))
    options = {"coherent": True, "frame_interval": 1.0, "coherence": str(file)}
    assert np.abs(backmap.reconstruct(beads, **options).xyz - moving.xyz).max() < 0.002
    stream = backmap.reconstruct_stream([beads], **options)
    assert np.abs(np.concatenate([frame.xyz for frame in stream]) - moving.xyz).max() < 0.002
    assert run(given, tmp_path / "fast.xtc", "--coherent", "--coherence", file, "--resume") == 0
    file.write_text(json.dumps(json.loads(RESOURCE.read_text())))
    assert run(given, tmp_path / "fast.xtc", "--coherent", "--coherence", file, "--resume") == 2
    assert run(given, tmp_path / "alone.xtc", "--coherence", file) == 2
    assert "--coherence: applies only to coherent frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rates: rates.pop("torsion"), "has no valid 'log rate' of 'torsion'"),
        (lambda rates: rates["peptide"].update({"log rate": [0.0]}), "has no valid 'log rate' of 'peptide'"),
        (lambda rates: rates["end"].update({"window": "wide"}), "has no valid 'window' of 'end'"),
        (lambda rates: rates["twist"].update({"memory": float("nan")}), "has no valid 'memory' of 'twist'"),
    ],
)
def test_files_that_are_no_rates_are_refused(given, tmp_path, capsys, change, message):
    rates = json.loads(RESOURCE.read_text())
    change(rates)
    file = tmp_path / "rates.json"
    file.write_text(json.dumps(rates))
    assert run(given, tmp_path / "out.xtc", "--coherent", "--coherence", file) == 2
    assert message in capsys.readouterr().err
    file.write_text("no rates")
    assert run(given, tmp_path / "out.xtc", "--coherent", "--coherence", file) == 2
    assert "is not a JSON file; give a file coherence.json" in capsys.readouterr().err
    assert run(given, tmp_path / "out.xtc", "--coherent", "--coherence", tmp_path / "none.json") == 2
    assert "cannot be read (No such file or directory)" in capsys.readouterr().err
