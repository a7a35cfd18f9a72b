"""The temporal models that come with backmap, from a structure to refined frames of all atoms."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import mdtraj
import numpy as np
import pytest

import backmap
from backmap.cli.main import main
from backmap.cluster import select_device
from backmap.errors import InputError
from backmap.models.configuration import config_from_dict
from backmap.models.shipped import load_model, require_model
from backmap.models.temporal.config import TemporalConfig

pytestmark = pytest.mark.filterwarnings("ignore::backmap.errors.InputWarning", "ignore:.*netCDF4")

EXAMPLES = Path(__file__).parents[2] / "examples"
MODELS = {
    "alanine-dipeptide": EXAMPLES / "alanine_dipeptide/alanine_dipeptide.pdb",
    "alanine-dipeptide-voxels": EXAMPLES / "alanine_dipeptide/alanine_dipeptide.pdb",
    "chignolin": EXAMPLES / "chignolin/chignolin.pdb.gz",
}


@pytest.mark.parametrize("name", MODELS)
def test_refined_frames(name, tmp_path):
    given = mdtraj.load(str(MODELS[name]))
    mdtraj.join([given] * 3).save(str(tmp_path / "in.dcd"))
    given.save_pdb(str(tmp_path / "in.pdb"))
    output = tmp_path / "out.dcd"
    arguments = ["reconstruct", str(tmp_path / "in.dcd"), "--top", str(tmp_path / "in.pdb")]
    arguments += ["--model", name, "-o", str(output), "--refine", "2", "--temperature", "320"]
    assert main(arguments) == 0
    built = mdtraj.load(str(output), top=str(tmp_path / "in.pdb"))
    beads = list(load_model(name, select_device("cpu")).mapping.bead_atoms)
    np.testing.assert_allclose(built.xyz[:, beads], np.repeat(given.xyz[:, beads], 3, 0), atol=1e-5)
    manifest = json.loads((tmp_path / "out.dcd.backmap.json").read_text())
    assert (manifest["refine"], manifest["temperature"]) == (2, 320.0)


@pytest.mark.parametrize("name", MODELS)
def test_python_twin(name):
    given = mdtraj.load(str(MODELS[name]))
    plain, refined, again = (
        backmap.reconstruct(given, model=name, device="cpu", refine=steps).xyz for steps in (0, 2, 2)
    )
    assert np.array_equal(refined, again)
    assert np.abs(refined - plain).max() > 1e-4
    with pytest.raises(InputError, match="applies to refined frames only"):
        backmap.reconstruct(given, model=name, device="cpu", temperature=300.0)


def test_shipped_models_say_what_they_are():
    for name in MODELS:
        card = require_model(name).with_suffix(".md").read_text()
        assert card.startswith(f"# {name}\n")


@pytest.mark.parametrize("name", MODELS)
def test_shipped_configurations_are_those_of_the_models(name):
    table = tomllib.loads(require_model(name).with_suffix(".toml").read_text())
    model = load_model(name, select_device("cpu"))
    assert config_from_dict(TemporalConfig, table["model"]) == model.config


def test_the_example_trains_the_shipped_voxel_model():
    shipped = tomllib.loads(require_model("alanine-dipeptide-voxels").with_suffix(".toml").read_text())
    example = tomllib.loads((EXAMPLES / "alanine_dipeptide/voxels.toml").read_text())
    assert example.pop("data")["train_share"] == shipped.pop("data")["train_share"]
    assert example == shipped
