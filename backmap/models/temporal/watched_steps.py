"""Monitored drawing of frames: unphysical frames are redrawn, finally from frames of the library."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from backmap.models.counter_random import composed_uniform
from backmap.models.temporal.model import TemporalModel


class WatchedFrames(NamedTuple):
    """One frame of each row, and how it was obtained.

    Attributes
    ----------
    atoms : Tensor, (rows, atoms, 3)
        In nm. For rows that remained unphysical, the last draw, or a frame of the library if that is not
        finite.
    previous : Tensor, (rows, previous_frames, atoms, 3)
        Past of the next frame, the newest last, without frames that remained unphysical.
    draws : Tensor, (rows,) int64
        Number of draws of each row.
    reseeded, unphysical : Tensor, (rows,) bool
        Rows whose past was replaced by frames of the library, and rows that remained unphysical.
    """

    atoms: Tensor
    previous: Tensor
    draws: Tensor
    reseeded: Tensor
    unphysical: Tensor


class WatchedSteps(nn.Module):
    """Draws the next frame of many rows. Can be compiled by TorchScript.

    Parameters
    ----------
    model : TemporalModel
        Trained model.
    redraws : int
        Further draws after the first, from the same past. After that, the row restarts from the library with
        the same number of draws.
    """

    def __init__(self, model: TemporalModel, redraws: int) -> None:
        super().__init__()
        self.model = model
        self.tries = 1 + redraws
        self.uniforms_per_frame: int = model.uniforms_per_frame
        self.rows_per_search = 64  # enough to use all cores, with little memory

    def forward(self, beads: Tensor, previous: Tensor, keys: Tensor) -> WatchedFrames:
        """Draw all rows, and redraw unphysical ones.

        Parameters
        ----------
        beads : Tensor, (rows, beads, 3)
            In nm.
        previous : Tensor, (rows, previous_frames, atoms, 3)
            In nm, the newest last.
        keys : Tensor, (rows,) int64
            Random streams.
        """
        previous = previous.clone()
        atoms, draws = torch.empty_like(previous[:, -1]), torch.zeros_like(keys)
        waiting = torch.arange(len(keys), device=keys.device)
        reseeded = torch.zeros_like(keys, dtype=torch.bool)
        for attempt in range(2 * self.tries):
            if len(waiting) == 0:
                break
            if attempt == self.tries:
                previous[waiting] = self.seed_frames(beads[waiting])
                reseeded[waiting] = True
            drawn, physical = self.draw(beads[waiting], previous[waiting], keys[waiting], attempt)
            atoms[waiting] = drawn
            draws[waiting] += 1
            waiting = waiting[~physical]
        lost = waiting[~atoms[waiting].isfinite().flatten(1).all(1)]
        atoms[lost] = previous[lost, -1]
        newest = atoms.clone()
        newest[waiting] = previous[waiting, -1]
        unphysical = torch.zeros_like(reseeded)
        unphysical[waiting] = True
        past = torch.cat([previous[:, 1:], newest.unsqueeze(1)], dim=1)
        return WatchedFrames(atoms, past, draws, reseeded, unphysical)

    def draw(self, beads: Tensor, previous: Tensor, keys: Tensor, attempt: int) -> tuple[Tensor, Tensor]:
        """Return frames (rows, atoms, 3) of one attempt, and whether each is physical."""
        drawn = self.model.step(beads, previous, self.uniforms(keys, attempt, 1))
        return drawn, self.model.is_physical(drawn, beads)

    def uniforms(self, keys: Tensor, attempt: int, draws: int) -> Tensor:
        """Return the random numbers (rows x draws, uniforms_per_frame) of one attempt."""
        counters = torch.arange(draws * self.uniforms_per_frame, device=keys.device)
        return composed_uniform(keys, attempt, counters).view(-1, self.uniforms_per_frame)

    def seed_frames(self, beads: Tensor) -> Tensor:
        """Return start frames from the library, some rows at a time, as each is compared with all frames."""
        found = [self.model.seed_frames(part) for part in beads.split(self.rows_per_search)]
        return torch.cat(found)
