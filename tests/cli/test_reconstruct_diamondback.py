"""``backmap reconstruct`` with a DiAMoNDBack model, from files to files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.chemistry import Topology
from backmap.cli.main import main
from backmap.io import to_mdtraj
from backmap.models.checkpoint import save_checkpoint, to_checkpoint
from tests.models.diamondback.small import make_model
from tests.proteins import c_alpha_list

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def model(tmp_path) -> Path:
    path = tmp_path / "small.safetensors"
    small = make_model("compact")
    save_checkpoint(path, to_checkpoint("diamondback", small.config, small, {}))
    return path


def reconstruct(*arguments) -> int:
    return main(["reconstruct", *map(str, arguments), "--device", "cpu", "--quiet"])


def test_trajectory_in_trajectories_out(model, tmp_path):
    given = ["--top", EXAMPLES / "ww_c_alpha.pdb", "--model", model, "--samples", 2, "--stride", 8]
    assert reconstruct(EXAMPLES / "ww_c_alpha.xtc", *given, "-o", tmp_path / "ww.xtc") == 0
    c_alpha = mdtraj.load(str(EXAMPLES / "ww_c_alpha.xtc"), top=str(EXAMPLES / "ww_c_alpha.pdb"), stride=8)
    for sample in (1, 2):
        built = mdtraj.load(str(tmp_path / f"ww_{sample}.xtc"), top=str(tmp_path / f"ww_{sample}.pdb"))
        assert built.n_frames == c_alpha.n_frames
        kept = built.atom_slice(built.topology.select("name CA"))
        np.testing.assert_allclose(kept.xyz, c_alpha.xyz, atol=1.1e-3)
    record = json.loads(next(tmp_path.glob("*.backmap.json")).read_text())
    assert record["model"]["sha256"] and record["ddim_steps"] == 0


def test_fewer_steps_are_another_sampler_and_python_gives_the_same(model, tmp_path):
    given = mdtraj.load(str(EXAMPLES / "2bf5.pdb.gz"))
    full, fewer, again = (
        backmap.reconstruct(given, model=model, seed=3, ddim_steps=steps, device="cpu") for steps in (0, 3, 3)
    )
    assert not np.allclose(full.xyz, fewer.xyz, atol=1e-3)
    np.testing.assert_array_equal(fewer.xyz, again.xyz)
    arguments = EXAMPLES / "2bf5.pdb.gz", "--model", model, "--seed", 3, "--ddim-steps", 3
    assert reconstruct(*arguments, "-o", tmp_path / "out.pdb") == 0
    np.testing.assert_allclose(mdtraj.load(str(tmp_path / "out.pdb")).xyz, fewer.xyz, atol=1e-4)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--ddim-steps", 7], "ddim-steps 7: .* has 6 steps; ask for fewer"),
        (["--model", "protein", "--redraws", 0], "--redraws: applies only to diamondback models"),
        (["--seed-from", "x.dcd"], "--seed-from: applies only to temporal models"),
        (
            ["--model", "protein", "--ddim-steps", 5],
            "--ddim-steps: applies only to diamondback models; protein is",
        ),
        (
            ["--model", "alanine-dipeptide", "--ddim-steps", 5],
            "--ddim-steps: applies only to diamondback models; alanine-dipeptide is a temporal",
        ),
    ],
)
def test_options_without_meaning_are_refused(model, arguments, message, tmp_path, capsys):
    output = tmp_path / "out.pdb"
    assert reconstruct(EXAMPLES / "2bf5.pdb.gz", "--model", model, *arguments, "-o", output) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert re.search(message, error), error
    assert not list(tmp_path.glob("out*"))


def test_a_segment_too_short_is_refused_by_file_and_residue(model, tmp_path, capsys):
    atoms = c_alpha_list(Topology.from_sequences("ACDEF", "AC"))
    trace = np.zeros((1, 7, 3))
    trace[0, :, 0] = 0.37 * np.arange(7)
    trace[0, :, 1] = 0.1 * (np.arange(7) % 2)
    to_mdtraj(atoms, trace).save_pdb(str(tmp_path / "short.pdb"))
    assert reconstruct(tmp_path / "short.pdb", "--model", model, "-o", tmp_path / "out.pdb") == 2
    error = capsys.readouterr().err
    assert "short.pdb: chain B residue 1 ALA is in a segment of fewer than three residues" in error
    assert "use the protein model" in error and not (tmp_path / "out.pdb").exists()
