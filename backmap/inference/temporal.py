"""Models that build a frame from the frames before it: many trajectories and samples side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from backmap.inference.refinement import RefinedSteps, Refinement
from backmap.models.counter_random import trajectory_keys
from backmap.models.temporal.model import TemporalModel
from backmap.models.temporal.watched_steps import WatchedSteps

POSITIONS_PER_CHUNK = 1_000_000
FRAMES_PER_CHUNK = 2_000
"""Atom positions and frames built before they are handed on: little memory, and little lost by a kill."""


@dataclass(frozen=True)
class Patience:
    """What is tried when a frame comes out unphysical.

    Parameters
    ----------
    redraws : int
        Draws after the first one, from the same previous frames. After them the row starts again from the
        library and is drawn as often as before.
    """

    redraws: int = 4

    def __post_init__(self) -> None:
        if self.redraws < 0:
            raise ValueError(f"redraws is {self.redraws}, but cannot be less than 0")


@dataclass
class Tally:
    """What the monitor counted, one entry a trajectory, all samples together.

    Parameters
    ----------
    frames : ndarray, (trajectories,) int64
        Frames built.
    redraws : ndarray, (trajectories,) int64
        Draws beyond the first of a frame.
    reseeds : ndarray, (trajectories,) int64
        Frames whose previous frames were replaced by those of the library.
    unphysical : ndarray, (trajectories,) int64
        Frames that stayed unphysical.
    residual_sum, largest_residual : ndarray, (trajectories,) float64
        Of the coarse-grained residuals, root-mean-square distances of the beads from the input, in nm.
    """

    frames: np.ndarray
    redraws: np.ndarray
    reseeds: np.ndarray
    unphysical: np.ndarray
    residual_sum: np.ndarray
    largest_residual: np.ndarray

    @classmethod
    def empty(cls, trajectories: int) -> Tally:
        """Nothing counted yet."""
        return cls(
            *(np.zeros(trajectories, dtype=np.int64) for _ in range(4)),
            *(np.zeros(trajectories) for _ in range(2)),
        )

    @property
    def mean_residual(self) -> np.ndarray:
        """(trajectories,) mean coarse-grained residual in nm."""
        return self.residual_sum / np.maximum(self.frames, 1)


@dataclass(frozen=True)
class RolledFrames:
    """Some consecutive frames of one trajectory with all atoms.

    Parameters
    ----------
    atoms : ndarray, (samples, frames, atoms, 3) float32
        Positions in nm, counted from the origin of each frame.
    origin : ndarray, (frames, 3) float64
        Where those origins lie, in nm.
    """

    atoms: np.ndarray
    origin: np.ndarray

    @property
    def coordinates(self) -> np.ndarray:
        """(samples, frames, atoms, 3) float64: positions in nm."""
        return self.atoms + self.origin[:, None]


class TemporalBuilder:
    """Rolls a temporal model along trajectories.

    Every frame is built from the ones before it, so the rows of a batch are trajectories and their samples.
    Neither the other rows nor the cut into chunks change what a row holds. A monitor looks at every frame: a
    frame that is unphysical is drawn again, then drawn from the library's frames instead of its own past. Of
    what stays unphysical nothing enters later frames.

    The model works in single precision near the origin, which is the first bead of each frame.

    Parameters
    ----------
    model : TemporalModel
        Trained model.
    samples : int
        Independent rollouts of each trajectory.
    seed : int
        Seed of the random numbers.
    trajectories : sequence of int
        Numbers of the trajectories, which their random numbers belong to.
    patience : Patience
        How often an unphysical frame is drawn again.
    refinement : Refinement, optional
        What is done to every frame that is drawn, before the monitor sees it.
    device : torch.device or str
        Where to compute.
    """

    def __init__(
        self,
        model: TemporalModel,
        *,
        samples: int = 1,
        seed: int = 0,
        trajectories: Sequence[int] = (0,),
        patience: Patience = Patience(),
        refinement: Refinement | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.samples = samples
        self.tally = Tally.empty(len(trajectories))
        self._seed = seed
        self._numbers = torch.tensor(trajectories, dtype=torch.int64, device=self.device)
        self._steps = WatchedSteps(self.model, patience.redraws)
        if refinement is not None:
            self._steps = RefinedSteps(self.model, patience.redraws, refinement)
        shape = (len(trajectories), samples, model.previous_frames, model.molecule.atoms, 3)
        self._previous = torch.zeros(shape, device=self.device)
        self._origin = np.zeros((len(trajectories), 3))
        self._done = np.zeros(len(trajectories), dtype=np.int64)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """All that later frames depend on, and the tally so far."""
        return {
            "previous": self._previous.cpu().numpy().copy(),
            "origin": self._origin.copy(),
            "done": self._done.copy(),
            **{field.name: getattr(self.tally, field.name).copy() for field in fields(Tally)},
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from a state, as if all frames before it had been built here."""
        self._previous = torch.from_numpy(state["previous"].copy()).to(self.device)
        self._origin = state["origin"].copy()
        self._done = state["done"].copy()
        self.tally = Tally(**{field.name: state[field.name].copy() for field in fields(Tally)})

    @torch.inference_mode()
    def reconstruct(self, chunks: Sequence[np.ndarray], numbers: Sequence[np.ndarray]) -> list[RolledFrames]:
        """Build all atoms of the next frames of every trajectory.

        Parameters
        ----------
        chunks : sequence of ndarray, (frames, beads, 3)
            The next beads of each trajectory, in nm. They may be of different lengths, also empty.
        numbers : sequence of ndarray, (frames,) int64
            Number of each of these frames in its trajectory, which its random numbers belong to.

        Returns
        -------
        list of RolledFrames
            One a trajectory, as many frames as its chunk.
        """
        lengths = np.array([len(chunk) for chunk in chunks])
        longest = int(lengths.max(initial=0))
        origins, beads, shifts = self._place_near_origin(chunks, longest)
        counted = torch.from_numpy(_padded(numbers, longest, np.int64)).to(self.device)
        atoms = torch.zeros(
            (len(chunks), self.samples, longest, self.model.molecule.atoms, 3), device=self.device
        )
        residuals = torch.zeros((len(chunks), self.samples, longest), device=self.device)
        for step in range(longest):
            alive = torch.from_numpy(np.flatnonzero(lengths > step)).to(self.device)
            begins = (torch.from_numpy(self._done).to(self.device)[alive] == 0) & (step == 0)
            self._begin(alive[begins], beads[alive[begins], step])
            goes_on = alive[~begins]
            self._previous[goes_on] += shifts[goes_on, step, None, None, None]
            built = self._build(alive, beads[alive, step], counted[alive, step])
            atoms[alive, :, step], residuals[alive, :, step] = built
        self._note(lengths, residuals.cpu().numpy())
        self._done += lengths
        ends = lengths > 0
        self._origin[ends] = origins[ends, lengths[ends] - 1]
        found = atoms.cpu().numpy()
        return [
            RolledFrames(found[index, :, :length], origins[index, :length])
            for index, length in enumerate(lengths)
        ]

    def _begin(self, trajectories: Tensor, beads: Tensor) -> None:
        """Put frames of the library before the first frames of trajectories."""
        if len(trajectories):
            seeds = self._steps.seed_frames(beads)
            self._previous[trajectories] = seeds[:, None].expand(-1, self.samples, -1, -1, -1)

    def _place_near_origin(
        self, chunks: Sequence[np.ndarray], longest: int
    ) -> tuple[np.ndarray, Tensor, Tensor]:
        """Move every frame's first bead to the origin.

        Returns
        -------
        origins : ndarray, (trajectories, frames, 3) float64
            Where the first beads were.
        beads : Tensor, (trajectories, frames, beads, 3) float32
            Beads from there.
        shifts : Tensor, (trajectories, frames, 3) float32
            What the atoms of the frame before must be moved by to be counted from there.
        """
        beads = _padded(chunks, longest, np.float64)
        origins = beads[:, :, 0]
        before = np.concatenate([self._origin[:, None], origins], axis=1)[:, :-1]
        near, shifts = (
            torch.from_numpy(values.astype(np.float32)).to(self.device)
            for values in (beads - origins[:, :, None], before - origins)
        )
        return origins, near, shifts

    def _build(self, alive: Tensor, beads: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Build one frame of the trajectories that have not ended: atoms and residuals of all samples."""
        shape = (len(alive), self.samples)
        c_g = beads[:, None].expand(*shape, -1, -1).flatten(0, 1)
        keys = trajectory_keys(self._seed, self._numbers[alive], self.samples, frames).flatten()
        built = self._steps(c_g, self._previous[alive].flatten(0, 1), keys)
        self._previous[alive] = built.previous.unflatten(0, shape)
        rows = alive.repeat_interleave(self.samples)
        self._count(self.tally.redraws, rows, built.draws - 1)
        self._count(self.tally.reseeds, rows, built.reseeded)
        self._count(self.tally.unphysical, rows, built.unphysical)
        return built.atoms.unflatten(0, shape), self.model.residual(built.atoms, c_g).unflatten(0, shape)

    @staticmethod
    def _count(counts: np.ndarray, rows: Tensor, numbers: Tensor) -> None:
        """Add the numbers of rows to those of their trajectories."""
        np.add.at(counts, rows.cpu().numpy(), numbers.cpu().numpy())

    def _note(self, lengths: np.ndarray, residuals: np.ndarray) -> None:
        """Add the residuals (trajectories, samples, frames), frame by frame so that chunks do not matter."""
        tally = self.tally
        tally.frames += self.samples * lengths
        sums = residuals.astype(np.float64).cumsum(axis=1)[:, -1]
        for frame in sums.T:
            tally.residual_sum += frame
        if residuals.size:
            tally.largest_residual = np.maximum(tally.largest_residual, residuals.max(axis=(1, 2)))


def _padded(parts: Sequence[np.ndarray], longest: int, dtype: type) -> np.ndarray:
    """Put arrays of different lengths into one (parts, longest, ...), with zeros behind their ends."""
    whole = np.zeros((len(parts), longest, *parts[0].shape[1:]), dtype=dtype)
    for row, part in zip(whole, parts, strict=True):
        row[: len(part)] = part
    return whole


def frames_per_chunk(rows: int, atoms: int) -> int:
    """Say how many frames of so many rows to build before they are handed on."""
    return max(1, min(FRAMES_PER_CHUNK, POSITIONS_PER_CHUNK // max(1, rows * atoms)))
