"""A short simulation of each frame with its beads held: it removes overlaps and thermalises bonds."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backmap.chemistry.constants import BOLTZMANN
from backmap.models.normals import draw_normals
from backmap.models.temporal.model import TemporalModel
from backmap.models.temporal.watched_steps import WatchedSteps
from backmap.physics.force_field import ForceField
from backmap.physics.langevin import LangevinDynamics, LangevinSettings

_PURPOSE = 1 << 20
"""First purpose of the random numbers that refine each attempt; its draw uses purposes from 0."""

_STEPS_AT_ONCE, _NUMBERS_AT_ONCE = 64, 2**22
"""Steps, and random numbers of several frames, for which random numbers are in memory at once."""


@dataclass(frozen=True)
class RefinementConfig:
    """How frames are refined.

    Attributes
    ----------
    steps : int
        Integration steps per frame.
    temperature_kelvin : float
        Temperature of the simulation that produced the beads.
    step_ps : float
        Time step.
    friction_per_ps : float
        Friction; strong, because the heat of overlaps must dissipate within the run.
    hydrogen_mass : float
        In Da, instead of 1, to allow a long step; it does not affect what is sampled.
    largest_move_nm : float
        Limit on the displacement by the forces in one step, as atoms may overlap at first.
    noise : float
        Fraction of the model's own noise in the frames to refine.
    draws : int
        Draws per frame; the one with the lowest energy is refined.
    """

    steps: int = 50
    temperature_kelvin: float = 300.0
    step_ps: float = 0.002
    friction_per_ps: float = 50.0
    hydrogen_mass: float = 3.0
    largest_move_nm: float = 0.002
    noise: float = 1.0
    draws: int = 1


class Refinement:
    """Langevin dynamics of the atoms that are not beads, with constrained bonds to hydrogen.

    Parameters
    ----------
    force_field : ForceField
        With constraints for bonds of fixed length.
    held : sequence of int
        Atoms that do not move.
    known : Tensor, (frames, atoms, 3)
        Frames of the training data in nm, which define the range of energies.
    config : RefinementConfig
        Parameters of the dynamics.
    device : torch.device
        Device of the frames.
    """

    def __init__(
        self,
        force_field: ForceField,
        held: list[int],
        known: Tensor,
        config: RefinementConfig,
        device: torch.device,
    ) -> None:
        self.config = config
        self.held = held
        masses = torch.from_numpy(force_field.masses).float().clamp(min=config.hydrogen_mass)
        inverse = 1 / masses
        inverse[held] = 0.0
        settings = LangevinSettings(
            config.step_ps,
            config.friction_per_ps,
            BOLTZMANN * config.temperature_kelvin,
            config.largest_move_nm,
        )
        self.dynamics = LangevinDynamics(force_field, inverse, settings).to(device)
        energies = self.dynamics.energy(known.to(device))
        self.highest_energy = energies.max() + energies.std(correction=0)

    def __call__(self, atoms: Tensor, keys: Tensor, purpose: int) -> Tensor:
        """Refine frames.

        Parameters
        ----------
        atoms : Tensor, (batch, atoms, 3)
            In nm.
        keys : Tensor, (batch,) int64
            Random stream of each frame.
        purpose : int
            Separates the uses of one key.

        Returns
        -------
        Tensor, (batch, atoms, 3)
            Held atoms are unchanged, bit for bit.
        """
        rows = max(1, _NUMBERS_AT_ONCE // (_STEPS_AT_ONCE * 3 * atoms.shape[1]))
        parts = zip(atoms.split(rows), keys.split(rows), strict=True)
        return torch.cat([self._refine(part, own, purpose) for part, own in parts])

    def _refine(self, atoms: Tensor, keys: Tensor, purpose: int) -> Tensor:
        """Refine as many frames as there is memory for."""
        first = self._normals(atoms, keys, purpose, 0, 1)[:, 0]
        velocities, last = self.dynamics.thermal_velocities(first), 1 + self.config.steps
        for step in range(1, last, _STEPS_AT_ONCE):
            normals = self._normals(atoms, keys, purpose, step, min(step + _STEPS_AT_ONCE, last))
            atoms, velocities = self.dynamics(atoms, velocities, normals)
        return atoms

    def _normals(self, atoms: Tensor, keys: Tensor, purpose: int, first: int, last: int) -> Tensor:
        """Return the random numbers (batch, last - first, atoms, 3) of some steps."""
        steps = torch.arange(first, last, device=keys.device)
        return draw_normals(keys, purpose, steps, 3 * atoms.shape[1]).unflatten(-1, (-1, 3))

    def choose(self, candidates: Tensor) -> Tensor:
        """Return the frames (batch, atoms, 3) of lowest energy among candidates (batch, draws, atoms, 3)."""
        draws = candidates.shape[1]
        if draws == 1:
            return candidates[:, 0]
        energies = self.dynamics.energy(candidates.flatten(0, 1)).nan_to_num(torch.inf, posinf=torch.inf)
        lowest = energies.unflatten(0, (-1, draws)).argmin(dim=1)
        return candidates[torch.arange(len(candidates), device=lowest.device), lowest]

    def is_relaxed(self, atoms: Tensor) -> Tensor:
        """Return which frames (batch,) have an energy within the known range.

        The range extends one standard deviation beyond the highest known energy. A short simulation cannot
        reach it where side chains are interlocked.
        """
        return self.dynamics.energy(atoms) <= self.highest_energy


class RefinedSteps(WatchedSteps):
    """Draws frames like :class:`WatchedSteps`, but refines them, their beads where they are given.

    Parameters
    ----------
    model : TemporalModel
        Trained model.
    redraws : int
        Further draws of a row after the first.
    refinement : Refinement
        Refinement of each frame.
    """

    def __init__(self, model: TemporalModel, redraws: int, refinement: Refinement) -> None:
        super().__init__(model, redraws)
        self.refinement = refinement

    def draw(self, beads: Tensor, previous: Tensor, keys: Tensor, attempt: int) -> tuple[Tensor, Tensor]:
        """Draw candidates for each row and refine the best."""
        draws = self.refinement.config.draws
        candidates = self.model.step(
            beads.repeat_interleave(draws, dim=0),
            previous.repeat_interleave(draws, dim=0),
            self.uniforms(keys, attempt, draws),
            self.refinement.config.noise,
        )
        candidates[:, self.refinement.held] = beads.repeat_interleave(draws, dim=0)
        chosen = self.refinement.choose(candidates.unflatten(0, (-1, draws)))
        refined = self.refinement(chosen, keys, _PURPOSE + attempt)
        return refined, self.model.is_physical(refined, beads) & self.refinement.is_relaxed(refined)
