"""Side chains of coherent frames: torsions move from where they were, and those that overlap get a choice.

Torsions take steps that leave the model's distribution unchanged. Side chains that overlap give way by some
degrees, and are drawn anew where that is not enough. Side chains with beads take small steps among which
overlaps and beads choose, and those far from their beads are moved as those that overlap.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from backmap import ops
from backmap.chemistry import SIDE_CHAIN, SLOT_CB, SLOT_OXT
from backmap.chemistry.residues import MAX_CHI
from backmap.models.beads.candidates import choose_by_beads, draw_by_misfit, misfit_of_candidates
from backmap.models.beads.evidence import BeadEvidence
from backmap.models.beads.evidence import of_samples as beads_of_samples
from backmap.models.chain import Chain
from backmap.models.counter_random import residue_keys, uniform
from backmap.models.protein.backbone import Backbone
from backmap.models.protein.basins import DRAWS, LONGEST_WINDOW, smoothing_passes
from backmap.models.protein.coherence_rates import LONG_AGO_PS, CoherenceRates, surroundings
from backmap.models.protein.disulfides import FLOOR, MOST_STRAIN
from backmap.models.protein.geometry import classify_angle, torsion_angle
from backmap.models.protein.given_atoms import Given, keep_given, of_sites
from backmap.models.protein.given_atoms import of_samples as given_of_samples
from backmap.models.protein.model import ProteinModel, counters, sites_at_once
from backmap.models.protein.obstacles import Obstacles, at_frame, of_samples
from backmap.models.protein.peptide_planes import draw_class
from backmap.models.protein.side_chains import measure_torsions

YIELDING_WINDOW = math.radians(40.0)
"""Width of the window in which torsions of side chains that overlap are drawn anew."""

FINE_STEPS = 0.3
"""Width of every other step by beads, relative to the rest."""


class Scene(NamedTuple):
    """A frame of all samples: what side chains depend on.

    Attributes
    ----------
    backbone : Backbone
        Of (samples, residues).
    c_beta : Tensor, (samples, residues, 3)
        In nm.
    contexts : Tensor, (samples x residues, 4, width)
        Features of the side-chain network for each torsion.
    first : Tensor, (samples x residues, classes)
        Probabilities of the first torsion.
    tables : tuple of Tensor
        Last layers of the side-chain network, from :meth:`SideChainNetwork.step_tables`.
    types : Tensor, (samples x residues,) int64
        Residue types.
    exists, repeats : Tensor, (samples x residues, 4) bool
        Torsions that residues have, and those that repeat after half a turn.
    held : Tensor, (samples x residues,) bool
        Cysteines of known disulfides, whose torsions do not move on their own.
    chain : Chain
        The sequence.
    keys : Tensor, (samples,) int64
        Random streams.
    steady_keys : Tensor, (samples,) int64
        Random streams that are the same for all frames.
    box : Tensor, (samples, 3, 3), optional
        Periodic boxes.
    obstacles : Obstacles, optional
        Sites of other molecules.
    beads : BeadEvidence, optional
        Beads, the same in all samples.
    given : Given, optional
        Given atoms, the same in all samples.
    """

    backbone: Backbone
    c_beta: Tensor
    contexts: Tensor
    first: Tensor
    tables: tuple[Tensor, Tensor, Tensor]
    types: Tensor
    exists: Tensor
    repeats: Tensor
    held: Tensor
    chain: Chain
    keys: Tensor
    steady_keys: Tensor
    box: Tensor | None
    obstacles: Obstacles | None
    beads: BeadEvidence | None
    given: Given | None

    @property
    def turns(self) -> Tensor:
        """Which residues (samples x residues,) have a torsion."""
        return self.exists[:, 0]

    @property
    def residue_keys(self) -> Tensor:
        """Random streams (samples x residues,) of residues."""
        return residue_keys(self.keys, torch.arange(self.chain.n_residues, device=self.keys.device)).flatten()

    @property
    def n_beads(self) -> Tensor:
        """Number (samples x residues,) of beads of side chains."""
        if self.beads is None:
            return torch.zeros_like(self.types)
        table = self.beads.table
        of_side_chains = table.residues[(table.weights[:, SIDE_CHAIN] > 0).any(dim=1)]
        return torch.bincount(of_side_chains, minlength=self.chain.n_residues).repeat(len(self.keys))

    @property
    def seen(self) -> Tensor:
        """Which residues (samples x residues,) have torsions that beads tell about."""
        return self.turns & (self.n_beads > 0)


class CoherentSideChains:
    """Draws the side chains of successive frames.

    Parameters
    ----------
    model : ProteinModel
        Gives the distributions.
    rates : CoherenceRates
        How fast they are sampled.
    """

    # Purposes of the random numbers, beside those of the model and of the backbone.
    torsion_stream = 19
    within_stream = 20
    anew_stream = 21
    packing_stream = 22
    local_stream = 25
    thinning_stream = 26
    libration_stream = 28
    overlap_stream = 29

    rounds = 3
    """Rounds of small steps by beads in a frame."""

    loyal_floor = 1e-30
    """Density of sulfurs away from where a disulfide was, relative to the peak around it."""

    most_strain = 100.0
    """Strain up to which known disulfides stay closed."""

    overlap_kt = 1.0
    """Energy of overlap from which a side chain gives way."""
    usual_kt = 3.0
    """Energy of overlaps that is too common to be a reason to leave a well."""
    most_excess_kt = 25.0
    """Largest energy of overlap by which wells are left faster."""

    misfit_kt = 4.0
    """Energy of a misfit bead, added to that of an overlap; 95 % of well placed beads have less."""

    def __init__(self, model: ProteinModel, rates: CoherenceRates) -> None:
        self.model, self.rates = model, rates

    def draw(
        self,
        backbone: Backbone,
        chain: Chain,
        keys: Tensor,
        steady_keys: Tensor,
        intervals: Tensor,
        mobilities: Tensor,
        torsions: Tensor,
        box: Tensor | None,
        disulfides: Tensor | None,
        obstacles: Obstacles | None,
        beads: BeadEvidence | None,
        given: Given | None,
    ) -> tuple[Tensor, Tensor]:
        """Return side chains (samples, frames, residues, 10, 3), and the last frame's torsions."""
        samples, n_frames = keys.shape
        network = self.model.side_chains
        c_beta = self.model.c_beta(backbone.atoms, chain.types)
        if given is not None:
            there = given_of_samples(given, samples)
            c_beta = keep_given(there, c_beta.unsqueeze(2), SLOT_CB, SLOT_CB + 1).squeeze(2)
        each = None if box is None else box.repeat(samples, 1, 1)
        sites = network.describe(backbone.atoms, c_beta, chain, each)
        hidden = network.encode_all(sites, sites_at_once(keys))
        types = chain.types.repeat(samples)
        contexts, first = self._describe_torsions(hidden, chain.types.repeat(samples * n_frames))
        contexts, first = (part.unflatten(0, (*keys.shape, -1)) for part in (contexts, first))
        seen = surroundings(sites.neighbourhood, chain).unflatten(0, keys.shape)
        rates = self.rates.of_torsions(chain.types, seen, mobilities) * intervals.unsqueeze(-1)
        # Disulfides change as a whole, when the backbone no longer lets them close as before.
        held = (intervals < LONG_AGO_PS) & _bonded(chain, disulfides)
        c_beta = c_beta.unflatten(0, keys.shape)
        atoms, oxt = (part.unflatten(0, keys.shape) for part in backbone)
        uniforms = self._uniforms(keys, self.torsion_stream, [chain.n_residues, MAX_CHI, DRAWS])
        exists, repeats, tables = network.has_chi[types], network.repeats[types], network.step_tables()
        built = []
        for frame in range(n_frames):
            scene = Scene(
                Backbone(atoms[:, frame], oxt[:, frame]),
                c_beta[:, frame],
                contexts[:, frame].flatten(0, 1),
                first[:, frame].flatten(0, 1),
                tables,
                types,
                exists,
                repeats,
                held[frame].repeat(samples),
                chain,
                keys[:, frame],
                steady_keys,
                None if box is None else box[frame : frame + 1].expand(samples, -1, -1),
                None if obstacles is None else of_samples(at_frame(obstacles, frame), samples),
                None if beads is None else _beads_at(beads, frame, samples),
                None if given is None else _given_at(given, frame, samples),
            )
            placed, torsions = self._step(
                scene, torsions, rates[:, frame], intervals[frame], uniforms[:, frame], disulfides
            )
            built.append(placed)
        return torch.stack(built, dim=1), torsions

    def _describe_torsions(self, hidden: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        """Compute what no step changes of side chains' features (n, width).

        Returns
        -------
        Tensor, (n, 4, head_width)
            Features for each torsion, before earlier torsions are known; zero for torsions that do not exist.
        Tensor, (n, classes)
            Probabilities of the first torsion.
        """
        network = self.model.side_chains
        contexts = hidden.new_zeros(len(types), MAX_CHI, network.config.head_width)
        for chi in range(MAX_CHI):
            rows = torch.nonzero(network.has_chi[types, chi]).squeeze(-1)
            contexts[rows, chi] = network.context(chi, hidden[rows])
        none = contexts.new_zeros(len(types), 1, 0)
        return contexts, network.probabilities(contexts[:, 0], types, 0, none).squeeze(1)

    def _probabilities(self, scene: Scene, rows: Tensor, chi: int, earlier: Tensor) -> Tensor:
        """Return the probabilities (rows, candidates, classes) of a torsion, given earlier ones."""
        if chi == 0:
            return scene.first[rows].unsqueeze(1)
        types = scene.types[rows]
        return self.model.side_chains.probabilities(scene.contexts[rows, chi], types, chi, earlier)

    def _step(
        self,
        scene: Scene,
        torsions: Tensor,
        rate: Tensor,
        interval: Tensor,
        uniforms: Tensor,
        disulfides: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return a frame's side chains (samples, residues, 10, 3), and about what torsions librate then.

        Parameters
        ----------
        scene : Scene
            The frame.
        torsions : Tensor, (samples, residues, 4)
            About what torsions librated in the frame before, in radians.
        rate : Tensor, (samples, residues, 4)
            Rates of leaving times the interval.
        interval : Tensor, (residues,)
            Time in ps since the frame before.
        uniforms : Tensor, (samples, residues, 4, 5)
            Random numbers in [0, 1).
        disulfides : Tensor, (bonds, 2) int64, optional
            Known disulfide bonds.
        """
        uniforms, rate = uniforms.flatten(0, 1), rate.flatten(0, 1)
        drift = (self.rates.torsion_drift * interval.sqrt()).repeat(len(scene.keys))
        window = (self.rates.torsion_window * interval.sqrt().clamp_max(1)).repeat(len(scene.keys))
        before = torsions.flatten(0, 1)
        known = self._known_torsions(scene)
        before = torch.where(known.isnan(), before, known)
        if scene.beads is not None:
            before = self._step_by_beads(scene, before, known, window, disulfides)
        free = scene.exists & known.isnan() & ~scene.held.unsqueeze(1)
        moved, first_left = self._step_rotamers(scene, free, before, rate, drift, uniforms)
        # Those with beads have taken small steps instead.
        librates = free & ~scene.seen.unsqueeze(1)
        shape = [scene.chain.n_residues, MAX_CHI, DRAWS]
        drawn = self._uniforms(scene.keys, self.libration_stream, shape).flatten(0, 1)
        torsions, _ = self._step_rotamers(scene, librates, moved, torch.zeros_like(rate), window, drawn)
        # Where nothing is remembered, there is no place to go back to.
        follows = (interval < LONG_AGO_PS).repeat(len(scene.keys)).unsqueeze(1)
        before = torch.where(follows, before, torsions)
        atoms, taken, places_anew = self._pack(scene, before, torsions, known, first_left, rate, disulfides)
        remembered = torch.where(places_anew.unsqueeze(1), taken, moved)
        return atoms, remembered.view(len(scene.keys), scene.chain.n_residues, MAX_CHI)

    def _step_rotamers(
        self, scene: Scene, free: Tensor, before: Tensor, rate: Tensor, window: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Step the free (n, 4) torsions (n, 4); return them, and each residue's first that left its basin."""
        return ops.step_rotamers(
            scene.contexts,
            *scene.tables,
            free,
            scene.repeats,
            scene.seen,  # their torsions move only by leaving their basins
            before,
            rate,
            window.clamp_max(LONGEST_WINDOW),
            uniforms,
            smoothing_passes=smoothing_passes(scene.first.shape[-1]),
        )

    def _pack(
        self,
        scene: Scene,
        before: Tensor,
        torsions: Tensor,
        known: Tensor,
        first: Tensor,
        rate: Tensor,
        disulfides: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Build side chains, and give those that left a well or overlap a choice of torsions.

        Returns side chains (samples, residues, 10, 3), their torsions (n, 4), and which residues (n,) must
        remember these: not those that only gave way inside their well.

        Parameters
        ----------
        scene : Scene
            The frame.
        before : Tensor, (n, 4)
            Torsions of samples x residues in the frame before, in radians.
        torsions : Tensor, (n, 4)
            After their step.
        known : Tensor, (n, 4)
            Those that given atoms determine; NaN for the others.
        first : Tensor, (n,) int64
            First torsion that left its basin; 4 where none did.
        rate : Tensor, (n, 4)
            Rates of leaving times the interval.
        disulfides : Tensor, (bonds, 2) int64, optional
            Known disulfide bonds.
        """
        shape, count = (len(scene.keys), scene.chain.n_residues), self.model.candidates
        choices = torsions.unsqueeze(1).repeat(1, count, 1)
        atoms = self._place(scene, slice(None), torsions.unsqueeze(1)).expand(-1, count, -1, -1).clone()
        bonded = self._bond(scene, choices, atoms, disulfides)
        turns = scene.turns & ~bonded
        left = bonded | scene.seen
        rows = torch.nonzero(((first < MAX_CHI) | (self._excess(scene, atoms) > self.overlap_kt)) & turns)
        choices, atoms = self._rearrange(
            scene, 0, rows.squeeze(-1), choices, atoms, first, rate, known, before
        )
        if len(rows) > 0:
            left |= first < MAX_CHI
            first, rate = self._leave_overlaps(scene, choices[:, 0], atoms, turns, rate, known)
            rows = torch.nonzero(first < MAX_CHI)
            choices, atoms = self._rearrange(scene, 1, rows.squeeze(-1), choices, atoms, first, rate, known)
            left |= first < MAX_CHI
        choices = self._measured(scene, choices, atoms)
        return atoms[:, 0].unflatten(0, shape), choices[:, 0], left

    def _leave_overlaps(
        self, scene: Scene, torsions: Tensor, atoms: Tensor, turns: Tensor, rate: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the first torsion (n,) of each residue that overlaps make leave its well, and rates (n, 4).

        A well of probability p whose atoms have the energy E of overlaps has the effective probability
        p exp(-E), so that it is left at the rate times exp(E / 2) (:mod:`backmap.models.protein.basins`).
        The first torsion is 4 where none leaves.
        """
        excess = self._excess(scene, atoms)
        rate = rate * torch.exp(0.5 * (excess - self.usual_kt).clamp(0, self.most_excess_kt)).unsqueeze(1)
        strained = turns & (excess > self.overlap_kt)
        free = scene.exists & known.isnan() & strained.unsqueeze(1)
        uniforms = self._uniforms(scene.residue_keys, self.overlap_stream, [MAX_CHI, DRAWS])
        still = torch.zeros_like(excess)
        return self._step_rotamers(scene, free, torsions, rate, still, uniforms)[1], rate

    def _rearrange(
        self,
        scene: Scene,
        stage: int,
        rows: Tensor,
        choices: Tensor,
        atoms: Tensor,
        first: Tensor,
        rate: Tensor,
        known: Tensor,
        before: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Give some residues alternatives, and return the torsions and atoms that packing chooses.

        Parameters
        ----------
        scene : Scene
            The frame.
        stage : int
            0 or 1; each has its own random numbers.
        rows : Tensor, (rows,) int64
            Which residues have a choice.
        choices : Tensor, (n, candidates, 4)
            Torsions of all residues, the same in all candidates.
        atoms : Tensor, (n, candidates, 10, 3)
            Their side chains.
        first, rate, known : Tensor
            As for :meth:`_pack`.
        before : Tensor, (n, 4), optional
            Torsions to which those that left a well can go back; by default, those of the candidates.
        """
        if len(rows) == 0:
            return choices, atoms
        count = choices.shape[1]
        keys = scene.residue_keys[rows]
        number = count if scene.beads is None else self.model.candidates_per_choice * count
        stream = (self.within_stream, self.anew_stream)[stage]
        uniforms = self._uniforms(keys, stream, [number - 1, MAX_CHI, 2])
        variants = self._vary(scene, rows, choices[rows, 0], first[rows], rate[rows], uniforms, known[rows])
        if before is not None:
            # Where no place is free, side chains go back to where they were.
            left = (first[rows] < MAX_CHI).unsqueeze(1)
            variants[:, -1] = torch.where(left, before[rows], variants[:, -1])
        placed = self._place(scene, rows, variants)
        if scene.beads is None:
            choices[rows, 1:], atoms[rows, 1:] = variants, placed
        else:
            every = torch.cat([choices[rows, :1], variants], dim=1)
            places = torch.cat([atoms[rows, :1], placed], dim=1)
            chances = self._uniforms(keys, self.thinning_stream + stage, [])
            some = draw_by_misfit(self._misfit(scene, rows, places), chances, count)
            own = torch.arange(len(rows), device=rows.device)[:, None]
            choices[rows], atoms[rows] = every[own, some], places[own, some]
        choice = self._choose(scene, atoms, stage)
        return _keep(choices, choice), _keep(atoms, choice)

    def _bond(self, scene: Scene, choices: Tensor, atoms: Tensor, disulfides: Tensor | None) -> Tensor:
        """Close disulfides in the atoms (n, candidates, 10, 3), and return which residues (n,) are bonded.

        A bond is closed from the torsions it has, and from others where these do not close it.
        """
        rows = torch.nonzero(scene.types == self.model.disulfides.cysteine).squeeze(-1)
        if len(rows) < 2:
            return torch.zeros_like(scene.turns)
        bonded = self._close(scene, atoms, atoms, disulfides, self.loyal_floor)
        open_rows = rows[~bonded[rows]]
        if len(open_rows) >= 2:
            # With the same random numbers in all frames, bonds change only as the backbone does.
            steady = residue_keys(scene.steady_keys, torch.arange(scene.chain.n_residues, device=rows.device))
            keys = steady.flatten()[open_rows]
            uniforms = self._uniforms(keys, self.anew_stream, [atoms.shape[1], MAX_CHI, 2])
            none = torch.zeros_like(open_rows)
            always = torch.full_like(choices[open_rows, 0], LONG_AGO_PS)
            unknown = torch.full_like(always, torch.nan)
            varied = self._vary(scene, open_rows, choices[open_rows, 0], none, always, uniforms, unknown)
            trials = atoms.clone()
            trials[open_rows] = self._place(scene, open_rows, varied)
            if scene.beads is not None:
                trials = self._likely(scene, trials, steady)
            bonded |= self._close(scene, atoms, trials, disulfides, FLOOR) & ~bonded
        joined = torch.nonzero(bonded).squeeze(-1)
        n, c_alpha = scene.backbone.atoms.flatten(0, 1)[joined, :2].unbind(dim=1)
        c_beta, sulfur = atoms[joined, 0, :2].unbind(dim=1)
        choices[joined, :, 0] = torsion_angle(n, c_alpha, c_beta, sulfur).unsqueeze(1)
        return bonded

    def _likely(self, scene: Scene, trials: Tensor, keys: Tensor) -> Tensor:
        """Draw trials (n, candidates, 10, 3) with the likelihood of their beads.

        Keys are those of (samples, residues).
        """
        assert scene.beads is not None
        shape = len(scene.keys), scene.chain.n_residues
        uniforms = self._uniforms(keys, self.local_stream, [])
        chosen = choose_by_beads(
            trials.unflatten(0, shape), scene.backbone.atoms, scene.beads, uniforms, trials.shape[1]
        )
        return chosen.flatten(0, 1)

    def _step_by_beads(
        self, scene: Scene, before: Tensor, known: Tensor, window: Tensor, disulfides: Tensor | None
    ) -> Tensor:
        """Move the torsions (n, 4) of side chains with beads by small steps.

        In each of some rounds, a point is drawn near the torsions, and alternatives near this point. Then all
        of them, the torsions among them, are drawn from the point with the same probability, and choosing one
        by its probability under model and beads leaves that distribution unchanged (Tjelmeland, 2004). What
        a round moves, and how far, does not depend on the torsions.

        Parameters
        ----------
        scene : Scene
            The frame.
        before : Tensor, (n, 4)
            Torsions of samples x residues in the frame before, in radians.
        known : Tensor, (n, 4)
            Those that given atoms determine; NaN for the others.
        window : Tensor, (n,)
            Width of a step in radians.
        disulfides : Tensor, (bonds, 2) int64, optional
            Known disulfide bonds, whose residues do not move.
        """
        rows = torch.nonzero(scene.seen & ~scene.held).squeeze(-1)
        if len(rows) == 0:
            return before
        free = self.model.side_chains.has_chi[scene.types[rows]] & known[rows].isnan()
        shape = [self.rounds, self.model.candidates + 2, MAX_CHI]
        uniforms = self._uniforms(scene.residue_keys[rows], self.local_stream, shape)
        chosen = torch.arange(len(rows), device=rows.device)
        torsions = before[rows]
        for drawn in uniforms.unbind(dim=1):
            steps = _local_steps(drawn, free, window[rows].clamp_max(LONGEST_WINDOW))
            near = torch.remainder(torsions.unsqueeze(1) + steps + math.pi, 2 * math.pi) - math.pi
            log_probability = self._log_probability(scene, rows, near)
            log_probability -= self._misfit(scene, rows, self._place(scene, rows, near))
            choice = draw_class(log_probability, drawn[:, -1, -1])
            torsions = near[chosen, choice]
        moved = before.clone()
        moved[rows] = torsions
        return moved

    def _misfit(self, scene: Scene, rows: Tensor | slice, atoms: Tensor) -> Tensor:
        """Return the misfit (rows, candidates) of beads for atoms (rows, candidates, 10, 3)."""
        assert scene.beads is not None
        everywhere = _among_all(scene, rows, atoms)
        return misfit_of_candidates(everywhere, scene.backbone.atoms, scene.beads).flatten(0, 1)[rows]

    def _log_probability(self, scene: Scene, rows: Tensor, torsions: Tensor) -> Tensor:
        """Return the log-probability (rows, candidates) of torsions (rows, candidates, 4) by the model."""
        network, types = self.model.side_chains, scene.types[rows]
        total = torch.zeros_like(torsions[..., 0])
        for chi in range(MAX_CHI):
            here = torch.nonzero(network.has_chi[types, chi]).squeeze(-1)
            if len(here) == 0:
                continue
            found = self._probabilities(scene, rows[here], chi, torsions[here, :, :chi])
            bins = classify_angle(torsions[here, :, chi], network.classes).unsqueeze(-1)
            taken = found.expand(*bins.shape[:-1], -1).gather(-1, bins).squeeze(-1)
            total[here] += taken.clamp_min(1e-12).log()
        return total

    def _close(
        self, scene: Scene, atoms: Tensor, trials: Tensor, disulfides: Tensor | None, floor: float
    ) -> Tensor:
        """Close bonds from trials (n, candidates, 10, 3), write them to the atoms, and return which are."""
        shape = len(scene.keys), scene.chain.n_residues
        closed, bonded = self.model.disulfides(
            trials.unflatten(0, shape),
            scene.backbone.atoms,
            scene.chain,
            scene.steady_keys,
            self.model.disulfide_stream,
            scene.given,
            disulfides,
            floor,
            MOST_STRAIN if disulfides is None else self.most_strain,
        )
        bonded = bonded.flatten()
        atoms[bonded] = closed.flatten(0, 1)[bonded]
        return bonded

    def _vary(
        self,
        scene: Scene,
        rows: Tensor,
        torsions: Tensor,
        first: Tensor,
        rate: Tensor,
        uniforms: Tensor,
        known: Tensor,
    ) -> Tensor:
        """Draw alternatives (rows, variants, 4) to torsions (rows, 4).

        Torsions from ``first`` on are drawn anew. Where ``first`` is 4, all are drawn near where they are.
        Known ones (rows, 4) stay.
        """
        n_rows, n_variants = uniforms.shape[:2]
        chi = torch.arange(MAX_CHI, device=rows.device)
        stays = (first == MAX_CHI).unsqueeze(1)
        moves = scene.exists[rows] & known.isnan() & (stays | (chi >= first.unsqueeze(1)))
        varied, _ = ops.step_rotamers(
            scene.contexts[rows].repeat_interleave(n_variants, dim=0),
            *scene.tables,
            moves.repeat_interleave(n_variants, dim=0),
            scene.repeats[rows].repeat_interleave(n_variants, dim=0),
            torch.zeros_like(stays[:, 0]).repeat_interleave(n_variants),
            torsions.repeat_interleave(n_variants, dim=0),
            torch.where(stays, 0.0, rate).repeat_interleave(n_variants, dim=0),
            torch.where(stays[:, 0], YIELDING_WINDOW, 0.0).to(rate.dtype).repeat_interleave(n_variants),
            # The first number makes torsions leave; then follow those of a draw anew and of one nearby.
            functional.pad(torch.cat([uniforms, uniforms], dim=-1), [1, 0]).flatten(0, 1),
            smoothing_passes=smoothing_passes(scene.first.shape[-1]),
        )
        return varied.unflatten(0, (n_rows, n_variants))

    def _place(self, scene: Scene, rows: Tensor | slice, torsions: Tensor) -> Tensor:
        """Return side chains (rows, candidates, 10, 3) of torsions (rows, candidates, 4)."""
        atoms, c_beta = scene.backbone.atoms.flatten(0, 1), scene.c_beta.flatten(0, 1)
        kept = None
        if scene.given is not None:
            given = of_sites(scene.given)
            kept = Given(given.atoms[rows], given.present[rows])
        placed = self.model.geometry(atoms[rows], c_beta[rows], scene.types[rows], torsions, kept)
        if scene.given is None:
            return placed
        everywhere = _among_all(scene, rows, placed)
        settled = self.model.given_side_chains.settle(
            everywhere, scene.backbone.atoms, scene.chain, scene.given
        )
        return settled.flatten(0, 1)[rows]

    def _known_torsions(self, scene: Scene) -> Tensor:
        """Return the torsions (n, 4) that given atoms determine; NaN for the others."""
        if scene.given is None:
            return torch.full((len(scene.types), MAX_CHI), torch.nan, device=scene.types.device)
        backbone, c_beta = scene.backbone.atoms.flatten(0, 1), scene.c_beta.flatten(0, 1)
        given = of_sites(scene.given)
        return self.model.given_side_chains.measure_torsions(backbone, c_beta, scene.types, given)

    def _measured(self, scene: Scene, choices: Tensor, atoms: Tensor) -> Tensor:
        """Return torsions (n, candidates, 4), those of residues with given side-chain atoms as they are."""
        if scene.given is None:
            return choices
        whole = torch.cat([scene.backbone.atoms.flatten(0, 1), atoms[:, 0]], dim=1)
        whole = functional.pad(whole, [0, 0, 0, 1])
        present = torch.ones_like(whole[..., 0], dtype=torch.bool)
        found, there = measure_torsions(whole, present, scene.types)
        partly = of_sites(scene.given).present[:, SLOT_CB + 1 : SLOT_OXT].any(dim=1)
        choices = choices.clone()
        choices[:, 0] = torch.where(there & partly.unsqueeze(1), found, choices[:, 0])
        return choices

    def _choose(self, scene: Scene, atoms: Tensor, stage: int) -> Tensor:
        """Return the choices (n,) of packing among atoms (n, candidates, 10, 3)."""
        shape = len(scene.keys), scene.chain.n_residues
        uniforms = self._uniforms(scene.keys, self.packing_stream + stage, [self.model.sweeps, shape[1]])
        candidates = atoms.unflatten(0, shape)
        choice, _ = self.model.packer.choose(
            candidates, scene.backbone, scene.chain, uniforms, scene.box, scene.obstacles
        )
        return choice.flatten()

    def _excess(self, scene: Scene, atoms: Tensor) -> Tensor:
        """Return the energies (n,) of overlaps of the first of atoms (n, candidates, 10, 3), in kT.

        Beads add their misfit, less what well placed ones have.
        """
        atoms = atoms[:, :1]
        shape = len(scene.keys), scene.chain.n_residues
        none = atoms.new_zeros(shape[0], 0, shape[1])
        _, energy = self.model.packer.choose(
            atoms.unflatten(0, shape),
            scene.backbone,
            scene.chain,
            none,
            scene.box,
            scene.obstacles,
            with_contacts=False,
        )
        energy = energy.flatten()
        if scene.beads is None:
            return energy
        return energy + self._misfit(scene, slice(None), atoms).squeeze(1) - self.misfit_kt * scene.n_beads

    def _uniforms(self, keys: Tensor, stream: int, shape: list[int]) -> Tensor:
        """Return uniform numbers (*keys, *shape)."""
        return uniform(keys, stream, counters(shape, keys))


def _bonded(chain: Chain, disulfides: Tensor | None) -> Tensor:
    """Return which residues known bonds join. A cysteine paired with itself is known to be free."""
    bonded = torch.zeros_like(chain.types, dtype=torch.bool)
    if disulfides is not None:
        bonded[disulfides[disulfides[:, 0] != disulfides[:, 1]].flatten()] = True
    return bonded


def _beads_at(beads: BeadEvidence, frame: int, samples: int) -> BeadEvidence:
    """Return the beads of one frame for each sample."""
    here = slice(frame, frame + 1)
    one = beads._replace(positions=beads.positions[here], noise_nm=beads.noise_nm[here])
    return beads_of_samples(one, samples)


def _local_steps(uniforms: Tensor, free: Tensor, window: Tensor) -> Tensor:
    """Draw steps (n, candidates, 4) to points near a point near the start; the first is to the start itself.

    Parameters
    ----------
    uniforms : Tensor, (n, candidates + 2, 4)
        Random numbers in [0, 1) for the point and the alternatives, and for which torsions move, and how far.
    free : Tensor, (n, 4) bool
        Torsions that can move.
    window : Tensor, (n,)
        Largest width of a step in radians.
    """
    some = free & (uniforms[:, -2] < 0.5)
    moves = torch.where(some.any(dim=1, keepdim=True), some, free)
    width = window * torch.where(uniforms[:, -1, 0] < 0.5, 1.0, FINE_STEPS)
    away = (uniforms[:, :-2] - 0.5) * width[:, None, None] * moves.unsqueeze(1)
    steps = away + away[:, :1]
    steps[:, 0] = 0.0
    return steps


def _among_all(scene: Scene, rows: Tensor | slice, atoms: Tensor) -> Tensor:
    """Return atoms (rows, ...) of some residues among all, (samples, residues, ...), with zeros between."""
    everywhere = atoms.new_zeros(len(scene.types), *atoms.shape[1:])
    everywhere[rows] = atoms
    return everywhere.unflatten(0, (len(scene.keys), scene.chain.n_residues))


def _given_at(given: Given, frame: int, samples: int) -> Given:
    """Return the given atoms of one frame for each sample."""
    return given_of_samples(given._replace(atoms=given.atoms[frame : frame + 1]), samples)


def _keep(values: Tensor, choice: Tensor) -> Tensor:
    """Return the chosen of values (n, candidates, ...) in place of all candidates."""
    chosen = values[torch.arange(len(choice), device=choice.device), choice]
    return chosen.unsqueeze(1).expand_as(values).clone()
