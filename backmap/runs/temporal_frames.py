"""Trajectories of successive frames: from streams of beads to streams of all atoms."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from backmap.cluster import Workers
from backmap.errors import InputEndsEarly, InputError
from backmap.inference.temporal import RolledFrames, Tally
from backmap.inference.temporal import frames_per_chunk as default_frames_per_chunk
from backmap.inference.temporal_job import State
from backmap.io import BeadSource, FrameChunk, Frames, Progress, read_molecule
from backmap.io.bead_source import warn_of_intervals
from backmap.io.selection.coordinate_checks import wrong_unit

from .output_layout import OutputLayout
from .read_ahead import read_ahead
from .recorder import Step

if TYPE_CHECKING:
    from backmap.models.temporal.model import TemporalModel

SEED_FRAMES = 5_000
"""Largest number of evenly spaced start frames taken from a trajectory."""

ROWS_PER_GROUP = {"cpu": 64, "cuda": 4096}
"""Trajectories and samples built in one batch: enough to occupy a device, few enough to distribute."""

_OTHER_FILES = 200
"""Open files for libraries, pipes, the journal and outputs."""

_USUAL_SIZE = (0.4, 2.5)
"""Plausible range of lengths relative to the most similar frame of the model, in any conformation."""


def allow_open_files(inputs: int) -> None:
    """Allow the process to keep this many inputs open at once, as far as the system permits."""
    needed = inputs + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise InputError(
            f"{inputs} inputs at once need {needed} open files, but the system allows {hard}; "
            "give fewer at a time"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def read_library(model: TemporalModel, path: str | PathLike[str]) -> np.ndarray:
    """Read frames for a model to start from, instead of those stored with it.

    Parameters
    ----------
    model : TemporalModel
        The model.
    path : path
        Structure or trajectory with all atoms of its molecule.

    Returns
    -------
    ndarray, (windows, frames, atoms, 3) float32
        Windows of as many successive frames as the model needs, in nm.
    """
    frames = read_molecule(Path(path), model.molecule)
    window = model.previous_frames + 1
    if len(frames) < window:
        raise InputError(
            f"{path}: has {len(frames)} frames, but the model needs {window} successive frames; "
            "give a longer trajectory"
        )
    starts = np.unique(np.linspace(0, len(frames) - window, SEED_FRAMES).astype(np.int64))
    return frames[starts[:, None] + np.arange(window)]


def check_sources(sources: Sequence[BeadSource], model: TemporalModel) -> None:
    """Refuse units of length other than nm, and warn if frame intervals differ from the training data."""
    for source in sources:
        _check_unit(source, model)
    warn_of_intervals(sources, model.frame_interval_ps)


def _check_unit(source: BeadSource, model: TemporalModel) -> None:
    """Check the unit of length: compare distances of successive beads with the model's own frames."""
    first = source.first_frames(1).coordinates[0]
    try:
        usual, found = (_neighbour_distance(beads) for beads in (_like(first, model), first))
    except ValueError as error:
        raise InputError(f"the model cannot start: {error}; give some with --seed-from TRAJECTORY") from error
    meaning = wrong_unit(found / usual, *_USUAL_SIZE)
    if meaning:
        raise InputError(
            f"{source.name}: successive beads are {found:.3g} nm apart instead of about {usual:.3g} nm, "
            f"{meaning}"
        )


def _like(beads: np.ndarray, model: TemporalModel) -> np.ndarray:
    """Return the beads (beads, 3) of the model's own frame most similar to the given beads."""
    near = torch.from_numpy((beads - beads[:1]).astype(np.float32)[None])
    seed = model.seed_frames(near.to(next(model.buffers()).device))
    return model.mapping.apply(seed[0, -1].cpu().numpy())


def _neighbour_distance(beads: np.ndarray) -> float:
    """Return the median distance of successive beads, which one bead across a box barely changes."""
    return float(np.median(np.linalg.norm(np.diff(beads, axis=0), axis=-1)))


def _spread(beads: np.ndarray) -> np.ndarray:
    """Return the root-mean-square distance (...) of beads (..., beads, 3) from their centre."""
    return np.sqrt(((beads - beads.mean(axis=-2, keepdims=True)) ** 2).sum(axis=-1).mean(axis=-1))


