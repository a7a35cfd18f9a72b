"""Frames of beads that are not C-alphas: C-alphas are estimated, atoms drawn, and fitted to the beads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS, SLOT_CA, Topology
from backmap.chemistry.bead_mapping import BeadLayout
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.beads.evidence import BeadEvidence, bead_table, c_alpha_is_main, image, of_samples
from backmap.models.beads.fitting import BeadFitter
from backmap.models.beads.redrawing import put_in_redrawn
from backmap.models.beads.rigid_distances import RigidDistances
from backmap.models.c_alpha_posterior import CAlphaPosterior
from backmap.models.chain import Chain
from backmap.models.counter_random import stream_keys
from backmap.models.protein.best_guess import BestGuess
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.model import ProteinModel
from backmap.models.protein.obstacles import Obstacles, on_device

TOLERANCE_PER_NOISE = 1.5
"""How far from a bead its image may lie, in standard deviations of a coordinate of the bead."""

REDRAWS = 3
"""How often a frame with strained residues is drawn again."""

SEED_OF_REDRAWS = 0x5EED_BEAD
"""Added to the seed, so that redrawn frames have random numbers of their own."""


class FittedFrames(NamedTuple):
    """Structures built on the beads of frames.

    Attributes
    ----------
    atoms : Tensor, (samples, frames, residues, 15, 3) float32
        In nm, on the model's device.
    noise_nm : Tensor, (frames,) float32
        Standard deviation of a coordinate of a bead, the largest of a frame.
    deviation : Tensor, (frames, residues), optional
        Of best guesses, as in :class:`backmap.models.protein.best_guess.Guess`.
    """

    atoms: Tensor
    noise_nm: Tensor
    deviation: Tensor | None = None


class BeadFrames(NamedTuple):
    """Frames, with what their beads tell.

    Attributes
    ----------
    draws : Tensor, (frames,) bool
        Whether their C-alphas are drawn; otherwise they are exact.
    noise_nm : Tensor, (frames,) float32
        Largest standard deviation of a coordinate of a bead.
    evidence : BeadEvidence
        Their beads.
    c_alpha : Tensor, (frames, residues, 3)
        Estimated C-alphas in nm.
    spread : Tensor, (frames, residues) float64
        Standard deviation of a coordinate of a C-alpha in nm.
    numbers : Tensor, (frames,) int64
        Numbers of the frames.
    box : Tensor, (frames, 3, 3), optional
        Vectors of periodic boxes in nm, as rows, in reduced form.
    obstacles : Obstacles, optional
        Sites of other molecules.
    """

    draws: Tensor
    noise_nm: Tensor
    evidence: BeadEvidence
    c_alpha: Tensor
    spread: Tensor
    numbers: Tensor
    box: Tensor | None
    obstacles: Obstacles | None

    @property
    def drawn(self) -> bool:
        """Whether the C-alphas of these frames, which are built alike, are drawn."""
        return bool(self.draws[0])

    def select(self, rows: Tensor | slice) -> BeadFrames:
        """Return some of the frames."""
        table, positions, tolerance = self.evidence
        obstacles = self.obstacles
        return BeadFrames(
            self.draws[rows],
            self.noise_nm[rows],
            BeadEvidence(table, positions[rows], tolerance[rows]),
            self.c_alpha[rows],
            self.spread[rows],
            self.numbers[rows],
            None if self.box is None else self.box[rows],
            None if obstacles is None else Obstacles(obstacles.positions[..., rows, :, :], obstacles.radii),
        )


class BeadBuilder:
    """Runs the protein model on beads.

    Parameters
    ----------
    model : ProteinModel
        Trained model.
    topology : Topology
        The residues of every frame.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    layout : BeadLayout
        The beads of every frame.
    rule : CAlphaRule
        Whether beads are exact or noisy.
    estimator : CAlphaEstimator, optional
        Estimates C-alphas; not needed if the C-alpha of each residue is a bead.
    device : torch.device or str
        Device to compute on.
    disulfides : ndarray, (bonds, 2) int64, optional
        Known disulfide bonds, as for :meth:`ProteinModel.draw`.
    best : bool
        Build the most probable structure instead of drawing; only strained residues are drawn again.
    """

    def __init__(
        self,
        model: ProteinModel,
        topology: Topology,
        linked: np.ndarray,
        layout: BeadLayout,
        rule: CAlphaRule,
        estimator: CAlphaEstimator | None = None,
        device: torch.device | str = "cpu",
        disulfides: np.ndarray | None = None,
        best: bool = False,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self._best = BestGuess(self.model) if best else None
        self.chain = Chain.from_arrays(topology.residue_types, topology.chain_index, linked, self.device)
        self.rule = rule
        self.estimator = None if estimator is None else estimator.to(self.device).eval()
        self.disulfides = None if disulfides is None else torch.from_numpy(disulfides).to(self.device)
        self._table = bead_table(layout, self.device)
        self._main = torch.from_numpy(layout.main).to(self.device)
        self._posterior = CAlphaPosterior().to(self.device)
        self._fitter = BeadFitter(self.chain, self._table)
        self._rigid = RigidDistances(self._table, self.chain)
        self._is_atom = (self._table.weights == 1.0).any(dim=1)
        if estimator is None and not bool(c_alpha_is_main(self._table, self.chain.n_residues).all()):
            raise ValueError("these beads need an estimator of C-alphas")

    @torch.inference_mode()
    def reconstruct(
        self,
        beads: Tensor,
        *,
        numbers: Tensor,
        samples: int,
        seed: int,
        box: Tensor | None = None,
        obstacles: Obstacles | None = None,
    ) -> FittedFrames:
        """Build all heavy atoms of a chunk of frames.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3)
            In nm, molecules whole.
        numbers : Tensor, (frames,) int64
            Number of each frame in the trajectory; it determines the random numbers.
        samples : int
            Independent structures per frame.
        seed : int
            Seed of the random numbers.
        box : Tensor, (frames, 3, 3), optional
            Vectors of periodic boxes in nm, as rows, in reduced form.
        obstacles : Obstacles, optional
            Sites of other molecules, relative to the same origin, which side chains avoid.

        Returns
        -------
        FittedFrames
            Atoms, and the noise of the beads.
        """
        frames = self.describe(beads, numbers=numbers, box=box, obstacles=obstacles)
        shape = samples, len(beads), self.chain.n_residues
        atoms = torch.zeros(*shape, ATOM_SLOTS, 3, device=self.device)
        expected = None if self._best is None else atoms.new_zeros(shape[1:])
        for draws in (True, False):  # separately, so that no frame depends on the others of its batch
            rows = torch.nonzero(frames.draws == draws).squeeze(-1)
            if len(rows):
                part = frames.select(rows)
                built, off = self._draw(part, samples, seed, self._best)
                atoms[:, rows] = self.repaired(built, part, seed)
                if expected is not None and off is not None:
                    expected[rows] = off
        return FittedFrames(atoms, frames.noise_nm, expected)

    @torch.inference_mode()
    def describe(
        self, beads: Tensor, *, numbers: Tensor, box: Tensor | None = None, obstacles: Obstacles | None = None
    ) -> BeadFrames:
        """Find out what the beads of frames tell; arguments as for :meth:`reconstruct`."""
        beads, numbers = beads.to(self.device, torch.float32), numbers.to(self.device)
        box = None if box is None else box.to(self.device, torch.float32)
        if obstacles is not None:
            obstacles = on_device(obstacles, self.device)
        estimate, deviation = self._estimate(beads)
        noise, drawn = self._noise(beads, estimate, deviation)
        largest = noise.amax(dim=1).float()
        return BeadFrames(
            drawn,
            largest,
            BeadEvidence(self._table, beads, TOLERANCE_PER_NOISE * largest),
            estimate,
            (deviation.square() + noise.square()).sqrt(),
            numbers,
            box,
            obstacles,
        )

    def strained(self, atoms: Tensor) -> Tensor:
        """Return which residues (..., residues) of atoms (..., residues, 15, 3) are no sound molecule."""
        return self._fitter.strained(atoms.to(self.device))

    def image_distance(self, atoms: Tensor, beads: Tensor) -> Tensor:
        """Return the root mean square distance (samples, frames, residues) in nm of image and beads."""
        atoms = atoms.to(self.device)
        squared = (image(atoms, self._table) - beads.to(atoms.device)).square().sum(dim=-1)
        number = torch.bincount(self._table.residues, minlength=self.chain.n_residues)
        total = squared.new_zeros(*squared.shape[:-1], self.chain.n_residues)
        return (total.index_add_(-1, self._table.residues, squared) / number).sqrt()

    def _estimate(self, beads: Tensor) -> tuple[Tensor, Tensor]:
        """Return C-alphas (frames, residues, 3) and their standard deviations (frames, residues) in nm."""
        if self.estimator is None:
            return beads[:, self._main], torch.zeros_like(beads[:, self._main, 0], dtype=torch.float64)
        estimate, deviation = self.estimator(beads, self._table, self.chain)
        return estimate, deviation.double()

    def _noise(self, beads: Tensor, estimate: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the noise (frames, residues) in nm of beads, and which frames need C-alphas to be drawn."""
        if self.rule.noise_nm is not None:
            every = torch.ones(len(estimate), dtype=torch.bool, device=self.device)
            return torch.full_like(deviation, self.rule.noise_nm), every
        if self.rule.mode == "keep":
            noise = torch.zeros_like(deviation)
        elif self.estimator is None:
            exact = estimate.double()
            spread = self._posterior.bond_spread(exact, self.chain)
            noise, moves = self._posterior.estimate_noise(exact, self.chain, spread, self.rule.least_noise_nm)
            found = self._rigid.noise(beads)[:, None]
            of_atoms = found.clamp_min(self.rule.least_noise_nm).expand_as(noise)
            noise = torch.where(found > 0, of_atoms, noise * moves[:, None])
        else:
            found = self.estimator.estimate_noise(beads, estimate, self._table, self.chain)
            noise = found.clamp_min(self.rule.least_noise_nm)[:, None].expand_as(deviation)
        return noise, (noise > 0).any(dim=1) | (deviation > 0).any(dim=1)

    @torch.inference_mode()
    def repaired(self, atoms: Tensor, frames: BeadFrames, seed: int) -> Tensor:
        """Return atoms (samples, frames, residues, 15, 3) with strained residues drawn again."""
        for attempt in range(1, REDRAWS + 1):
            strained = self._fitter.strained(atoms)
            rows = torch.nonzero(strained.any(dim=-1).any(dim=0)).squeeze(-1)
            if not len(rows):
                break
            again = frames.select(rows)
            redrawn, _ = self._draw(again, len(atoms), seed + attempt * SEED_OF_REDRAWS)
            atoms[:, rows] = self._replace_strained(atoms[:, rows], redrawn, again)
        return atoms

    def _draw(
        self, frames: BeadFrames, samples: int, seed: int, best: BestGuess | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Draw frames, or build their best guess with its deviation, and fit them to their beads."""
        keys = stream_keys(seed, samples, frames.numbers)
        c_alpha = self.draw_c_alphas(frames, samples, seed)
        given = self.given(frames)
        known = given, frames.box, self.disulfides, frames.evidence, frames.obstacles
        deviation = None
        if best is None:
            atoms = self.model.draw(c_alpha, self.chain, keys, *known)
        else:
            guess = best.build(c_alpha, self.chain, *known)
            atoms, deviation = guess.atoms.unsqueeze(0), guess.deviation
        return self.fit(atoms, frames), deviation

    @torch.inference_mode()
    def draw_c_alphas(
        self,
        frames: BeadFrames,
        samples: int,
        seed: int,
        wandering: Tensor | None = None,
        turns: Tensor | None = None,
    ) -> Tensor:
        """Return C-alphas (frames, residues, 3), or (samples, frames, residues, 3) where they are drawn.

        As for C-alphas that are noisy, the random numbers do not depend on the frame, unless they wander
        (:meth:`CAlphaPosterior.forward`).
        """
        if not frames.drawn:
            return frames.c_alpha
        alike = stream_keys(seed, samples, torch.zeros_like(frames.numbers))
        drawn, _ = self._posterior(
            frames.c_alpha, self.chain, alike, frames.box, 0.0, frames.spread, wandering, turns
        )
        return drawn

    @torch.inference_mode()
    def fit(self, atoms: Tensor, frames: BeadFrames) -> Tensor:
        """Fit atoms (samples, frames, residues, 15, 3) to their beads, unless these are all given atoms."""
        if not frames.drawn and bool(self._is_atom.all()) and self.given(frames) is not None:
            return atoms
        samples = len(atoms)
        box = None if frames.box is None else frames.box.repeat(samples, 1, 1)
        return self._fitter.fit(atoms.flatten(0, 1), of_samples(frames.evidence, samples), box).view_as(atoms)

    def _replace_strained(self, atoms: Tensor, redrawn: Tensor, frames: BeadFrames) -> Tensor:
        """Replace strained residues and their neighbours by redrawn ones that are sound.

        Each structure stays as it is if it would then have no fewer strained residues.
        """
        strained, still = self._fitter.strained(atoms), self._fitter.strained(redrawn)
        joined = self.fit(put_in_redrawn(atoms, redrawn, strained, still, self.chain), frames)
        better = self._fitter.strained(joined).sum(dim=-1) < strained.sum(dim=-1)
        return torch.where(better[..., None, None, None], joined, atoms)

    def given(self, frames: BeadFrames) -> Given | None:
        """Return the beads that are exactly atoms, if there are any besides the C-alphas."""
        if frames.drawn:
            return None
        evidence = frames.evidence
        table, seen = evidence.table, self._is_atom
        shape = self.chain.n_residues, ATOM_SLOTS
        present = torch.zeros(shape, dtype=torch.bool, device=self.device)
        atoms = evidence.positions.new_zeros(len(evidence.positions), *shape, 3)
        rows, slots = table.residues[seen], table.weights[seen].argmax(dim=1)
        present[rows, slots] = True
        atoms[:, rows, slots] = evidence.positions[:, seen]
        only_c_alphas = not bool(present[:, [slot for slot in range(ATOM_SLOTS) if slot != SLOT_CA]].any())
        return None if only_c_alphas else Given(atoms, present)
