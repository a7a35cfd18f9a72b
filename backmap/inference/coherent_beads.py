"""Beads over chunks of a trajectory, each frame drawn given the one before."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS
from backmap.inference.beads import BeadBuilder, FittedFrames
from backmap.inference.coherence import State
from backmap.inference.coherent import WANDERING_PS, CoherentBuilder, Passage
from backmap.models.beads.structures import BeadFrames, take_frames
from backmap.models.protein.obstacles import Obstacles
from backmap.models.wandering import wandering_streams


class CoherentBeadBuilder:
    """Runs the protein model along a trajectory of beads.

    C-alphas that the beads leave open wander about their estimates, torsions remember, and all atoms of a
    frame are then fitted to its beads. What is remembered are the torsions before that fit.

    Parameters
    ----------
    beads : BeadBuilder
        Builds frames on their own.
    coherent : CoherentBuilder
        Draws frames in sequence, for the same protein.
    """

    def __init__(self, beads: BeadBuilder, coherent: CoherentBuilder) -> None:
        self.beads, self._coherent = beads, coherent

    @torch.inference_mode()
    def reconstruct(
        self,
        positions: Tensor,
        *,
        numbers: Tensor,
        times: np.ndarray,
        state: State | None,
        samples: int,
        seed: int,
        box: Tensor | None = None,
        obstacles: Obstacles | None = None,
    ) -> tuple[FittedFrames, State, int]:
        """Build all heavy atoms of the next frames.

        Parameters
        ----------
        positions : Tensor, (frames, beads, 3)
            In nm, molecules whole.
        numbers : Tensor, (frames,) int64
            Number of each frame in the trajectory; it determines the random numbers.
        times : ndarray, (frames,) float64
            In ps.
        state : dict of str to ndarray, optional
            From the frames before; None at the beginning.
        samples : int
            Independent trajectories.
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
        dict of str to ndarray
            State for the next frames.
        int
            Number of frames that do not follow the one before them and were drawn on their own.
        """
        frames = self.beads.describe(positions, numbers=numbers, box=box, obstacles=obstacles)
        passage = self._coherent.passage(frames.c_alpha, times, state)
        atoms = torch.zeros(
            samples, len(positions), frames.c_alpha.shape[1], ATOM_SLOTS, 3, device=frames.c_alpha.device
        )
        known = state
        for first, last in _stretches(frames.draws):
            part = take_frames(frames, torch.arange(first, last, device=frames.draws.device))
            atoms[:, first:last], known = self._draw(part, passage.select(first, last), known, samples, seed)
        state = {**(known or {}), **passage.state, "boxed": np.array(box is not None)}
        return FittedFrames(atoms, frames.noise_nm), state, passage.n_jumps

    def _draw(
        self, frames: BeadFrames, passage: Passage, state: State | None, samples: int, seed: int
    ) -> tuple[Tensor, State]:
        """Draw frames that are built alike, and return what the next ones need of their atoms."""
        streams, turns = wandering_streams(seed, samples, passage.elapsed, WANDERING_PS)
        drawn, after = self._coherent.draw(
            self.beads.draw_c_alphas(frames, samples, seed, streams, turns),
            numbers=frames.numbers,
            passage=passage,
            state=state,
            samples=samples,
            seed=seed,
            box=frames.box,
            obstacles=frames.obstacles,
            beads=frames.evidence,
            given=self.beads.given(frames),
        )
        return self.beads.repaired(self.beads.fit(drawn, frames), frames, seed), after


def _stretches(draws: Tensor) -> list[tuple[int, int]]:
    """Return first and last frame of stretches of equal values (frames,)."""
    changes = torch.nonzero(draws[1:] != draws[:-1]).squeeze(-1) + 1
    ends = [0, *changes.tolist(), len(draws)]
    return list(zip(ends[:-1], ends[1:], strict=True))
