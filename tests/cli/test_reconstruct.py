"""``backmap reconstruct`` from files to files, with a model that places every atom at a fixed offset."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap.api
from backmap.chemistry import SLOT_CA, SLOT_OXT, Topology
from backmap.cli.main import main
from backmap.errors import InputError
from backmap.io import AtomList, open_source, open_writer, to_mdtraj
from tests.proteins import c_alpha_list, present_atoms
from tests.toy_protein import FixedOffsets, install


@pytest.fixture
def model(monkeypatch, tmp_path) -> FixedOffsets:
    """Put the fixed offsets in the place of a trained model."""
    return install(tmp_path / "weights.safetensors", None, monkeypatch.setattr)


@pytest.fixture
def c_alphas(tmp_path) -> Path:
    """Write a C-alpha trajectory of two chains, 5 frames, and give its name (a PDB file lies beside it)."""
    topology = Topology.from_sequences("MKWA", "GPC")
    steps = np.arange(7)
    line = np.stack([0.38 * steps, np.zeros(7), np.where(steps > 3, 2.0, 0.0)], axis=1)
    coordinates = line + 0.01 * np.arange(5)[:, None, None]
    (tmp_path / "in").mkdir()
    with open_writer(tmp_path / "in" / "ca.xtc", c_alpha_list(topology)) as writer:
        writer.write(coordinates, time=10.0 * np.arange(5))
    return tmp_path / "in" / "ca.xtc"


def reconstruct(c_alphas: Path, output: Path, *more: str) -> int:
    return main(
        ["reconstruct", str(c_alphas), "--top", str(c_alphas.with_suffix(".pdb")), "-o", str(output), *more]
    )


@pytest.mark.parametrize("suffix", [".pdb", ".cif.gz", ".xtc", ".dcd", ".h5"])
def test_all_atoms_of_all_frames(model, c_alphas, tmp_path, suffix, capsys):
    if suffix == ".h5":
        pytest.importorskip("tables")
    output = tmp_path / f"out{suffix}"
    assert reconstruct(c_alphas, output) == 0
    needs_names = suffix in (".xtc", ".dcd")
    source = open_source(output, output.with_suffix(".pdb") if needs_names else None)
    present = present_atoms(source)
    np.testing.assert_array_equal(present, source.topology.atom_mask)
    assert present[:, SLOT_OXT].nonzero()[0].tolist() == [3, 6]
    assert source.n_frames == 5
    (built,) = source.chunks(9)
    (given,) = open_source(c_alphas, c_alphas.with_suffix(".pdb")).chunks(9)
    np.testing.assert_allclose(
        built.coordinates[:, source.sites.leaders],
        given.coordinates,
        atol=6e-4 if suffix == ".xtc" else 6e-5,
    )
    line = capsys.readouterr().err
    assert line.startswith("reconstructed 5 frames x 7 residues x 1 sample in ")
    assert line.endswith(f" residues/s) -> {output}\n")


def test_samples_seed_and_manifest(model, c_alphas, tmp_path):
    assert reconstruct(c_alphas, tmp_path / "out.pdb", "--samples", "2", "--seed", "4", "--quiet") == 0
    first, second = (tmp_path / f"out_{number}.pdb" for number in (1, 2))
    assert first.read_text() != second.read_text()
    manifest = json.loads((tmp_path / "out.pdb.backmap.json").read_text())
    assert (manifest["seed"], manifest["samples"]) == (4, 2)
    assert [Path(entry["path"]).name for entry in manifest["input"]] == ["ca.xtc", "ca.pdb"]
    assert reconstruct(c_alphas, tmp_path / "again.pdb", "--samples", "2", "--seed", "4", "--quiet") == 0
    assert (tmp_path / "again_2.pdb").read_text() == second.read_text()


def test_chunks_do_not_change_the_result(model, c_alphas, tmp_path, monkeypatch):
    assert reconstruct(c_alphas, tmp_path / "whole.pdb") == 0
    assert reconstruct(c_alphas, tmp_path / "pieces.pdb", "--batch", "2") == 0
    assert sorted(model.calls) == [(0, 2), (0, 5), (2, 2), (4, 1)]
    assert (tmp_path / "whole.pdb").read_text() == (tmp_path / "pieces.pdb").read_text()


def test_stride(model, c_alphas, tmp_path):
    assert reconstruct(c_alphas, tmp_path / "out.xtc", "--stride", "2") == 0
    assert mdtraj.load(str(tmp_path / "out.xtc"), top=str(tmp_path / "out.pdb")).time.tolist() == [0, 20, 40]


def test_python_api(model, c_alphas):
    trajectory = mdtraj.load(str(c_alphas), top=str(c_alphas.with_suffix(".pdb")))
    built = backmap.api.reconstruct(trajectory, seed=1)
    assert (built.n_frames, built.n_residues, built.n_chains) == (5, 7, 2)
    assert built.time.tolist() == [0, 10, 20, 30, 40]
    assert [chain.chain_id for chain in built.topology.chains] == ["A", "B"]
    c_alpha = built.atom_slice(built.topology.select("name CA"))
    np.testing.assert_array_equal(c_alpha.xyz, trajectory.xyz)
    several = backmap.api.reconstruct(str(c_alphas), top=c_alphas.with_suffix(".pdb"), samples=3, seed=1)
    assert len(several) == 3
    with pytest.raises(InputError, match="samples is 0; give a whole number from 1 to"):
        backmap.api.reconstruct(trajectory, samples=0)


def test_all_atoms_in_are_ignored_but_for_c_alphas(model, c_alphas, tmp_path):
    trajectory = mdtraj.load(str(c_alphas), top=str(c_alphas.with_suffix(".pdb")))
    topology = Topology.from_sequences("MKWA", "GPC")
    full = np.random.default_rng(0).normal(size=(5, 7, 15, 3))
    full[:, :, SLOT_CA] = trajectory.xyz
    atoms = AtomList.of_protein(topology, topology.atom_mask)
    built = backmap.api.reconstruct(to_mdtraj(atoms, full[:, topology.atom_mask]))
    np.testing.assert_array_equal(built.xyz, backmap.api.reconstruct(trajectory).xyz)


BAD_ARGUMENTS = {
    "samples": (["--samples", "0"], "argument --samples: '0' is not a whole number from 1 to 10000"),
    "seed": (["--seed", "-1"], "argument --seed: '-1' is not a whole number from 0"),
    "seed word": (["--seed", "x"], "argument --seed: 'x' is not a whole number from 0"),
    "stride": (["--stride", "0"], "argument --stride: '0' is not a whole number from 1"),
    "device": (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments(model, c_alphas, tmp_path, capsys, case):
    arguments, message = BAD_ARGUMENTS[case]
    with pytest.raises(SystemExit) as end:
        reconstruct(c_alphas, tmp_path / "out.pdb", *arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_no_cuda(model, c_alphas, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert reconstruct(c_alphas, tmp_path / "out.pdb", "--device", "cuda") == 2
    assert "no CUDA device on this machine; use cpu" in capsys.readouterr().err


def test_unknown_model(c_alphas, tmp_path, capsys):
    assert reconstruct(c_alphas, tmp_path / "out.pdb", "--model", "nonesuch") == 2
    assert "model nonesuch: neither a shipped model (" in capsys.readouterr().err


def test_model_that_is_none(c_alphas, tmp_path, capsys):
    assert reconstruct(c_alphas, tmp_path / "out.pdb", "--model", str(c_alphas)) == 2
    error = capsys.readouterr().err
    assert "ca.xtc" in error and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]


def test_output_that_exists_or_is_the_input(model, c_alphas, tmp_path, capsys):
    assert reconstruct(c_alphas, tmp_path / "out.pdb") == 0
    assert reconstruct(c_alphas, tmp_path / "out.pdb") == 2
    assert "already exists; give --overwrite" in capsys.readouterr().err
    assert reconstruct(c_alphas, tmp_path / "out.pdb", "--overwrite") == 0
    assert reconstruct(c_alphas, c_alphas.with_suffix(".pdb"), "--overwrite") == 2
    assert "is an input of this run" in capsys.readouterr().err


def test_overwriting_removes_the_outputs_of_the_earlier_run_and_nothing_else(model, c_alphas, tmp_path):
    own = tmp_path / "out_4.xtc"
    own.write_text("not written by the run")
    assert reconstruct(c_alphas, tmp_path / "out.xtc", "--samples", "3") == 0
    record = tmp_path / "out.xtc.backmap.json"
    assert json.loads(record.read_text())["outputs"] == [
        f"out_{n}{suffix}" for n in (1, 2, 3) for suffix in (".xtc", ".pdb")
    ]
    assert reconstruct(c_alphas, tmp_path / "out.xtc", "--samples", "2", "--overwrite") == 0
    found = {path.name for path in tmp_path.glob("out*")}
    assert found == {"out_1.xtc", "out_1.pdb", "out_2.xtc", "out_2.pdb", own.name, record.name}
    given = tmp_path / "out_2.pdb"
    assert main(["reconstruct", str(given), "-o", str(tmp_path / "out.xtc"), "--overwrite"]) == 0
    assert given.exists() and (tmp_path / "out.xtc").exists() and not (tmp_path / "out_1.xtc").exists()


@pytest.mark.parametrize(
    "names", [["../kept.txt"], ["sub/kept.txt"], [3, None, ""], "kept.txt", {"kept.txt": 1}]
)
def test_overwriting_removes_only_files_beside_the_record(model, c_alphas, tmp_path, names):
    (tmp_path / "out" / "sub").mkdir(parents=True)
    others = [tmp_path / "kept.txt", tmp_path / "out" / "kept.txt", tmp_path / "out" / "sub" / "kept.txt"]
    for path in others:
        path.write_text("kept")
    output = tmp_path / "out" / "out.xtc"
    output.with_name("out.xtc.backmap.json").write_text(json.dumps({"outputs": names}))
    assert reconstruct(c_alphas, output, "--overwrite") == 0
    assert all(path.exists() for path in others)


def test_a_bad_frame_stops_the_run_and_what_was_built_is_kept(model, c_alphas, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("backmap.io.reader.FRAMES_LOOKED_AT", 1)
    monkeypatch.setattr("backmap.io.reader._FRAMES_PER_LOOK", 1)
    trajectory = mdtraj.load(str(c_alphas), top=str(c_alphas.with_suffix(".pdb")))
    trajectory.xyz[3, 2] = np.inf
    damaged = c_alphas.with_suffix(".dcd")
    trajectory.save_dcd(str(damaged))
    assert reconstruct(damaged, tmp_path / "out.xtc", "--batch", "1") == 2
    error = capsys.readouterr().err
    assert "frame 4, chain A residue 3 TRP: a coordinate is not a finite number" in error
    assert f"backmap: {tmp_path}/out.xtc.partial keeps 3 of 5 frames; continue with --resume\n" in error
    assert sorted(path.name for path in tmp_path.iterdir() if "out" in path.name) == ["out.xtc.partial"]
    assert reconstruct(damaged, tmp_path / "out.xtc", "--resume", "--on-bad-frame", "skip") == 0
    assert "ca.dcd: left out 1 bad frame (4)" in capsys.readouterr().err
    assert sorted(model.calls) == [(0, 1), (1, 1), (2, 1), (4, 1)]
    built = mdtraj.load(str(tmp_path / "out.xtc"), top=str(tmp_path / "out.pdb"))
    assert built.n_frames == 4
    assert json.loads((tmp_path / "out.xtc.backmap.json").read_text())["skipped_frames"] == [4]


def test_interrupt_leaves_nothing(model, c_alphas, tmp_path, capsys, monkeypatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(model, "reconstruct", interrupt)
    before = sorted(tmp_path.iterdir())
    assert reconstruct(c_alphas, tmp_path / "out.xtc") == 130
    assert capsys.readouterr().err == "backmap: interrupted\n"
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_read_only_folder(model, c_alphas, tmp_path, capsys):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    assert reconstruct(c_alphas, folder / "out.pdb") == 2
    assert "there is no permission to write there" in capsys.readouterr().err


def test_bad_input_from_the_shell(tmp_path):
    command = [
        sys.executable,
        "-m",
        "backmap.cli.main",
        "reconstruct",
        str(tmp_path / "none.pdb"),
        "-o",
        "x.pdb",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("backmap: error: ") and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
