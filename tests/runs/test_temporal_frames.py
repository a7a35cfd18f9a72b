"""Strands of trajectories: how they are cut, and that cuts and groups change nothing."""

from __future__ import annotations

import pytest

from backmap.runs.temporal_frames import Strand, plan_strands


def test_whole_trajectories_are_one_strand_each():
    assert plan_strands([7, 3]) == [Strand(0, 0, 0, 7), Strand(1, 0, 0, 3)]


def test_segments_overlap_by_the_burn_in():
    assert plan_strands([100], segments=4, burn_in=5) == [
        Strand(0, 0, 0, 25),
        Strand(0, 20, 25, 50),
        Strand(0, 45, 50, 75),
        Strand(0, 70, 75, 100),
    ]


@pytest.mark.parametrize("length, segments, burn_in", [(3, 8, 0), (10, 4, 9), (1, 2, 0), (101, 7, 3)])
def test_segments_cover_every_frame_once_and_none_is_empty(length, segments, burn_in):
    strands = plan_strands([length], segments, burn_in)
    assert [strand.begin for strand in strands[1:]] == [strand.end for strand in strands[:-1]]
    assert (strands[0].begin, strands[-1].end) == (0, length)
    assert all(0 <= strand.first <= strand.begin < strand.end for strand in strands)
