"""Langevin dynamics of many replicas of a coarse-grained molecule at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from backmap.models.counter_random import stream_keys, uniform
from backmap.models.normals import draw_normals

Forces = Callable[[Tensor], Tensor]
"""Forces (replicas, beads, 3) in kJ/mol/nm on beads (replicas, beads, 3) in nm."""

_START, _VELOCITIES, _NOISE = range(3)
"""Purposes of random numbers."""

_NORMALS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class ReplicaState:
    """Where the replicas are.

    Attributes
    ----------
    positions : Tensor, (replicas, beads, 3) float32
        In nm, relative to ``origins``.
    velocities : Tensor, (replicas, beads, 3) float32
        In nm/ps.
    origins : Tensor, (replicas, 3) float64
        In nm. Molecules drift; numbers near zero are the most exact.
    """

    positions: Tensor
    velocities: Tensor
    origins: Tensor

    @property
    def absolute(self) -> Tensor:
        """Positions (replicas, beads, 3) in nm, float64."""
        return self.positions.double() + self.origins.unsqueeze(1)


class LangevinDynamics:
    """The BAOAB integrator (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34).

    Random numbers belong to (seed, replica, frame, step), so that a simulation that goes on from a state
    gives the same as one that was never interrupted.

    Parameters
    ----------
    forces : function
        Forces on the beads.
    masses : Tensor, (beads,)
        In daltons.
    kt : float
        Thermal energy in kJ/mol.
    time_step_ps, friction_per_ps : float
        Of the integrator.
    seed : int
        Any 64-bit integer.
    """

    def __init__(
        self,
        forces: Forces,
        masses: Tensor,
        kt: float,
        *,
        time_step_ps: float,
        friction_per_ps: float,
        seed: int,
    ) -> None:
        self._forces = forces
        self._inverse_masses = (1.0 / masses).float()[:, None]
        self._thermal = (kt * self._inverse_masses).sqrt()
        self._step = time_step_ps
        self._kept = math.exp(-friction_per_ps * time_step_ps)
        self._seed = seed

    def begin(self, frames: Tensor, replicas: int) -> ReplicaState:
        """Start each replica from one of some frames (frames, beads, 3), with random velocities."""
        keys = self._keys(replicas, 0, frames.device)
        chosen = uniform(keys, _START, torch.zeros(1, dtype=torch.int64, device=frames.device))[:, 0]
        positions = frames[(chosen * len(frames)).long()]
        origins = positions.double().mean(dim=1)
        normals = draw_normals(keys, _VELOCITIES, torch.arange(positions.shape[1], device=frames.device), 3)
        return ReplicaState(
            (positions - origins.unsqueeze(1)).float(), normals * self._thermal.to(normals.device), origins
        )

    def advance(self, state: ReplicaState, frame: int, n_steps: int) -> ReplicaState:
        """Take some steps.

        Parameters
        ----------
        state : ReplicaState
            Where the replicas are.
        frame : int
            Number of the frame that the steps lead to; it determines the random numbers.
        n_steps : int
            Number of steps.
        """
        half, x, v = 0.5 * self._step, state.positions.clone(), state.velocities.clone()
        inverse, thermal = self._inverse_masses.to(x.device), self._thermal.to(x.device)
        kick, heat = half * inverse, thermal * math.sqrt(1.0 - self._kept**2)
        forces = self._forces(x)
        for noise in self._noise(x, frame, n_steps):
            v.addcmul_(forces, kick)
            x.add_(v, alpha=half)
            v.mul_(self._kept).addcmul_(noise, heat)
            x.add_(v, alpha=half)
            forces = self._forces(x)
            v.addcmul_(forces, kick)
        shift = x.mean(dim=1)
        return ReplicaState(x - shift.unsqueeze(1), v, state.origins + shift.double())

    def _noise(self, like: Tensor, frame: int, n_steps: int) -> Iterator[Tensor]:
        """Yield normal numbers of the shape of the positions, step after step."""
        keys = self._keys(len(like), frame, like.device)
        size = like[0].numel()
        at_once = max(1, _NORMALS_AT_ONCE // like.numel())
        for first in range(0, n_steps, at_once):
            steps = torch.arange(first, min(first + at_once, n_steps), device=like.device)
            normals = draw_normals(keys, _NOISE, steps, size)
            yield from normals.view(len(like), len(steps), *like.shape[1:]).unbind(1)

    def _keys(self, replicas: int, frame: int, device: torch.device) -> Tensor:
        """Return one key (replicas,) per replica."""
        return stream_keys(self._seed, replicas, torch.tensor([frame], device=device))[:, 0]


def is_sound(positions: Tensor, bonds: Tensor, lengths: Tensor) -> Tensor:
    """Return which replicas (replicas,) hold together: all bonds between half and twice their usual length.

    Parameters
    ----------
    positions : Tensor, (replicas, beads, 3)
        In nm.
    bonds : Tensor, (bonds, 2) int64
        Bonded beads.
    lengths : Tensor, (bonds,)
        Usual lengths in nm.
    """
    ratio = (positions[:, bonds[:, 0]] - positions[:, bonds[:, 1]]).norm(dim=-1) / lengths
    return ((ratio > 0.5) & (ratio < 2.0)).all(dim=1) & positions.isfinite().all(dim=2).all(dim=1)
