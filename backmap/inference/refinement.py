"""A short simulation of each frame with its beads held: it removes overlaps and thermalises bonds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from backmap.chemistry.constants import BOLTZMANN
from backmap.models.normals import draw_normals
from backmap.models.temporal.model import TemporalModel
from backmap.models.temporal.watched_steps import WatchedSteps
from backmap.physics import Potential
from backmap.physics.constraints import BondConstraints
from backmap.physics.force_field import ForceField

_PURPOSE = 1 << 20
"""First purpose of the random numbers that refine each attempt; its draw uses purposes from 0."""


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

    The integrator is the leapfrog middle scheme (Zhang et al., J. Phys. Chem. A 2019, 123, 6056).

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
        self.potential = Potential(force_field).to(device)
        energies = self.potential(known.to(device))
        self.highest_energy = energies.max() + energies.std(correction=0)
        masses = torch.from_numpy(force_field.masses).float().clamp(min=config.hydrogen_mass)
        inverse = 1 / masses
        inverse[held] = 0.0
        pairs = torch.from_numpy(force_field.constraints)
        lengths = torch.from_numpy(force_field.constraint_lengths)
        movable = inverse[pairs].sum(dim=1) > 0
        self.constraints = BondConstraints(pairs[movable], lengths[movable], inverse).to(device)
        self.inverse = inverse.to(device).unsqueeze(-1)

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
        config = self.config
        step, kept = config.step_ps, math.exp(-config.friction_per_ps * config.step_ps)
        thermal = (BOLTZMANN * config.temperature_kelvin * self.inverse).sqrt()
        kick = math.sqrt(1 - kept**2) * thermal
        velocities = thermal * self._normals(atoms, keys, purpose, 0)
        velocities = self.constraints.velocities(velocities, atoms)
        for number in range(1, 1 + config.steps):
            velocities = velocities + self._force_kick(atoms)
            velocities = self.constraints.velocities(velocities, atoms)
            moved = atoms + step / 2 * velocities
            velocities = kept * velocities + kick * self._normals(atoms, keys, purpose, number)
            moved = moved + step / 2 * velocities
            constrained = self.constraints.positions(moved, atoms)
            velocities = velocities + (constrained - moved) / step
            atoms = constrained
        return atoms

    def choose(self, candidates: Tensor) -> Tensor:
        """Return the frames (batch, atoms, 3) of lowest energy among candidates (batch, draws, atoms, 3)."""
        draws = candidates.shape[1]
        if draws == 1:
            return candidates[:, 0]
        energies = self.potential(candidates.flatten(0, 1)).nan_to_num(torch.inf, posinf=torch.inf)
        lowest = energies.unflatten(0, (-1, draws)).argmin(dim=1)
        return candidates[torch.arange(len(candidates), device=lowest.device), lowest]

    def is_relaxed(self, atoms: Tensor) -> Tensor:
        """Return which frames (batch,) have an energy within the known range.

        The range extends one standard deviation beyond the highest known energy. A short simulation cannot
        reach it where side chains are interlocked.
        """
        return self.potential(atoms) <= self.highest_energy

    def _force_kick(self, atoms: Tensor) -> Tensor:
        """Return the change of velocity by the forces within a step, limited by the largest move."""
        gradient = self.potential.energy_and_gradient(atoms)[1]
        kick = -self.config.step_ps * self.inverse * gradient
        most = self.config.largest_move_nm / self.config.step_ps
        return kick * (most / kick.norm(dim=-1, keepdim=True).clamp(min=most))

    def _normals(self, atoms: Tensor, keys: Tensor, purpose: int, step: int) -> Tensor:
        row = torch.tensor(step, device=keys.device)
        return draw_normals(keys, purpose, row, 3 * atoms.shape[1]).unflatten(1, (-1, 3))


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
