"""Peptide angles of rings, in which the last peptide precedes the first.

The probability of all angles of a ring is the product of those of each angle given the previous one, all the
way round. The angle of the first residue is drawn from its distribution in the ring, and the others one after
another, each given the previous angle and that the last has to lead back to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from backmap.models.chain import Chain
from backmap.models.protein.geometry import angle_in_class, classify_angle
from backmap.models.protein.peptide_planes import (
    EncodedPeptides,
    PeptideEvidence,
    PeptidePlaneNetwork,
    draw_class,
    log_transitions,
    take_evidence,
    take_peptides,
)

LAPS = 3
"""Laps around a ring in which the angles of the middle one do not depend on where the ring is cut open."""

_NUMBERS_AT_A_TIME = 2**24
_RINGS_AT_A_TIME = 64
_LEAST = 1e-30


def draw_ring_angles(
    network: PeptidePlaneNetwork,
    encoded: EncodedPeptides,
    rings: Tensor,
    uniforms: Tensor,
    evidence: PeptideEvidence | None = None,
) -> Tensor:
    """Draw the angles of rings of one length.

    Parameters
    ----------
    network : PeptidePlaneNetwork
        The trained network.
    encoded : EncodedPeptides
        Features of the network.
    rings : Tensor, (rings, length) int64
        Residues of each ring in order.
    uniforms : Tensor, (samples, frames, residues, 2)
        Random numbers in [0, 1) for the class and for the position in its bin.
    evidence : PeptideEvidence, optional
        Information from given atoms.

    Returns
    -------
    Tensor, (samples, frames, rings, length)
        In radians.
    """
    angles = uniforms.new_zeros(*uniforms.shape[:2], *rings.shape)
    for first in range(0, len(rings), _RINGS_AT_A_TIME):
        some = rings[first : first + _RINGS_AT_A_TIME]
        for frames in _slices(uniforms.shape[1], some.numel() * network.classes**2):
            angles[:, frames, first : first + len(some)] = _draw(
                network,
                EncodedPeptides(*(part[frames] for part in encoded)),
                some,
                uniforms[:, frames],
                None if evidence is None else PeptideEvidence(*(part[frames] for part in evidence)),
            )
    return angles


def _slices(frames: int, numbers: int) -> Iterator[slice]:
    """Return slices of frames; each frame needs the given count of numbers in memory."""
    step = max(1, _NUMBERS_AT_A_TIME // numbers)
    return (slice(first, first + step) for first in range(0, frames, step))


def _draw(
    network: PeptidePlaneNetwork,
    encoded: EncodedPeptides,
    rings: Tensor,
    uniforms: Tensor,
    evidence: PeptideEvidence | None,
) -> Tensor:
    drawn = uniforms[:, :, rings]

    def draw(step: int, logits: Tensor) -> Tensor:
        return angle_in_class(draw_class(logits, drawn[..., step, 0]), drawn[..., step, 1], network.classes)

    return walk_rings(network, encoded, rings, evidence, draw, len(drawn))


def walk_rings(
    network: PeptidePlaneNetwork,
    encoded: EncodedPeptides,
    rings: Tensor,
    evidence: PeptideEvidence | None,
    draw: Callable[[int, Tensor], Tensor],
    samples: int,
) -> Tensor:
    """Draw the angles around rings of one length, each given the one before and that the last leads back.

    Parameters
    ----------
    network, encoded, rings, evidence
        As for :func:`draw_ring_angles`.
    draw : callable
        Draws angles (samples, frames, rings) in radians, from the place in the ring and the logits
        (samples, frames, rings, classes).
    samples : int
        Number of samples.

    Returns
    -------
    Tensor, (samples, frames, rings, length)
        In radians.
    """
    way_back = _ways_back(network, encoded, rings, evidence)
    share = way_back[0].diagonal(dim1=-2, dim2=-1)
    angle = draw(0, share.clamp_min(_LEAST).log().expand(samples, -1, -1, -1))
    start = classify_angle(angle, network.classes)
    angles = []
    for step in range(rings.shape[1]):
        known = take_evidence(evidence, rings[:, step])
        if step > 0:
            here = take_peptides(encoded, rings[:, step])
            logits = network.informed_logits(here, known, torch.cos(angle), torch.sin(angle))
            back = way_back[step].expand(samples, -1, -1, -1, -1)
            back = back.gather(-1, start[..., None, None].expand(*back.shape[:-1], 1)).squeeze(-1)
            angle = draw(step, torch.log_softmax(logits, dim=-1) + back.clamp_min(_LEAST).log())
        if known is not None:
            angle = torch.where(known.angle.isnan(), angle, known.angle)
        angles.append(angle)
    return torch.stack(angles, dim=-1)


def _ways_back(
    network: PeptidePlaneNetwork, encoded: EncodedPeptides, rings: Tensor, evidence: PeptideEvidence | None
) -> list[Tensor]:
    """Return the probabilities (frames, rings, classes, classes) of the first angle after each angle.

    There is one tensor for each residue of the rings: the probabilities that, given the class of its angle,
    the way on around the ring leads to each class of the first residue's angle.
    """
    middles = torch.atan2(network.class_waves[2], network.class_waves[1])
    every = middles.expand(len(encoded.context), len(rings), -1)
    steps = []
    for step in range(rings.shape[1]):
        before = every
        known = take_evidence(evidence, rings[:, step - 1])
        if known is not None:
            before = torch.where(known.angle.isnan()[..., None], every, known.angle[..., None])
        rows = rings[:, step]
        here, own = take_peptides(encoded, rows), take_evidence(evidence, rows)
        steps.append(log_transitions(network, here, own, before).exp())
    ways = [steps[0]]
    for step in range(rings.shape[1] - 1, 0, -1):
        ways.append(torch.matmul(steps[step], ways[-1]))
    return ways[::-1]


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
