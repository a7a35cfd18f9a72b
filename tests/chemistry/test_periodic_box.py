"""Vectors of periodic boxes."""

import numpy as np
from mdtraj.utils import lengths_and_angles_to_box_vectors

from backmap.chemistry.periodic_box import box_vectors


def test_vectors_are_those_of_mdtraj():
    random = np.random.default_rng(0)
    lengths = random.uniform(1, 9, (50, 3)).astype(np.float32)
    angles = random.uniform(70, 110, (50, 3)).astype(np.float32)
    angles[:10], angles[10:20] = 90, [60, 60, 90]
    expected = np.stack(lengths_and_angles_to_box_vectors(*lengths.T, *angles.T), axis=1)
    found = box_vectors(lengths, angles)
    assert np.array_equal(found, expected) and found.dtype == np.float32
    assert np.count_nonzero(found[0]) == 3


def test_angles_that_no_box_has():
    assert np.isnan(box_vectors(np.ones((1, 3)), np.array([[10.0, 100.0, 10.0]]))).any()
