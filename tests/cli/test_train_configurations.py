"""Configurations of trainings that cannot be used: one sentence, and no folder is made."""

from __future__ import annotations

import os

import pytest

from backmap.cli.main import main

LOOP = "[training.loop]\nepochs = 1\n"


@pytest.mark.parametrize("family", ["protein", "diamondback", "temporal", "cgschnet"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe", "cannot be read as a TOML"),
        (b"a = " + b"[" * 10_000, "cannot be read as a TOML"),
        (b"a = " + b"9" * 5000, "cannot be read as a TOML"),
        (b"[data", "cannot be read as a TOML"),
        (b"data = 1", "data is 1; it must be a table"),
        (b"[model]\nsize = 1", "unknown key 'size' in model"),
        (b"[training]\nseed = 1.5", "training.seed is 1.5; give a whole number"),
        (b"[training]\nseed = -1", "training.seed is -1; give a whole number"),
        (b"[training]\nseed = true", "training.seed is True; give a whole number"),
        (b"[training]\nseed = [1]", "training.seed is [1]; give a whole number"),
        (b"model = []", "model is []; it must be a table"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_bad_configurations(family, text, message, tmp_path, capsys):
    (tmp_path / "c.toml").write_bytes(text)
    assert main(["train", family, str(tmp_path / "c.toml"), "-o", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and len(error) < 600
    assert not (tmp_path / "run").exists()


def test_what_is_no_file(tmp_path, capsys):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo", tmp_path / "missing"):
        assert main(["train", "protein", str(path), "-o", str(tmp_path / "run")]) == 2
        assert "it is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "data",
    [
        "corpus = 1",
        "corpus = [1]",
        "corpus = 'missing'",
        "trajectory = 1",
        "trajectory = 'missing.dcd'",
        "trajectories = 1",
        "trajectories = [1]\ntopology = 2",
        "trajectories = ['missing.dcd']\ntopology = 'missing.pdb'",
        "trajectories = ['missing.dcd']\ntopology = 'missing.pdb'\nstride = 'x'",
        "x = 1",
    ],
)
@pytest.mark.parametrize("family", ["protein", "temporal"])
def test_data_that_are_not_there(family, data, tmp_path, capsys):
    loops = "[training.peptide_planes]\nepochs = 1\n[training.side_chains]\nepochs = 1\n"
    (tmp_path / "c.toml").write_text(f"[data]\n{data}\n{LOOP if family == 'temporal' else loops}")
    assert main(["train", family, str(tmp_path / "c.toml"), "-o", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("trajectories = []\ntopology = 'a.pdb'", "trajectories is empty"),
        ("trajectories = ['run_*.dcd']\ntopology = 'a.pdb'", "no file matches run_*.dcd"),
        (
            "trajectories = ['a.dcd']\ntopology = 'a.pdb'\ntrajectories_without_forces = ['more_?.dcd']",
            "data.trajectories_without_forces: no file matches more_?.dcd",
        ),
        ("trajectories = ['a.dcd']\ntopology = 'a.pdb'\naggregation = 'x'", 'use one of "basic", "optimal"'),
        ("trajectories = ['a.dcd']\ntopology = 'a.pdb'\nforce_unit = 'eV'", 'use one of "kJ/mol/nm"'),
        ("trajectories = ['a.dcd']\ntopology = 'a.pdb'", "a.pdb"),
    ],
)
def test_data_of_force_fields(data, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text(f"[data]\n{data}\n[mapping]\nnames = ['CA']\n{LOOP}")
    assert main(["train", "cgschnet", "c.toml", "-o", "run"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        ("0.2", "model.noise_nm is 0.2; give a number from 0 to 0.1"),
        ("-0.01", "model.noise_nm is -0.01; give a number from 0 to 0.1"),
        ("nan", "model.noise_nm is nan; give a number from 0 to 0.1"),
        ("'much'", "model.noise_nm is 'much'; give a number from 0 to 0.1"),
    ],
)
def test_noise_of_force_fields(noise, message, tmp_path, capsys):
    data = "[data]\ntrajectories = ['a.dcd']\ntopology = 'a.pdb'\n[mapping]\nnames = ['CA']\n"
    (tmp_path / "c.toml").write_text(f"{data}[model]\nnoise_nm = {noise}\n{LOOP}")
    assert main(["train", "cgschnet", str(tmp_path / "c.toml"), "-o", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
