"""Models that build each frame from previous ones: many trajectories and samples side by side."""

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
"""Atom positions and frames per chunk: little memory, and little lost if the run is killed."""


@dataclass(frozen=True)
class Patience:
    """What to try when a frame is unphysical.

    Parameters
    ----------
    redraws : int
        Further draws after the first, from the same previous frames. After that, the row restarts from the
        library with the same number of draws.
    """

    redraws: int = 4

    def __post_init__(self) -> None:
        if self.redraws < 0:
            raise ValueError(f"redraws is {self.redraws}; it must be at least 0")


@dataclass
class Tally:
    """Counts of the monitor, one entry per trajectory over all samples.

    Parameters
    ----------
    frames : ndarray, (trajectories,) int64
        Frames built.
    redraws : ndarray, (trajectories,) int64
        Draws after the first draw of each frame.
    reseeds : ndarray, (trajectories,) int64
        Frames whose previous frames were replaced by frames of the library.
    unphysical : ndarray, (trajectories,) int64
        Frames that remained unphysical.
    residual_sum, largest_residual : ndarray, (trajectories,) float64
        Sum and maximum of the residuals: root-mean-square distances of the beads from the input, in nm.
    """

    frames: np.ndarray
    redraws: np.ndarray
    reseeds: np.ndarray
    unphysical: np.ndarray
    residual_sum: np.ndarray
    largest_residual: np.ndarray

    @classmethod
    def empty(cls, trajectories: int) -> Tally:
        """Return zero counts."""
        return cls(
            *(np.zeros(trajectories, dtype=np.int64) for _ in range(4)),
            *(np.zeros(trajectories) for _ in range(2)),
        )

    @property
    def mean_residual(self) -> np.ndarray:
        """Mean residual (trajectories,) in nm."""
        return self.residual_sum / np.maximum(self.frames, 1)


@dataclass(frozen=True)
class RolledFrames:
    """Consecutive frames of one trajectory with all atoms.

    Parameters
    ----------
    atoms : ndarray, (samples, frames, atoms, 3) float32
        Positions in nm relative to the origin of each frame.
    origin : ndarray, (frames, 3) float64
        Positions of these origins in nm.
    """

    atoms: np.ndarray
    origin: np.ndarray

    @property
    def coordinates(self) -> np.ndarray:
        """Positions (samples, frames, atoms, 3) float64 in nm."""
        return self.atoms + self.origin[:, None]


class TemporalBuilder:
    """Rolls a temporal model along trajectories.

    Each frame is built from previous ones, so the rows of a batch are trajectories and their samples. The
    result for a row depends neither on the other rows nor on the division into chunks. A monitor checks every
    frame: an unphysical frame is redrawn, first from its own past and then from frames of the library. Frames
    that remain unphysical do not affect later ones.

    The model works in single precision with the first bead of each frame at the origin.

    Parameters
    ----------
    model : TemporalModel
        Trained model.
    samples : int
        Independent rollouts of each trajectory.
    seed : int
        Seed of the random numbers.
    trajectories : sequence of int
        Numbers of the trajectories; they determine the random numbers.
    patience : Patience
        How often an unphysical frame is redrawn.
    refinement : Refinement, optional
        Refinement of each frame before the monitor checks it.
    device : torch.device or str
        Device to compute on.
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
        shape = (len(trajectories), samples, model.previous_frames, model.molecule.n_atoms, 3)
        self._previous = torch.zeros(shape, device=self.device)
        self._origin = np.zeros((len(trajectories), 3))
        self._done = np.zeros(len(trajectories), dtype=np.int64)

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Everything that later frames depend on, and the tally so far."""
        return {
            "previous": self._previous.cpu().numpy().copy(),
            "origin": self._origin.copy(),
            "done": self._done.copy(),
            **{field.name: getattr(self.tally, field.name).copy() for field in fields(Tally)},
        }

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Continue from a state, as if all frames before it had been built here."""
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
            The next beads of each trajectory in nm, of any length, including empty.
        numbers : sequence of ndarray, (frames,) int64
            Number of each frame in its trajectory; it determines the random numbers.

        Returns
        -------
        list of RolledFrames
            One per trajectory, with as many frames as its chunk.
        """
        lengths = np.array([len(chunk) for chunk in chunks])
        longest = int(lengths.max(initial=0))
        origins, beads, shifts = self._place_near_origin(chunks, longest)
        counted = torch.from_numpy(_padded(numbers, longest, np.int64)).to(self.device)
        atoms = torch.zeros(
            (len(chunks), self.samples, longest, self.model.molecule.n_atoms, 3), device=self.device
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
        """Use frames of the library as the past of the first frames of trajectories."""
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
            Original positions of the first beads.
        beads : Tensor, (trajectories, frames, beads, 3) float32
            Beads relative to the origins.
        shifts : Tensor, (trajectories, frames, 3) float32
            Translation that makes the atoms of the previous frame relative to the origins.
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
        """Build one frame of the unfinished trajectories; return atoms and residuals of all samples."""
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
        """Add the numbers of rows to the counts of their trajectories."""
        np.add.at(counts, rows.cpu().numpy(), numbers.cpu().numpy())

    def _note(self, lengths: np.ndarray, residuals: np.ndarray) -> None:
        """Add residuals (trajectories, samples, frames) frame by frame, so that chunks do not matter."""
        tally = self.tally
        tally.frames += self.samples * lengths
        sums = residuals.astype(np.float64).cumsum(axis=1)[:, -1]
        for frame in sums.T:
            tally.residual_sum += frame
        if residuals.size:
            tally.largest_residual = np.maximum(tally.largest_residual, residuals.max(axis=(1, 2)))


def _padded(parts: Sequence[np.ndarray], longest: int, dtype: type) -> np.ndarray:
    """Stack arrays of different lengths as (parts, longest, ...), padded with zeros."""
    whole = np.zeros((len(parts), longest, *parts[0].shape[1:]), dtype=dtype)
    for row, part in zip(whole, parts, strict=True):
        row[: len(part)] = part
    return whole


def frames_per_chunk(rows: int, atoms: int) -> int:
    """Return the number of frames per chunk for a number of rows."""
    return max(1, min(FRAMES_PER_CHUNK, POSITIONS_PER_CHUNK // max(1, rows * atoms)))