class BeadCheck:
    """Refuses frames whose beads cannot form a whole molecule within the reach of the model.

    Parameters
    ----------
    source : BeadSource
        Its first frame determines the expected spread of the beads.
    model : TemporalModel
        Model that builds the frames.
    """

    def __init__(self, source: BeadSource, model: TemporalModel) -> None:
        self._name = source.name
        self._usual_nm = float(_spread(_like(source.first_frames(1).coordinates[0], model)))
        self._reach_nm = model.reach_nm

    def __call__(self, chunk: FrameChunk) -> None:
        """Check frames."""
        spread = _spread(chunk.coordinates)
        for frame in np.flatnonzero(spread > _USUAL_SIZE[1] * self._usual_nm)[:1]:
            raise InputError(
                f"{self._name}: frame {chunk.numbers[frame] + 1}: its beads lie "
                f"{spread[frame]:.3g} nm from their centre instead of about {self._usual_nm:.3g} nm; "
                "if the molecule is broken across the periodic box, make it whole first"
            )
        centred = chunk.coordinates - chunk.coordinates.mean(axis=1, keepdims=True)
        radius = np.linalg.norm(centred, axis=-1).max(axis=1, initial=0.0)
        for frame in np.flatnonzero(radius > self._reach_nm)[:1]:
            raise InputError(
                f"{self._name}: frame {chunk.numbers[frame] + 1}: its beads reach {radius[frame]:.3g} nm "
                f"from their centre, outside the model's grid of {2 * self._reach_nm:.3g} nm; "
                "train a model with a larger grid"
            )


@dataclass(frozen=True)
class Strand:
    """Frames that are rolled out without interruption: a whole trajectory or a segment of one.

    Parameters
    ----------
    trajectory : int
        Index of the trajectory.
    first : int
        Index of its first frame among the selected frames of the trajectory, from 0.
    begin, end : int
        Range of frames that are kept. Earlier frames let the rollout forget how it started.
    """

    trajectory: int
    first: int
    begin: int
    end: int


