"""Frames drawn under watch: an unphysical one again, then from frames of the library instead of its past."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from backmap.models.counter_random import uniform
from backmap.models.temporal.model import TemporalModel


class WatchedFrames(NamedTuple):
    """One frame of every row, and what it took.

    Attributes
    ----------
    atoms : Tensor, (rows, atoms, 3)
        In nm. A row that stayed unphysical holds its last draw, or a frame of the library where that is not
        finite.
    previous : Tensor, (rows, previous_frames, atoms, 3)
        What the next frame follows, the newest last. Nothing of a row that stayed unphysical is in it.
    draws : Tensor, (rows,) int64
        How often each row was drawn.
    reseeded, unphysical : Tensor, (rows,) bool
        Rows whose past was replaced by frames of the library, and those that were unphysical even then.
    """

    atoms: Tensor
    previous: Tensor
    draws: Tensor
    reseeded: Tensor
    unphysical: Tensor


class WatchedSteps(nn.Module):
    """Draws the next frame of many rows; TorchScript can compile it.

    Parameters
    ----------
    model : TemporalModel
        Trained model.
    redraws : int
        Draws after the first one, from the same past. After them a row starts again from the library and is
        drawn as often as before.
    """

    def __init__(self, model: TemporalModel, redraws: int) -> None:
        super().__init__()
        self.model = model
        self.tries = 1 + redraws
        self.uniforms_per_frame: int = model.uniforms_per_frame
        self.rows_per_search = 64  # enough to fill a processor, few enough for little memory

    def forward(self, beads: Tensor, previous: Tensor, keys: Tensor) -> WatchedFrames:
        """Draw every row, unphysical ones again.

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
        """Frames (rows, atoms, 3) of one attempt, and whether each is physical."""
        drawn = self.model.step(beads, previous, self.uniforms(keys, attempt, 1))
        return drawn, self.model.is_physical(drawn, beads)

    def uniforms(self, keys: Tensor, attempt: int, draws: int) -> Tensor:
        """Random numbers (rows x draws, uniforms_per_frame) of draws of each row, in one attempt."""
        counters = torch.arange(draws * self.uniforms_per_frame, device=keys.device)
        return uniform(keys, attempt, counters).view(-1, self.uniforms_per_frame)

    def seed_frames(self, beads: Tensor) -> Tensor:
        """Frames of the library to start rows from, some rows at a time: each is compared with all of it."""
        found = [self.model.seed_frames(part) for part in beads.split(self.rows_per_search)]
        return torch.cat(found)
