"""From files to a temporal model's frames and back to files: what stands behind ``backmap reconstruct``."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from backmap.errors import InputError
from backmap.inference.along_time import AlongTime, RolledFrames, Tally, frames_per_chunk
from backmap.inference.refinement import Refinement, RefinementConfig
from backmap.io import (
    AtomList,
    BeadSource,
    FrameChunk,
    Journal,
    StagedFiles,
    create_writer,
    manifest_path,
    read_molecule,
    sample_paths,
    unfinished_path,
)
from backmap.io.coordinate_checks import wrong_unit
from backmap.io.naming import OUTPUT_SUFFIXES, stem_of, suffix_of
from backmap.io.staging import explain_writing
from backmap.io.writer import finishing, output_files, require_output_format

if TYPE_CHECKING:
    from backmap.models.temporal.model import TemporalModel

SEED_FRAMES = 5_000
"""Of a trajectory to start from, so many frames are kept, evenly spaced."""

OUTPUTS_AT_ONCE = 64
"""Files written side by side: there is a limit to how many may be open."""

_OTHER_FILES = 200
"""Libraries, pipes, the journal, and a file of names beside every output."""

_USUAL_SIZE = (0.4, 2.5)
"""Lengths are this many times those of the model's most similar frame, whatever the molecule does."""


@dataclass(frozen=True)
class Outputs:
    """Where the frames of a rollout go.

    Parameters
    ----------
    paths : list of list of Path
        One file for each trajectory (outer list) and sample (inner).
    record : Path
        How they were made.
    unfinished : Path
        The folder that keeps what is done until they are whole.
    """

    paths: list[list[Path]]
    record: Path
    unfinished: Path

    @classmethod
    def plan(
        cls, output: str | PathLike[str], inputs: Sequence[str | PathLike[str]], samples: int
    ) -> Outputs:
        """Name the outputs: one file of one input, a folder with the names and formats of several.

        Raises
        ------
        InputError
            If a format cannot be written or two files would have one name.
        """
        output = Path(output)
        if len(inputs) == 1:
            require_output_format(output)
            return cls([sample_paths(output, samples)], manifest_path(output), unfinished_path(output))
        with explain_writing(output):
            output.mkdir(exist_ok=True)
        names = [_output_name(Path(given)) for given in inputs]
        for name in names:
            if names.count(name) > 1:
                raise InputError(f"{output / name}: two inputs would give this output; rename one of them")
        paths = [sample_paths(output / name, samples) for name in names]
        return cls(paths, output / "rollout.backmap.json", output / "rollout.partial")

    def all_files(self, atoms: AtomList) -> list[Path]:
        """List every file that will appear."""
        return [self.record, *(file for path in sum(self.paths, []) for file in output_files(path, atoms))]


def _output_name(given: Path) -> str:
    """Name the output of one of several inputs: its own name, as DCD where its format cannot be written."""
    return given.name if suffix_of(given) in OUTPUT_SUFFIXES else stem_of(given) + ".dcd"


