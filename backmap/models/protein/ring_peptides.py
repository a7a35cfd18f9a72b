"""Rings cut open, for algorithms that only know open chains."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from backmap.models.chain import Chain

LAPS = 3
"""Laps around a ring in which the angles of the middle one do not depend on where the ring is cut open."""


class Laps(NamedTuple):
    """A sequence in which rings are cut open, and run through several times.

    Attributes
    ----------
    rows : Tensor, (places,) int64
        Residue at each place.
    segments : Tensor, (segments, longest) int64
        Places of each segment in order, padded with -1; the longest segments first.
    places : Tensor, (residues,) int64
        Place of each residue, in the middle lap if it is in a ring.
    """

    rows: Tensor
    segments: Tensor
    places: Tensor


def in_laps(chain: Chain) -> Laps:
    """Cut the rings of a sequence open; open segments remain as they are."""
    runs = [(segment[segment >= 0], 1) for segment in chain.segments()]
    runs += [(ring, LAPS) for rings in chain.rings() for ring in rings]
    runs.sort(key=lambda run: run[1] * len(run[0]), reverse=True)
    rows = torch.cat([residues.repeat(laps) for residues, laps in runs])
    segments = rows.new_full((len(runs), runs[0][1] * len(runs[0][0])), -1)
    places = rows.new_zeros(chain.n_residues)
    start = 0
    for segment, (residues, laps) in zip(segments, runs, strict=True):
        every = torch.arange(start, start + laps * len(residues), device=rows.device)
        segment[: len(every)] = every
        places[residues] = every[laps // 2 * len(residues) :][: len(residues)]
        start += len(every)
    return Laps(rows, segments, places)
