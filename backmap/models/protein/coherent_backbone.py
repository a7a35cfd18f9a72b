"""Peptides and chain ends of coherent frames: each moves from where it was in the frame before."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from backmap.models.beads.evidence import BeadEvidence
from backmap.models.beads.evidence import of_samples as beads_of_samples
from backmap.models.chain import Chain
from backmap.models.counter_random import uniform
from backmap.models.protein.backbone import Backbone, EndMemory, chain_ends
from backmap.models.protein.basins import DRAWS, normal_deviates, share_below, step_angle
from backmap.models.protein.coherence_rates import CoherenceRates, surroundings
from backmap.models.protein.coherent_state import CoherentState, remember
from backmap.models.protein.geometry import classify_angle
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.given_atoms import of_samples as given_of_samples
from backmap.models.protein.model import ProteinModel, counters, sites_at_once
from backmap.models.protein.moving_ends import END_DRAWS, step_ends
from backmap.models.protein.peptide_planes import (
    EncodedPeptides,
    PeptideFrames,
    place_peptides,
    take_peptides,
)

LONGEST_PEPTIDE_WINDOW = math.radians(150.0)
"""Peptides mostly have one broad well, in which they turn by more than 60 degrees in a picosecond."""


class CoherentBackbone:
    """Draws the backbones of successive frames.

    Parameters
    ----------
    model : ProteinModel
        Gives the distributions.
    rates : CoherenceRates
        How fast they are sampled.
    """

    # Purposes of the random numbers, beside those of the model and of the side chains.
    peptide_stream = 16
    twist_stream = 17
    end_stream = 18

    loyalty_nm2 = 0.01
    """Squared overlap of a chain end up to which it keeps its trial."""
    loyalty_with_beads_nm2 = 0.0003
    """The same where beads tell more about the end."""

    def __init__(self, model: ProteinModel, rates: CoherenceRates) -> None:
        self.model, self.rates = model, rates

    def draw(
        self,
        c_alpha: Tensor,
        chain: Chain,
        keys: Tensor,
        intervals: Tensor,
        mobilities: Tensor,
        state: CoherentState,
        box: Tensor | None,
        beads: BeadEvidence | None,
        given: Given | None,
    ) -> tuple[Backbone, CoherentState]:
        """Return backbones of samples x frames, and the state, with the backbone of the last frame."""
        samples, planes = keys.shape[0], self.model.peptide_planes
        each = None if box is None else box.repeat(len(c_alpha), 1, 1)
        flat = c_alpha.flatten(0, 1)
        angles, frames = self._draw_angles(
            flat, chain, keys, intervals, mobilities, state.angles, each, given
        )
        repeats = samples // len(c_alpha)
        frames = PeptideFrames(*(part.repeat(repeats, *[1] * (part.dim() - 1)) for part in frames))
        memory = torch.exp(-intervals / self.rates.twist_memory).unsqueeze(-1)
        noise = normal_deviates(uniform(keys, self.twist_stream, counters([chain.n_residues, 2], keys)))
        twisted = remember(state.twists, memory, noise)
        twists = planes.draw_twists(frames, angles.flatten(0, 1), chain, share_below(twisted).flatten(0, 1))
        everywhere = flat.repeat(repeats, 1, 1)
        peptides = place_peptides(everywhere, frames, angles.flatten(0, 1), twists)
        ends = torch.cat(chain_ends(chain))
        end_shape = [len(ends), self.model.backbone.candidates, END_DRAWS]
        trials, end_uniforms = step_ends(
            self.model.backbone,
            chain,
            everywhere.unflatten(0, keys.shape),
            peptides.unflatten(0, keys.shape),
            state.end_trials,
            self.rates.of_ends * intervals[:, ends],
            self.rates.end_window * intervals[:, ends].sqrt(),
            uniform(keys, self.end_stream, counters(end_shape, keys)),
        )
        box = None if box is None else box.repeat(samples, 1, 1)
        choices = state.end_choices.clone()
        backbone = self.model.backbone(
            everywhere,
            frames,
            angles.flatten(0, 1),
            twists,
            chain,
            end_uniforms.flatten(0, 1),
            None if given is None else given_of_samples(given, samples),
            box,
            None if beads is None else beads_of_samples(beads, samples),
            EndMemory(choices, self.loyalty_nm2 if beads is None else self.loyalty_with_beads_nm2),
        )
        after = state._replace(
            angles=angles[:, -1],
            twists=twisted[:, -1],
            end_torsions=trials.torsion,
            end_turns=trials.turn,
            end_directions=trials.direction,
            end_choices=choices,
        )
        return backbone, after

    def _draw_angles(
        self,
        c_alpha: Tensor,
        chain: Chain,
        keys: Tensor,
        intervals: Tensor,
        mobilities: Tensor,
        before: Tensor,
        box: Tensor | None,
        given: Given | None,
    ) -> tuple[Tensor, PeptideFrames]:
        """Draw angles (samples, frames, residues), each given the peptide before it and the frame before.

        Peptide i of frame t needs peptide i - 1 of frame t and peptide i of frame t - 1, so all peptides with
        equal i + t are drawn at once. Rings follow frame by frame.
        """
        planes, residues = self.model.peptide_planes, chain.n_residues
        samples, n_frames = keys.shape
        sites, frames = planes.describe(c_alpha, chain, box)
        encoded = planes.encode_described(sites, frames, chain, sites_at_once(keys))
        if given is not None:
            encoded = self.model.weigh_evidence(encoded, frames, c_alpha, chain, given)
        encoded = EncodedPeptides(*(_in_one_row(part, n_frames) for part in encoded))
        seen = surroundings(sites.neighbourhood, chain).unflatten(0, (-1, n_frames))
        rate = (self.rates.of_peptides(chain.types, seen, mobilities) * intervals).flatten(1)
        window = (self.rates.peptide_window * intervals.sqrt()).flatten()
        uniforms = uniform(keys, self.peptide_stream, counters([residues, DRAWS], keys)).flatten(1, 2)
        angles = torch.cat([before.unsqueeze(1), before.new_zeros(samples, n_frames, residues)], dim=1)
        angles = angles.flatten(1)
        for now, has_previous in _wavefronts(chain, n_frames):
            previous = torch.where(has_previous, angles[:, now + residues - 1], 0.0)
            here = take_peptides(encoded, now)
            logits = planes.angle_logits(here, torch.cos(previous), torch.sin(previous))
            angle, _ = step_angle(
                torch.softmax(logits, dim=-1),
                angles[:, now],
                rate[:, now],
                window[now],
                uniforms[:, now],
                LONGEST_PEPTIDE_WINDOW,
            )
            angles[:, now + residues] = torch.where(here.known.isnan(), angle, here.known)
        for rings in chain.rings():
            self._step_rings(encoded, rings, angles, rate, window, uniforms)
        return angles.unflatten(1, (-1, residues))[:, 1:], frames

    def _step_rings(
        self,
        encoded: EncodedPeptides,
        rings: Tensor,
        angles: Tensor,
        rate: Tensor,
        window: Tensor,
        uniforms: Tensor,
    ) -> None:
        """Draw the angles of rings (rings, length) frame by frame, as those of open chains.

        Angles (samples, residues + frames x residues) hold those of the frame before first, and are written.
        """
        planes, residues = self.model.peptide_planes, angles.shape[1] - rate.shape[1]
        shape = len(angles) // len(encoded.context), len(encoded.context)  # samples, and those of C-alphas
        for first in range(0, rate.shape[1], residues):
            now = torch.arange(first, first + residues, device=rings.device)
            here = take_peptides(encoded, now)
            ways = planes.ways_back(here, rings)
            angle = angles.new_zeros(*shape, len(rings))
            start = classify_angle(angle, planes.classes)
            for number, rows in enumerate(rings.unbind(dim=1)):
                own, sites = take_peptides(here, rows), now[rows]
                logits = planes.ring_logits(own, ways[number], angle, start, number == 0)
                drawn, _ = step_angle(
                    torch.softmax(logits, dim=-1).flatten(0, 1),
                    angles[:, sites],
                    rate[:, sites],
                    window[sites],
                    uniforms[:, sites],
                    LONGEST_PEPTIDE_WINDOW,
                )
                angle = drawn.unflatten(0, shape)
                if number == 0:
                    start = classify_angle(angle, planes.classes)
                angle = torch.where(own.known.isnan(), angle, own.known)
                angles[:, sites + residues] = angle.flatten(0, 1)


def _in_one_row(part: Tensor, n_frames: int) -> Tensor:
    """Arrange (samples x frames, residues, ...) as (samples, frames x residues, ...)."""
    return part.reshape(-1, n_frames * part.shape[1], *part.shape[2:])


def _wavefronts(chain: Chain, n_frames: int) -> list[tuple[Tensor, Tensor]]:
    """Return the sites (frame x residues + residue) that can be drawn at once, in order of drawing.

    Each comes with whether the residue has a previous peptide.
    """
    residues, device = chain.n_residues, chain.types.device
    segments = chain.segments()
    place = torch.zeros(residues, dtype=torch.int64, device=device)
    there = segments >= 0
    place[segments[there]] = torch.arange(segments.shape[1], device=device).expand_as(segments)[there]
    order = (torch.arange(n_frames, device=device)[:, None] + place).flatten()
    sites = torch.argsort(order, stable=True)
    groups = torch.split(sites, torch.bincount(order).tolist())
    return [(group, place[group % residues] > 0) for group in groups]
