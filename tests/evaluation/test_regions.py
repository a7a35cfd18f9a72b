"""Which groups of atoms count."""

import numpy as np

from backmap.chemistry import Topology
from backmap.evaluation.regions import mean, members, residue_regions, share


def test_interior_leaves_out_both_ends_of_every_chain():
    interior, everything = residue_regions(Topology.from_sequences("AAAA", "GG"))
    np.testing.assert_array_equal(interior, [False, True, True, False, False, False])
    assert everything.all()


def test_group_counts_with_all_atoms_present_in_the_region():
    regions = residue_regions(Topology.from_sequences("AAAA"))
    present = np.ones((4, 15), dtype=bool)
    present[2, 3] = False
    groups = np.array([[15, 16], [0, 15], [30, 33], [15, -1], [17, 30]])
    np.testing.assert_array_equal(
        members(groups, present, regions),
        [[True, False, False, False, True], [True, True, False, False, True]],
    )


def test_share_is_a_percentage_of_what_counts():
    counted = np.array([[True, True, False, True], [False, False, False, False]])
    inside, nothing = share(np.array([[True, False, True, False]]), counted)
    np.testing.assert_allclose(inside, [100 / 3])
    assert np.isnan(nothing).all()


def test_mean_keeps_leading_dimensions():
    assert mean(np.ones((2, 3, 4)), np.ones((2, 4), dtype=bool)).shape == (2, 2, 3)
