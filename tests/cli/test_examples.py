"""The examples work as their page says."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import mdtraj
import pytest

import backmap
from backmap.cli.train import read_config, read_configurations
from backmap.io import open_source
from backmap.models.diamondback.config import DiamondbackConfig
from backmap.models.shipped import DEFAULT_MODEL, shipped_models
from backmap.training.diamondback import DiamondbackTrainingConfig
from tests.proteins import present_atoms

EXAMPLES = Path(__file__).parents[2] / "examples"

needs_model = pytest.mark.skipif(DEFAULT_MODEL not in shipped_models(), reason="no model is shipped yet")


def test_inputs_open_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        protein = open_source(EXAMPLES / "2bf5.pdb.gz")
        trajectory = open_source(EXAMPLES / "ww_c_alpha.xtc", EXAMPLES / "ww_c_alpha.pdb")
    assert protein.topology.chain_ids == ("A", "B")
    assert present_atoms(protein)[:, :14].sum() == protein.topology.atom_mask[:, :14].sum()
    assert (trajectory.n_frames, trajectory.topology.n_residues) == (32, 34)


@needs_model
def test_from_python(tmp_path):
    script = [sys.executable, str(EXAMPLES / "backmap_c_alpha.py"), str(tmp_path / "out.pdb")]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("34 C-alphas became ")
    assert mdtraj.load(str(tmp_path / "out.pdb")).n_frames == 32


@pytest.mark.parametrize("name", ["diamondback/published.toml", "diamondback/fine_tune.toml"])
def test_configurations_of_diamondback_are_understood(name):
    path = EXAMPLES / name
    model, training = read_configurations(
        path, read_config(path), DiamondbackConfig, DiamondbackTrainingConfig
    )
    if "published" in name:
        assert (model.network, model.scale_nm, model.steps) == ("unet", 2.0, 50)
        assert (training.loop.batch, training.loop.learning_rate) == (128, 3e-4)
    else:
        assert (training.terminal_repeats, training.loop.learning_rate) == (5, 1e-5)


@pytest.mark.skipif("diamondback" not in shipped_models(), reason="no DiAMoNDBack model is shipped")
def test_shipped_diamondback_model_builds_sound_structures():
    given = mdtraj.load(str(EXAMPLES / "ww_c_alpha.xtc"), top=str(EXAMPLES / "ww_c_alpha.pdb"))[:8]
    built = backmap.reconstruct(given, model="diamondback", device="cpu")
    scores = backmap.evaluate(None, [built])
    assert scores.measures["bond"]["interior"].value > 95.0
    assert scores.measures["clash"]["interior"].value < 5.0
    assert scores.measures["chirality"]["interior"].value > 99.0
