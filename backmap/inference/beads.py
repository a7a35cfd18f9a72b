"""Frames of beads that are not C-alphas: C-alphas are estimated, atoms drawn, and fitted to the beads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS, Topology
from backmap.chemistry.bead_mapping import BeadLayout
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.models.beads.estimator import CAlphaEstimator
from backmap.models.beads.evidence import bead_table, image
from backmap.models.beads.structures import EXACT_BEADS, BeadFrames, BeadStructures, alike, take_frames
from backmap.models.chain import Chain
from backmap.models.protein.best_guess import BestGuess
from backmap.models.protein.given_atoms import Given
from backmap.models.protein.model import ProteinModel
from backmap.models.protein.obstacles import Obstacles, on_device


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
        self.disulfides = None if disulfides is None else torch.from_numpy(disulfides).to(self.device)
        self._structures = BeadStructures(self.model, estimator).to(self.device).eval()
        self._protein = self._structures.prepare(self.chain, bead_table(layout, self.device))

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
        if self._best is not None:
            return self._guess(frames, seed, self._best)
        atoms = self._structures.build(frames, self._protein, samples, seed, self.disulfides)
        return FittedFrames(atoms, frames.noise_nm)

    @torch.inference_mode()
    def describe(
        self, beads: Tensor, *, numbers: Tensor, box: Tensor | None = None, obstacles: Obstacles | None = None
    ) -> BeadFrames:
        """Find out what the beads of frames tell; arguments as for :meth:`reconstruct`."""
        noise = self.rule.noise_nm or (EXACT_BEADS if self.rule.mode == "keep" else 0.0)
        return self._structures.describe(
            beads.to(self.device, torch.float32),
            self._protein,
            numbers.to(self.device),
            noise,
            self.rule.least_noise_nm,
            None if box is None else box.to(self.device, torch.float32),
            None if obstacles is None else on_device(obstacles, self.device),
        )

    def _guess(self, frames: BeadFrames, seed: int, best: BestGuess) -> FittedFrames:
        """Build the best guess of frames."""
        atoms = frames.c_alpha.new_zeros(1, *frames.c_alpha.shape[:2], ATOM_SLOTS, 3)
        deviation = atoms.new_zeros(atoms.shape[1:3])
        for rows in alike(frames):
            part = take_frames(frames, rows)
            guess = best.build(
                self.draw_c_alphas(part, 1, seed),
                self.chain,
                self.given(part),
                part.box,
                self.disulfides,
                part.evidence,
                part.obstacles,
            )
            atoms[:, rows] = self.repaired(self.fit(guess.atoms.unsqueeze(0), part), part, seed)
            deviation[rows] = guess.deviation
        return FittedFrames(atoms, frames.noise_nm, deviation)

    def strained(self, atoms: Tensor) -> Tensor:
        """Return which residues (..., residues) of atoms (..., residues, 15, 3) are no sound molecule."""
        return self._structures.fit.strained(atoms.to(self.device), self._protein.terms)

    def image_distance(self, atoms: Tensor, beads: Tensor) -> Tensor:
        """Return the root mean square distance (samples, frames, residues) in nm of image and beads."""
        atoms, table = atoms.to(self.device), self._protein.table
        squared = (image(atoms, table) - beads.to(atoms.device)).square().sum(dim=-1)
        number = torch.bincount(table.residues, minlength=self.chain.n_residues)
        total = squared.new_zeros(*squared.shape[:-1], self.chain.n_residues)
        return (total.index_add_(-1, table.residues, squared) / number).sqrt()

    @torch.inference_mode()
    def repaired(self, atoms: Tensor, frames: BeadFrames, seed: int) -> Tensor:
        """Return atoms with strained residues drawn again: :meth:`BeadStructures.repaired`."""
        return self._structures.repaired(atoms, frames, self._protein, seed, self.disulfides)

    @torch.inference_mode()
    def draw_c_alphas(
        self,
        frames: BeadFrames,
        samples: int,
        seed: int,
        wandering: Tensor | None = None,
        turns: Tensor | None = None,
    ) -> Tensor:
        """Draw C-alphas where they are not exact: :meth:`BeadStructures.draw_c_alphas`."""
        return self._structures.draw_c_alphas(frames, self._protein, samples, seed, wandering, turns)

    @torch.inference_mode()
    def fit(self, atoms: Tensor, frames: BeadFrames) -> Tensor:
        """Fit atoms to their beads: :meth:`BeadStructures.fitted`."""
        return self._structures.fitted(atoms, frames, self._protein)

    def given(self, frames: BeadFrames) -> Given | None:
        """Return the beads that are exactly atoms: :meth:`BeadStructures.given`."""
        return self._structures.given(frames, self._protein)
