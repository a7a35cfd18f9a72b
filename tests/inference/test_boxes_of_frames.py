"""Boxes as files have them become boxes as the operators want them."""

from __future__ import annotations

import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.chemistry.periodic_box import has_box, reduced_boxes
from backmap.errors import InputError
from backmap.inference.protein_job import ProteinJob
from tests.proteins import c_alpha_sites
from tests.toy_protein import install

TOPOLOGY = Topology.from_sequences("GAG")
SITES = c_alpha_sites(TOPOLOGY)


def test_a_reduced_box_has_the_same_lattice():
    skew = np.array([[4.0, 0, 0], [3.9, 5.0, 0], [-7.0, 6.0, 6.0]])
    boxes = np.stack([np.diag([4.0, 5.0, 6.0]), skew])
    reduced = reduced_boxes(boxes, np.arange(2), "in.gro")
    np.testing.assert_allclose(reduced[0], boxes[0])
    (ax, _, _), (bx, by, _), (cx, cy, cz) = reduced[1]
    assert abs(bx) <= ax / 2 and abs(cx) <= ax / 2 and abs(cy) <= by / 2
    assert (ax, by, cz) == (4, 5, 6)
    steps = reduced[1].astype(float) @ np.linalg.inv(skew)
    np.testing.assert_allclose(steps, steps.round(), atol=1e-6)


def test_a_box_that_lies_otherwise_is_refused():
    turned = np.array([[0.0, 4, 0], [0, 0, 4], [4, 0, 0]])
    with pytest.raises(InputError, match="in.gro: frame 8 has the box vectors .* rotate the frame"):
        reduced_boxes(np.stack([4 * np.eye(3), turned]), np.array([5, 7]), "in.gro")


def test_frames_with_and_without_a_box_are_built_apart(tmp_path, monkeypatch):
    model = install(tmp_path / "toy.safetensors", None, monkeypatch.setattr)
    job = ProteinJob("in.gro", None, TOPOLOGY, TOPOLOGY.linked(), SITES, samples=2, seed=1)
    build = job.open("cpu")
    boxes = np.stack([4 * np.eye(3), np.zeros((3, 3)), 5 * np.eye(3), 0.1 * np.eye(3)])
    assert has_box(boxes).tolist() == [True, False, True, False]
    positions, numbers = np.zeros((4, 3, 3), dtype=np.float32), np.arange(10, 14)
    atoms = build(positions, numbers, boxes).atoms
    np.testing.assert_array_equal(atoms, build(positions, numbers).atoms)
    assert [box if box is None else box.diagonal(dim1=1, dim2=2)[:, 0].tolist() for box in model.boxes] == [
        [4.0, 5.0],
        None,
        None,
    ]
