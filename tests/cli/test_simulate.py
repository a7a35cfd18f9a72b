"""``backmap simulate``: trajectories of beads that go on after a stop, and replicas that fall apart."""

from __future__ import annotations

import json
from dataclasses import replace

import mdtraj
import numpy as np
import pytest
import torch

import backmap
from backmap.cg import langevin
from backmap.cli.main import main
from backmap.models.checkpoint import save_checkpoint
from backmap.runs import simulation
from tests.cg.force_fields import small_force_field

QUICK = ["--steps", "3", "--threads", "1", "--quiet"]


@pytest.fixture(scope="module")
def force_field(tmp_path_factory):
    path = tmp_path_factory.mktemp("cg") / "cg.safetensors"
    save_checkpoint(path, small_force_field().to_checkpoint({}))
    return path


def run(*words) -> int:
    return main(["simulate", *map(str, words), *QUICK])


def test_one_file_per_replica(force_field, tmp_path):
    assert run(force_field, "-o", tmp_path / "cg.xtc", "--replicas", 3, "--frames", 5) == 0
    frames = [mdtraj.load(tmp_path / f"cg_{k}.xtc", top=tmp_path / f"cg_{k}.pdb") for k in (1, 2, 3)]
    assert all(trajectory.n_frames == 5 and trajectory.n_atoms == 6 for trajectory in frames)
    assert np.allclose(frames[0].time, 0.012 * np.arange(1, 6), atol=1e-5)
    assert [str(atom) for atom in frames[0].topology.atoms] == [
        "ACE1-C", "ALA2-N", "ALA2-CA", "ALA2-CB", "ALA2-C", "NME3-N"
    ]  # fmt: skip
    assert not np.allclose(frames[0].xyz[-1], frames[1].xyz[-1])
    record = json.loads((tmp_path / "cg.xtc.backmap.json").read_text())
    assert record["replicas"] == 3 and record["stopped"] == {} and len(record["outputs"]) == 6
    assert not (tmp_path / "cg.xtc.partial").exists()


def test_times_can_be_those_of_the_atoms(force_field, tmp_path, capsys):
    """Several trajectories with the same odd interval are warned of in one line; with a factor, in none."""
    words = [force_field, "--replicas", 3, "--frames", 2, "--time-step", 0.004]
    atoms = ["--top", str(tmp_path / "cg_1.pdb"), "--model", "alanine-dipeptide", "--quiet", "--overwrite"]
    beads = [str(tmp_path / f"cg_{replica}.dcd") for replica in (1, 2, 3)]
    for factor, warned in ((1.0, True), (1 / 0.012, False)):
        assert run(*words, "-o", tmp_path / "cg.dcd", "--time-scale", factor, "--overwrite") == 0
        assert main(["reconstruct", *beads, "-o", str(tmp_path / "atoms"), *atoms]) == 0
        error = capsys.readouterr().err
        assert error.count("\n") == warned
        assert ("cg_1.dcd and 2 more: frames are 0.012 ps apart, but the model" in error) == warned


def test_the_beads_can_be_read_by_the_model_of_atoms(force_field, tmp_path):
    assert run(force_field, "-o", tmp_path / "cg.dcd", "--frames", 2) == 0
    words = [tmp_path / "cg.dcd", "--top", tmp_path / "cg.pdb", "--model", "alanine-dipeptide"]
    assert main(["reconstruct", *map(str, words), "-o", str(tmp_path / "atoms.pdb"), "--quiet"]) == 0
    assert mdtraj.load(tmp_path / "atoms.pdb").n_atoms == 22


def test_noise_that_the_force_field_learned_with_is_taken_off(tmp_path):
    """The same dynamics are written with and without noise; they differ by the mean of the noise."""
    for name, noise in (("plain", 0.0), ("noisy", 0.01)):
        made = small_force_field(scale=5.0)
        made.config = replace(made.config, noise_nm=noise)
        save_checkpoint(tmp_path / f"{name}.safetensors", made.to_checkpoint({}))
        words = [tmp_path / f"{name}.safetensors", "-o", tmp_path / f"{name}.dcd", "--frames", 3]
        assert run(*words, "--replicas", 2, "--seed", 3) == 0
    for replica in (1, 2):
        plain, noisy = (
            mdtraj.load(tmp_path / f"{name}_{replica}.dcd", top=tmp_path / "plain_1.pdb").xyz
            for name in ("plain", "noisy")
        )
        forces = made.energy_and_forces(torch.from_numpy(plain))[1].numpy()
        moved = 0.01**2 / made.kt * forces
        assert np.abs(moved).max() > 1e-3
        assert noisy - plain == pytest.approx(moved, abs=2e-5)