def allow_open_files(inputs: int) -> None:
    """Let the process hold so many inputs open side by side, as far as the system permits."""
    needed = inputs + OUTPUTS_AT_ONCE + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise InputError(
            f"{inputs} inputs side by side need {needed} open files, the system allows {hard}; "
            "give fewer at a time"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def use_seeds(model: TemporalModel, path: str | PathLike[str]) -> None:
    """Let a model start from the frames of a trajectory instead of those it was shipped with.

    Parameters
    ----------
    model : TemporalModel
        The model, which is changed.
    path : path
        Structure or trajectory of all atoms of its molecule.
    """
    frames = read_molecule(Path(path), model.molecule)
    window = model.previous_frames + 1
    if len(frames) < window:
        raise InputError(f"{path}: has {len(frames)} frames, but the model starts from {window} in a row")
    starts = np.unique(np.linspace(0, len(frames) - window, SEED_FRAMES).astype(np.int64))
    windows = frames[starts[:, None] + np.arange(window)]
    model.library = torch.from_numpy(windows).to(model.library.device)


def make_refinement(
    model: TemporalModel, name: str | PathLike[str], steps: int, temperature_kelvin: float | None
) -> Refinement | None:
    """Make the refinement of a model's frames, by the force field it holds.

    Parameters
    ----------
    model : TemporalModel
        Where its force field and temperature come from.
    name : str or path
        What the user calls the model.
    steps : int
        0 for none.
    temperature_kelvin : float, optional
        Instead of that of the training data.

    Raises
    ------
    InputError
        If the model holds no force field, or its beads are no atoms.
    """
    if not steps:
        if temperature_kelvin is not None:
            raise InputError(
                f"a temperature ({temperature_kelvin:g} K) has a meaning for refined frames alone"
            )
        return None
    if model.force_field is None:
        raise InputError(
            f"{name}: holds no force field to refine frames with; "
            "train the model with a table [energy] that names one"
        )
    if model.mapping.bead_atoms is None:
        raise InputError(f"{name}: its beads are means of atoms, and only beads that are atoms can be held")
    temperature = model.config.temperature_kelvin if temperature_kelvin is None else temperature_kelvin
    config = RefinementConfig(
        steps=steps,
        temperature_kelvin=temperature,
        noise=model.config.refined_noise,
        draws=model.config.refined_draws,
    )
    device = next(model.buffers()).device
    return Refinement(model.force_field, list(model.mapping.bead_atoms), model.library[:, -1], config, device)


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


def _require_whole(chunk: FrameChunk, source: BeadSource, usual: float) -> None:
    """Refuse frames whose beads lie much further apart than the usual spread."""
    spread = _spread(chunk.coordinates)
    for frame in np.flatnonzero(spread > _USUAL_SIZE[1] * usual)[:1]:
        raise InputError(
            f"{source.name}: frame {chunk.numbers[frame] + 1}: its beads lie "
            f"{spread[frame]:.3g} nm from their centre instead of about {usual:.3g} nm; "
            "if the molecule is broken across the periodic box, make it whole first"
        )


def _require_enclosed(chunk: FrameChunk, source: BeadSource, reach: float) -> None:
    """Refuse frames whose beads do not fit the model's grid."""
    centred = chunk.coordinates - chunk.coordinates.mean(axis=1, keepdims=True)
    radius = np.linalg.norm(centred, axis=-1).max(axis=1, initial=0.0)
    for frame in np.flatnonzero(radius > reach)[:1]:
        raise InputError(
            f"{source.name}: frame {chunk.numbers[frame] + 1}: its beads reach "
            f"{radius[frame]:.3g} nm from their centre, outside the model's grid of {2 * reach:.3g} nm; "
            "train a model with a wider grid"
        )


def roll_out(
    roller: AlongTime, sources: Sequence[BeadSource], first_frame: int = 0
) -> Iterator[list[tuple[FrameChunk, RolledFrames]]]:
    """Build all atoms of all trajectories, some frames at a time, in constant memory.

    Parameters
    ----------
    roller : AlongTime
        The model, with the state after ``first_frame`` frames.
    sources : sequence of BeadSource
        The trajectories, read side by side; they may be of different lengths.
    first_frame : int
        Where to begin.

    Yields
    ------
    list of (FrameChunk, RolledFrames)
        One a trajectory: the frames read, and with all atoms. Both are empty after its end.

    Raises
    ------
    InputError
        If a frame's beads are no numbers, lie so far apart that the molecule cannot be whole, or outside the
        model's grid.
    """
    rows = len(sources) * roller.samples
    frames = frames_per_chunk(rows, roller.model.molecule.atoms)
    readers = [source.chunks(frames, first_frame) for source in sources]
    usual = [_spread(_like(source.first_frames(1).coordinates[0], roller.model)) for source in sources]
    ended = FrameChunk(0, np.empty((0, roller.model.mapping.beads, 3)), np.empty(0, np.int64), range(0))
    while True:
        chunks = [next(reader, ended) for reader in readers]
        if not any(map(len, chunks)):
            return
        for chunk, source, spread in zip(chunks, sources, usual, strict=True):
            _require_whole(chunk, source, spread)
            _require_enclosed(chunk, source, roller.model.reach_nm)
        rolled = roller.reconstruct([chunk.coordinates for chunk in chunks])
        yield list(zip(chunks, rolled, strict=True))


def roll_into_journal(
    roller: AlongTime, sources: Sequence[BeadSource], journal: Journal, progress: Callable[[int], object]
) -> None:
    """Build all frames that a journal does not hold yet, and put them there with the state after them.

    ``progress`` is told how many frames of all trajectories and samples were added.
    """
    if journal.frames_done:
        roller.restore(journal.last("state."))
    for pieces in roll_out(roller, sources, journal.frames_done):
        arrays = {f"state.{name}": value for name, value in roller.state.items()}
        for index, (chunk, rolled) in enumerate(pieces):
            if not len(chunk):
                continue
            arrays |= {f"atoms.{index}": rolled.atoms, f"origin.{index}": rolled.origin}
            for name, value in (("time", chunk.time), ("box", chunk.unitcell_vectors)):
                if value is not None:
                    arrays[f"{name}.{index}"] = value
        journal.append(arrays, journal.frames_done + max(len(chunk) for chunk, _ in pieces))
        progress(roller.samples * sum(len(chunk) for chunk, _ in pieces))


def write_from_journal(
    journal: Journal, files: StagedFiles, atoms: AtomList, paths: Sequence[Sequence[Path]]
) -> None:
    """Write what a journal holds: one file for each trajectory (outer sequence) and sample (inner)."""
    outputs = [
        (trajectory, sample, path)
        for trajectory, samples in enumerate(paths)
        for sample, path in enumerate(samples)
    ]
    for first in range(0, len(outputs), OUTPUTS_AT_ONCE):
        group = outputs[first : first + OUTPUTS_AT_ONCE]
        with finishing([create_writer(files, path, atoms) for *_, path in group]) as writers:
            for piece in journal.pieces():
                for (trajectory, sample, _), writer in zip(group, writers, strict=True):
                    if f"atoms.{trajectory}" not in piece:
                        continue
                    rolled = RolledFrames(
                        piece.row(f"atoms.{trajectory}", sample)[None], piece[f"origin.{trajectory}"]
                    )
                    extras = (
                        piece[name] if name in piece else None
                        for name in (f"time.{trajectory}", f"box.{trajectory}")
                    )
                    writer.write(rolled.coordinates[0], *extras)


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