def plan_strands(lengths: Sequence[int], segments: int = 1, burn_in: int = 0) -> list[Strand]:
    """Split trajectories into overlapping segments.

    Parameters
    ----------
    lengths : sequence of int
        Number of frames of each trajectory.
    segments : int
        Segments per trajectory; fewer if a segment would be shorter than the overlap, or empty.
    burn_in : int
        Frames of overlap: every segment but the first starts this many frames earlier.
    """
    strands = []
    for trajectory, length in enumerate(lengths):
        parts = max(1, min(segments, length // max(1, burn_in)))
        bounds = np.linspace(0, length, parts + 1).astype(int).tolist()
        for begin, end in zip(bounds, bounds[1:], strict=False):
            strands.append(Strand(trajectory, max(0, begin - burn_in) if begin else 0, begin, end))
    return strands


@dataclass(frozen=True)
class Piece:
    """The next frames of one strand with all atoms.

    Parameters
    ----------
    chunk : FrameChunk
        The frames they were built from.
    rolled : RolledFrames
        Their atoms.
    kept : ndarray, (frames,) bool
        Frames that belong to the output of the strand.
    """

    chunk: FrameChunk
    rolled: RolledFrames
    kept: np.ndarray


class Rollout:
    """All strands of a run, rolled out in parallel in constant memory.

    Parameters
    ----------
    model : TemporalModel
        Model that is rolled out, for checks.
    sources : sequence of BeadSource
        The trajectories.
    strands : sequence of Strand
        Parts of the trajectories.
    samples : int
        Rollouts per strand.
    device : torch.device
        Device that builds them, which determines how many are built together.
    frames_per_chunk : int, optional
        Frames built before they are yielded; by default few enough to need little memory.

    Attributes
    ----------
    failures : list of InputEndsEarly
        Errors of trajectories that end in the middle of a frame; their complete frames are built.
    """

    def __init__(
        self,
        model: TemporalModel,
        sources: Sequence[BeadSource],
        strands: Sequence[Strand],
        *,
        samples: int,
        device: torch.device,
        frames_per_chunk: int | None = None,
    ) -> None:
        self.failures: list[InputEndsEarly] = []
        self._model, self._sources, self._strands = model, sources, strands
        together = max(1, ROWS_PER_GROUP[device.type] // samples)
        numbers = list(range(len(strands)))
        self._groups = [numbers[first : first + together] for first in range(0, len(strands), together)]
        rows = samples * len(strands)
        self._chunk = frames_per_chunk or default_frames_per_chunk(rows, model.molecule.n_atoms)

    @property
    def groups(self) -> int:
        """Number of parts that can be computed in parallel, independent of the number of workers."""
        return len(self._groups)

    @property
    def steps(self) -> int:
        """Number of frames of the longest strand."""
        return max(strand.end - strand.first for strand in self._strands)

    def run(
        self, workers: Workers, state: State | None = None, frames_done: int = 0
    ) -> Iterator[tuple[int, list[Piece], State]]:
        """Build all frames.

        Parameters
        ----------
        workers : Workers
            Workers of a :class:`backmap.inference.temporal_job.TemporalJob`.
        state : dict of str to ndarray, optional
            State that was yielded together with ``frames_done``.
        frames_done : int
            Number of frames of each strand that were built before.

        Yields
        ------
        frames_done : int
            Number of frames of each strand that are built now.
        pieces : list of Piece
            One per strand; empty for strands that have ended.
        state : dict of str to ndarray
            State for the remaining frames.

        Raises
        ------
        InputError
            If the beads of a frame are not finite, are too far apart for a whole molecule, or lie outside the
            model's grid.
        """
        moving = [
            read_ahead(self._roll(workers, group, _entries(state, group), frames_done))
            for group in self._groups
        ]
        latest: list[State] = [_entries(state, group) or {} for group in self._groups]
        for results in zip_longest(*moving):
            frames_done = min(self.steps, frames_done + self._chunk)
            pieces: list[Piece] = []
            for number, result in enumerate(results):
                if result is None:
                    pieces += [self._nothing] * len(self._groups[number])
                else:
                    built, latest[number] = result
                    pieces += built
            state = {name: np.concatenate([part[name] for part in latest]) for name in latest[0]}
            yield frames_done, pieces, state

    @property
    def _nothing(self) -> Piece:
        atoms = np.empty((1, 0, self._model.molecule.n_atoms, 3), dtype=np.float32)
        return Piece(_ended(self._model), RolledFrames(atoms, np.empty((0, 3))), np.empty(0, dtype=bool))

    def _roll(
        self, workers: Workers, group: Sequence[int], state: State | None, frames_done: int
    ) -> Iterator[tuple[list[Piece], State]]:
        """Roll out the strands of one group."""
        strands = [self._strands[number] for number in group]
        readers = [self._read(strand, frames_done) for strand in strands]
        trajectories = tuple(strand.trajectory for strand in strands)
        while True:
            chunks = [next(reader, _ended(self._model)) for reader in readers]
            if not any(chunk.looked_at for chunk in chunks):
                return
            beads, numbers = [chunk.coordinates for chunk in chunks], [chunk.numbers for chunk in chunks]
            rolled, state = workers.submit(trajectories, state, beads, numbers).result()
            kept = [
                chunk.numbers >= self._sources[strand.trajectory].numbers[strand.begin]
                for chunk, strand in zip(chunks, strands, strict=True)
            ]
            yield [Piece(*piece) for piece in zip(chunks, rolled, kept, strict=True)], state

    def _read(self, strand: Strand, frames_done: int) -> Iterator[FrameChunk]:
        """Read the rest of a strand, and check that its molecule is whole."""
        source = self._sources[strand.trajectory]
        check = BeadCheck(source, self._model)
        first = strand.first + frames_done
        if first >= source.n_frames:
            return
        chunks = source.chunks(self._chunk, first)
        if strand.end < source.n_frames:
            chunks = _until(chunks, strand.end - first)
        try:
            for chunk in chunks:
                check(chunk)
                yield chunk
        except InputEndsEarly as failure:
            self.failures.append(failure)


def _ended(model: TemporalModel) -> FrameChunk:
    return FrameChunk(
        coordinates=np.empty((0, model.mapping.n_beads, 3)),
        numbers=np.empty(0, dtype=np.int64),
        first_frame=0,
        covered=range(0),
    )


def _entries(state: State | None, group: Sequence[int]) -> State | None:
    return None if not state else {name: values[group] for name, values in state.items()}


def _until(chunks: Iterable[FrameChunk], frames: int) -> Iterator[FrameChunk]:
    """Yield chunks up to this number of frames."""
    if frames <= 0:
        return
    for chunk in chunks:
        yield chunk if chunk.looked_at <= frames else chunk.cut(frames)
        frames -= chunk.looked_at
        if frames <= 0:
            return


def to_step(pieces: Sequence[Piece], layout: OutputLayout, progress: Progress, samples: int) -> Step:
    """Convert pieces, one per strand, to a step of the recorder.

    Parameters
    ----------
    pieces : sequence of Piece
        One per strand.
    layout : OutputLayout
        How frames are written.
    progress : Progress
        Progress of the run after these pieces.
    samples : int
        Samples per strand.
    """
    written: list[tuple[int, Frames]] = []
    for strand, piece in enumerate(pieces):
        if piece.kept.any():
            first = strand * layout.files(samples)
            written += enumerate(layout.frames(piece.rolled.coordinates, piece.chunk, piece.kept), first)
    return Step(progress, written, samples * sum(int(piece.kept.sum()) for piece in pieces))


def tally_by_trajectory(state: State, strands: Sequence[Strand], trajectories: int) -> Tally:
    """Sum the counts of the monitor over the strands of each trajectory."""
    total = Tally.empty(trajectories)
    for number, strand in enumerate(strands):
        for name in ("frames", "redraws", "reseeds", "unphysical", "residual_sum"):
            getattr(total, name)[strand.trajectory] += state[name][number]
        largest = total.largest_residual
        largest[strand.trajectory] = max(largest[strand.trajectory], state["largest_residual"][number])
    return total


def describe_tally(tally: Tally, names: Sequence[str]) -> list[dict[str, object]]:
    """Return the counts of the monitor per trajectory, as JSON values."""
    return [
        {
            "trajectory": name,
            "frames": int(tally.frames[index]),
            "redraws": int(tally.redraws[index]),
            "reseeds": int(tally.reseeds[index]),
            "unphysical": int(tally.unphysical[index]),
            "mean_residual_nm": float(tally.mean_residual[index]),
            "largest_residual_nm": float(tally.largest_residual[index]),
        }
        for index, name in enumerate(names)
    ]