def test_resumed_equals_uninterrupted(force_field, tmp_path, monkeypatch, capsys):
    words = [force_field, "--replicas", 2, "--frames", 6, "--seed", 5]
    assert run(*words, "-o", tmp_path / "whole.dcd") == 0
    advance = langevin.LangevinDynamics.advance

    def stopped(dynamics, state, frame, n_steps):
        if frame == 4:
            raise KeyboardInterrupt
        return advance(dynamics, state, frame, n_steps)

    monkeypatch.setattr(langevin.LangevinDynamics, "advance", stopped)
    assert run(*words, "-o", tmp_path / "parts.dcd") == 130
    assert "of 6 frames; continue with --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert run(*words, "-o", tmp_path / "parts.dcd") == 2
    assert "give --resume to continue it" in capsys.readouterr().err
    assert run(*words, "-o", tmp_path / "parts.dcd", "--seed", 6, "--resume") == 2
    assert "differs in seed (5, now 6)" in capsys.readouterr().err
    assert run(*words, "-o", tmp_path / "parts.dcd", "--resume") == 0
    written = (tmp_path / "parts_1.dcd").stat().st_mtime_ns
    assert run(*words, "-o", tmp_path / "parts.dcd", "--resume") == 0
    assert (tmp_path / "parts_1.dcd").stat().st_mtime_ns == written
    for replica in (1, 2):
        whole, parts = (tmp_path / f"{name}_{replica}.dcd" for name in ("whole", "parts"))
        assert whole.read_bytes() == parts.read_bytes()


def test_a_replica_that_falls_apart_ends_and_the_others_go_on(force_field, tmp_path, monkeypatch, capsys):
    advance = langevin.LangevinDynamics.advance

    def breaking(dynamics, state, frame, n_steps):
        state = advance(dynamics, state, frame, n_steps)
        if frame == 3:
            state.positions[1] *= 100.0
        return state

    words = [force_field, "--replicas", 3, "--frames", 6]
    assert run(*words, "-o", tmp_path / "sound.dcd") == 0
    monkeypatch.setattr(langevin.LangevinDynamics, "advance", breaking)
    assert run(*words, "-o", tmp_path / "cg.dcd") == 0
    error = capsys.readouterr().err
    assert "1 replica fell apart and ended early: 2 (after 2 frames)" in error and error.count("\n") == 1
    frames = [mdtraj.load(tmp_path / f"cg_{k}.dcd", top=tmp_path / "cg_1.pdb").n_frames for k in (1, 2, 3)]
    assert frames == [6, 2, 6]
    for replica in (1, 3):
        beside = tmp_path / f"sound_{replica}.dcd"
        assert (tmp_path / f"cg_{replica}.dcd").read_bytes() == beside.read_bytes()
    assert json.loads((tmp_path / "cg.dcd.backmap.json").read_text())["stopped"] == {"2": 2}


