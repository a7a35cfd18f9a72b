"""What tests of the command share: a toy in the place of the model, and a trajectory for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.io import open_writer
from tests import toy_protein
from tests.proteins import c_alpha_list

FRAMES = 12


@pytest.fixture
def toy(monkeypatch, tmp_path) -> toy_protein.FixedOffsets:
    return toy_protein.install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)


@pytest.fixture
def given(tmp_path) -> Path:
    """Write a C-alpha trajectory of two chains with time, step and box."""
    topology = Topology.from_sequences("MKWA", "GPC")
    coordinates = np.zeros((FRAMES, 7, 3))
    coordinates[:, :, 0] = 0.38 * np.arange(7) + 0.01 * np.arange(FRAMES)[:, None]
    coordinates[:, 4:, 1] = 2.0
    (tmp_path / "in").mkdir()
    with open_writer(tmp_path / "in" / "ca.xtc", c_alpha_list(topology)) as writer:
        box = np.broadcast_to(np.diag([4.0, 5.0, 6.0]), (FRAMES, 3, 3))
        writer.write(coordinates, 5.0 * np.arange(FRAMES), box, 2500 * np.arange(FRAMES))
    return tmp_path / "in" / "ca.xtc"
