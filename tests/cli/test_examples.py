"""The examples work as their page says."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import mdtraj
import pytest

from backmap.api import DEFAULT_MODEL, shipped_models
from backmap.io import open_source

EXAMPLES = Path(__file__).parents[2] / "examples"

needs_model = pytest.mark.skipif(DEFAULT_MODEL not in shipped_models(), reason="no model is shipped yet")


def test_inputs_open_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        protein = open_source(EXAMPLES / "2bf5.pdb.gz")
        trajectory = open_source(EXAMPLES / "ww_c_alpha.xtc", EXAMPLES / "ww_c_alpha.pdb")
    assert protein.topology.chain_ids == ("A", "B")
    assert protein.present[:, :14].sum() == protein.topology.atom_mask[:, :14].sum()
    assert (trajectory.frames, trajectory.topology.residues) == (32, 34)


@needs_model
def test_from_python(tmp_path):
    script = [sys.executable, str(EXAMPLES / "backmap_c_alpha.py"), str(tmp_path / "out.pdb")]
    done = subprocess.run(script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("34 C-alphas became ")
    assert mdtraj.load(str(tmp_path / "out.pdb")).n_frames == 32
