"""Trajectories whose frames follow each other: from streams of beads to streams of all atoms."""

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
from backmap.io.coordinate_checks import wrong_unit

from .layout import Layout
from .read_ahead import read_ahead
from .recorder import Step

if TYPE_CHECKING:
    from backmap.models.temporal.model import TemporalModel

SEED_FRAMES = 5_000
"""Of a trajectory to start from, so many frames are kept, evenly spaced."""

ROWS_PER_GROUP = {"cpu": 64, "cuda": 4096}
"""Trajectories and samples built in one batch: enough to fill a processor, few enough to share."""

_OTHER_FILES = 200
"""Libraries, pipes, the journal and what is being written."""

_USUAL_SIZE = (0.4, 2.5)
"""Lengths are this many times those of the model's most similar frame, whatever the molecule does."""


def allow_open_files(inputs: int) -> None:
    """Let the process hold so many inputs open side by side, as far as the system permits."""
    needed = inputs + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise InputError(
            f"{inputs} inputs side by side need {needed} open files, the system allows {hard}; "
            "give fewer at a time"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def read_library(model: TemporalModel, path: str | PathLike[str]) -> np.ndarray:
    """Read frames for a model to start from, instead of those it was shipped with.

    Parameters
    ----------
    model : TemporalModel
        The model.
    path : path
        Structure or trajectory of all atoms of its molecule.

    Returns
    -------
    ndarray, (windows, frames, atoms, 3) float32
        Successive frames, as many as the model needs, in nm.
    """
    frames = read_molecule(Path(path), model.molecule)
    window = model.previous_frames + 1
    if len(frames) < window:
        raise InputError(f"{path}: has {len(frames)} frames, but the model starts from {window} in a row")
    starts = np.unique(np.linspace(0, len(frames) - window, SEED_FRAMES).astype(np.int64))
    return frames[starts[:, None] + np.arange(window)]


def check_source(source: BeadSource, model: TemporalModel) -> None:
    """Refuse another unit of length than nm, and warn of another time between frames than in training."""
    _check_unit(source, model)
    source.warn_of_interval(model.frame_interval_ps)


def _check_unit(source: BeadSource, model: TemporalModel) -> None:
    """Judge the unit of length by the distances of successive beads in the model's own frames."""
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
    """Beads (beads, 3) of the model's own frame that is most like the given ones."""
    near = torch.from_numpy((beads - beads[:1]).astype(np.float32)[None])
    seed = model.seed_frames(near.to(next(model.buffers()).device))
    return model.mapping.apply(seed[0, -1].cpu().numpy())


def _neighbour_distance(beads: np.ndarray) -> float:
    """Median distance of successive beads, which hardly changes where one is on the wrong side of a box."""
    return float(np.median(np.linalg.norm(np.diff(beads, axis=0), axis=-1)))


def _spread(beads: np.ndarray) -> np.ndarray:
    """Root-mean-square distance (...) of beads (..., beads, 3) from their centre."""
    return np.sqrt(((beads - beads.mean(axis=-2, keepdims=True)) ** 2).sum(axis=-1).mean(axis=-1))


class BeadCheck:
    """Refuses frames whose beads cannot be those of a whole molecule in the model's reach.

    Parameters
    ----------
    source : BeadSource
        Whose first frame says how far its beads are spread.
    model : TemporalModel
        What the frames are for.
    """

    def __init__(self, source: BeadSource, model: TemporalModel) -> None:
        self._name = source.name
        self._usual_nm = float(_spread(_like(source.first_frames(1).coordinates[0], model)))
        self._reach_nm = model.reach_nm

    def __call__(self, chunk: FrameChunk) -> None:
        """Look at frames."""
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
                "train a model with a wider grid"
            )


@dataclass(frozen=True)
class Strand:
    """A run of frames that is rolled out without a break: a whole trajectory, or a segment of one.

    Parameters
    ----------
    trajectory : int
        Which.
    first : int
        Place of its first frame among those selected of the trajectory, from 0.
    begin, end : int
        Frames that are kept. Those before them let the rollout forget how it began.
    """

    trajectory: int
    first: int
    begin: int
    end: int


def plan_strands(lengths: Sequence[int], segments: int = 1, burn_in: int = 0) -> list[Strand]:
    """Cut trajectories into segments that overlap.

    Parameters
    ----------
    lengths : sequence of int
        Frames of each trajectory.
    segments : int
        Of each; fewer where a segment would be shorter than the overlap, or empty.
    burn_in : int
        Frames of overlap: every segment but the first begins so much earlier.
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
        Which of them belong to the strand's output.
    """

    chunk: FrameChunk
    rolled: RolledFrames
    kept: np.ndarray