def test_when_all_fall_apart_nothing_is_left(force_field, tmp_path, capsys):
    assert run(force_field, "-o", tmp_path / "cg.dcd", "--time-step", 0.5, "--frames", 4) == 2
    error = capsys.readouterr().err
    assert "the replica fell apart" in error and "shorter --time-step" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_when_all_fall_apart_later_nothing_is_left_either(force_field, tmp_path, monkeypatch, capsys):
    advance = langevin.LangevinDynamics.advance

    def breaking(dynamics, state, frame, n_steps):
        state = advance(dynamics, state, frame, n_steps)
        if frame == 3:
            state.positions[:] *= 100.0
        return state

    monkeypatch.setattr(langevin.LangevinDynamics, "advance", breaking)
    assert run(force_field, "-o", tmp_path / "cg.dcd", "--replicas", 2, "--frames", 5) == 2
    error = capsys.readouterr().err
    assert "all replicas fell apart, after 2 frames at most" in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_it_starts_where_it_is_told(force_field, tmp_path):
    frame = small_force_field().start[7].numpy()
    topology = mdtraj.load("examples/alanine_dipeptide/alanine_dipeptide.pdb").topology.subset(
        [4, 6, 8, 10, 14, 16]
    )
    mdtraj.Trajectory(frame[None], topology).save(str(tmp_path / "start.pdb"))
    words = [force_field, "--start", tmp_path / "start.pdb", "--frames", 1, "--time-step", 1e-6]
    assert run(*words, "-o", tmp_path / "cg.pdb") == 0
    assert np.allclose(mdtraj.load(tmp_path / "cg.pdb").xyz[0], frame, atol=2e-3)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.safetensors", "-o", "cg.dcd"], "force field missing.safetensors: neither a shipped one ("),
        (["FORCE_FIELD", "-o", "cg.xyz"], "cg.xyz"),
        (["FORCE_FIELD", "-o", "cg.dcd", "--replicas", "0"], "argument --replicas"),
        (["FORCE_FIELD", "-o", "cg.dcd", "--start", "none.pdb"], "none.pdb"),
        (["FORCE_FIELD", "-o", "cg.dcd", "--start", "far.pdb"], "bonds that are not half to twice"),
    ],
)
def test_bad_input(force_field, tmp_path, monkeypatch, capsys, words, message):
    far = mdtraj.load("examples/alanine_dipeptide/alanine_dipeptide.pdb")
    far.xyz *= 3.0
    monkeypatch.chdir(tmp_path)
    far.save("far.pdb")
    words = [str(force_field) if word == "FORCE_FIELD" else word for word in words]
    try:
        code = run(*words)
    except SystemExit as end:
        code = end.code
    assert code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["far.pdb"]


def test_rare_commits_of_many_replicas(force_field, tmp_path, monkeypatch):
    """With many files progress is recorded less often, which must not change what is written."""
    words = [force_field, "--replicas", 4, "--frames", 7]
    assert run(*words, "-o", tmp_path / "often.dcd") == 0
    monkeypatch.setattr(simulation, "_FILES_PER_COMMIT", 2)
    assert run(*words, "-o", tmp_path / "rarely.dcd") == 0
    assert (tmp_path / "often_4.dcd").read_bytes() == (tmp_path / "rarely_4.dcd").read_bytes()


def test_a_program_can_ask_for_it(force_field, tmp_path):
    outcome = backmap.simulate(force_field, tmp_path / "cg.dcd", frames=2, steps=2, quiet=True)
    assert outcome.outputs == [tmp_path / "cg.dcd"] and outcome.stopped == {}
    assert "simulated 1 replica x 2 frames of 6 beads" in outcome.summary
    assert torch.get_default_dtype() == torch.float32
    with pytest.raises(TypeError, match="did you mean 'replicas'"):
        backmap.simulate(force_field, tmp_path / "other.dcd", replica=2)


def test_an_exported_force_field_gives_the_same_forces(force_field, tmp_path):
    assert main(["export", str(force_field), "-o", str(tmp_path / "cg.ts"), "--quiet"]) == 0
    module = torch.jit.load(str(tmp_path / "cg.ts"))
    known = small_force_field()
    beads = known.start[:3]
    energy, forces = module.energy_and_forces(beads)
    torch.testing.assert_close(energy, known(beads))
    torch.testing.assert_close(forces, known.energy_and_forces(beads)[1])
    torch.testing.assert_close(module(beads[1]), energy[1])
    assert module.bead_names == ["C", "N", "CA", "CB", "C", "N"] and module.family == "cgschnet"
    with pytest.raises(Exception, match=r"positions has shape \[3, 5, 3\]; it must be \[-1, 6, 3\]"):
        module.energy_and_forces(beads[:, :5])


def test_it_is_no_model_of_atoms(force_field, tmp_path, capsys):
    words = ["examples/2bf5.pdb.gz", "--model", str(force_field), "-o", str(tmp_path / "x.pdb")]
    assert main(["reconstruct", *words]) == 2
    assert "use `backmap simulate`" in capsys.readouterr().err