class Rollout:
    """All strands of a run, rolled out side by side in constant memory.

    Parameters
    ----------
    model : TemporalModel
        What is rolled out, for checks.
    sources : sequence of BeadSource
        The trajectories.
    strands : sequence of Strand
        Their parts.
    samples : int
        Rollouts of each.
    device : torch.device
        Where they are built, which decides how many are built together.
    frames_per_chunk : int, optional
        Frames built before they are handed on; by default as many as take little memory.

    Attributes
    ----------
    failures : list of InputEndsEarly
        What was wrong with trajectories that end in the middle of a frame; their whole frames are built.
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
        self._chunk = frames_per_chunk or default_frames_per_chunk(rows, model.molecule.atoms)

    @property
    def groups(self) -> int:
        """Parts of the work that can be done at once; they do not depend on the number of workers."""
        return len(self._groups)

    @property
    def steps(self) -> int:
        """Frames of the longest strand."""
        return max(strand.end - strand.first for strand in self._strands)

    def run(
        self, workers: Workers, state: State | None = None, frames_done: int = 0
    ) -> Iterator[tuple[int, list[Piece], State]]:
        """Build all frames.

        Parameters
        ----------
        workers : Workers
            Of a :class:`backmap.inference.temporal_job.TemporalJob`.
        state : dict of str to ndarray, optional
            What came with the frames before ``frames_done``.
        frames_done : int
            Frames of each strand that were built before.

        Yields
        ------
        frames_done : int
            Frames of each strand that are built now.
        pieces : list of Piece
            One a strand. Those that have ended are empty.
        state : dict of str to ndarray
            For the frames to come.

        Raises
        ------
        InputError
            If a frame's beads are no numbers, lie so far apart that the molecule cannot be whole, or outside
            the model's grid.
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
        atoms = np.empty((1, 0, self._model.molecule.atoms, 3), dtype=np.float32)
        return Piece(_ended(self._model), RolledFrames(atoms, np.empty((0, 3))), np.empty(0, dtype=bool))

    def _roll(
        self, workers: Workers, group: Sequence[int], state: State | None, frames_done: int
    ) -> Iterator[tuple[list[Piece], State]]:
        """Roll out the strands of one worker."""
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
        """Read what is left of a strand, and look whether the molecule is whole in it."""
        source = self._sources[strand.trajectory]
        check = BeadCheck(source, self._model)
        first = strand.first + frames_done
        if first >= source.frames:
            return
        chunks = source.chunks(self._chunk, first)
        if strand.end < source.frames:
            chunks = _until(chunks, strand.end - first)
        try:
            for chunk in chunks:
                check(chunk)
                yield chunk
        except InputEndsEarly as failure:
            self.failures.append(failure)


def _ended(model: TemporalModel) -> FrameChunk:
    return FrameChunk(
        coordinates=np.empty((0, model.mapping.beads, 3)),
        numbers=np.empty(0, dtype=np.int64),
        first_frame=0,
        covered=range(0),
    )


def _entries(state: State | None, group: Sequence[int]) -> State | None:
    return None if not state else {name: values[group] for name, values in state.items()}


def _until(chunks: Iterable[FrameChunk], frames: int) -> Iterator[FrameChunk]:
    """Give so many frames and no more."""
    if frames <= 0:
        return
    for chunk in chunks:
        yield chunk if chunk.looked_at <= frames else chunk.cut(frames)
        frames -= chunk.looked_at
        if frames <= 0:
            return


def to_step(pieces: Sequence[Piece], layout: Layout, progress: Progress, samples: int) -> Step:
    """Turn pieces, one a strand, into what is written.

    Parameters
    ----------
    pieces : sequence of Piece
        One a strand.
    layout : Layout
        How they are written.
    progress : Progress
        How far the run is with them.
    samples : int
        Of each strand.
    """
    written: list[tuple[int, Frames]] = []
    for strand, piece in enumerate(pieces):
        if piece.kept.any():
            first = strand * layout.files(samples)
            written += enumerate(layout.frames(piece.rolled.coordinates, piece.chunk, piece.kept), first)
    return Step(progress, written, samples * sum(int(piece.kept.sum()) for piece in pieces))


def tally_by_trajectory(state: State, strands: Sequence[Strand], trajectories: int) -> Tally:
    """Sum what the monitor counted over the strands of each trajectory."""
    total = Tally.empty(trajectories)
    for number, strand in enumerate(strands):
        for name in ("frames", "redraws", "reseeds", "unphysical", "residual_sum"):
            getattr(total, name)[strand.trajectory] += state[name][number]
        largest = total.largest_residual
        largest[strand.trajectory] = max(largest[strand.trajectory], state["largest_residual"][number])
    return total


def describe_tally(tally: Tally, names: Sequence[str]) -> list[dict[str, object]]:
    """Say what the monitor counted, trajectory by trajectory, in values that JSON can hold."""
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
