"""Open any structure or trajectory as a stream of frames with the beads of a molecule."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backmap.chemistry import LinearMapping, Molecule
from backmap.errors import InputError, InputWarning

from .bead_selection import BeadSelection, bare_atoms, bare_beads, describe_beads, select_atoms, select_beads
from .naming import INPUT_SUFFIXES, TOPOLOGY_SUFFIXES, require_suffix
from .reader import FrameChunk, FrameFile, every_nth, joined, open_files, require_file
from .trajectory_file import LoadedTrajectory, open_trajectory, residue_records
from .whole_trajectory import header_interval, holds_times

if TYPE_CHECKING:
    import mdtraj

_SAME_INTERVAL = 1e-3


class BeadSource:
    """An opened structure or trajectory of a molecule's beads. Made by :func:`open_beads`.

    Attributes
    ----------
    name : str
        Its name, for messages.
    files : tuple of Path
        The files it is read from.
    stride : int
        Every so many frames of the file are read.
    """

    def __init__(
        self,
        name: str,
        frames_file: FrameFile,
        selection: BeadSelection,
        *,
        stride: int,
        files: tuple[Path, ...],
        timed: bool,
        interval_ps: float | None = None,
    ) -> None:
        self.name = name
        self.files = files
        self.stride = stride
        self._file = frames_file
        self._selection = selection
        self._timed = timed
        self._interval_ps = interval_ps
        if not self.frames:
            raise InputError(f"{name}: holds no frames")

    @cached_property
    def frames(self) -> int:
        """Number of frames after the stride."""
        return -(-self._file.frames // self.stride)

    def chunks(self, frames_per_chunk: int, first_frame: int = 0) -> Iterator[FrameChunk]:
        """Read the frames from a number on, so many at a time and what is left at the end.

        Coordinates are (frames, beads, 3) float64 in nm.

        Raises
        ------
        InputError
            If a coordinate is no finite number.
        """
        waiting: list[FrameChunk] = []
        for first, raw in every_nth(self._file, self.stride, frames_per_chunk, first_frame):
            positions = np.asarray(raw.coordinates[:, self._selection.atom_index], dtype=np.float64)
            self._require_finite(positions, first)
            beads = self._selection.weights @ positions
            waiting.append(FrameChunk(first, beads, raw.time, raw.unitcell_vectors))
            whole = joined(waiting)
            while len(whole) >= frames_per_chunk:
                yield whole[:frames_per_chunk]
                whole = whole[frames_per_chunk:]
            waiting = [whole]
        if waiting and len(waiting[0]):
            yield waiting[0]

    def warn_of_interval(self, expected_ps: float) -> None:
        """Warn if the frames are further apart in time, or closer, than those of a model's training."""
        if self.frames < 2:
            return
        if self._interval_ps is not None:
            interval = self.stride * self._interval_ps
        elif self._timed:
            first = next(self.chunks(2))
            interval = float(first.time[1] - first.time[0])
        else:
            if self.stride > 1:
                self._warn(
                    f"holds no times; with a stride of {self.stride} its frames must be "
                    f"{expected_ps / self.stride:g} ps apart for this model"
                )
            return
        if abs(interval - expected_ps) > _SAME_INTERVAL * expected_ps:
            after = f" after a stride of {self.stride}" if self.stride > 1 else ""
            self._warn(
                f"frames are {interval:g} ps apart{after}, but the model was trained on frames "
                f"{expected_ps:g} ps apart; its atoms will move too fast or too slowly"
            )

    def _warn(self, message: str) -> None:
        warnings.warn(f"{self.name}: {message}", InputWarning, stacklevel=3)

    def _require_finite(self, positions: np.ndarray, first_frame: int) -> None:
        bad = ~np.isfinite(positions).all(axis=-1)
        if bad.any():
            frame, atom = np.argwhere(bad)[0]
            number = (first_frame + frame) * self.stride + 1
            raise InputError(
                f"{self.name}: frame {number}, {self._selection.labels[atom]}: "
                "a coordinate is not a finite number; leave that frame out or repair the file"
            )


def open_beads(
    path: str | Path,
    molecule: Molecule,
    mapping: LinearMapping,
    top: str | Path | None = None,
    *,
    stride: int = 1,
) -> BeadSource:
    """Open a structure or trajectory that holds the beads of a molecule, or the atoms they are made of.

    Parameters
    ----------
    path : path
        PDB, mmCIF, or any trajectory mdtraj reads; ``.gz`` too where it is text.
    molecule : Molecule
        The molecule. Its atoms are found by the names of residues and atoms among any others, water say.
    mapping : LinearMapping
        Its beads. A file of nothing but beads has them in this order.
    top : path, optional
        Topology, for trajectories that hold coordinates alone. Without one, the number of atoms tells whether
        they are the beads or all atoms of the molecule.
    stride : int
        Read only every so many frames.

    Raises
    ------
    InputError
        If the file cannot be used, saying what was expected and what was found.

    Warns
    -----
    InputWarning
        Of a file taken to hold the beads or the molecule by its number of atoms alone.
    """
    path = require_file(path)
    suffix = require_suffix(path, INPUT_SUFFIXES, "input")
    times = {"timed": holds_times(path), "interval_ps": header_interval(path)}
    if top is None and suffix not in TOPOLOGY_SUFFIXES:
        frames = open_trajectory(path, mapping.beads)
        selection = _select_by_number(path, frames.atoms, molecule, mapping)
        return BeadSource(str(path), frames, selection, stride=stride, files=(path,), **times)
    opened = open_files(path, top)
    if opened.frames.atoms == mapping.beads:
        opened.require_same_atoms("it seems to hold the beads alone: leave out the topology")
    opened.require_same_atoms("give the topology it was written with")
    selection = select_beads(opened.names.residues, molecule, mapping, file=str(opened.files[-1]))
    return BeadSource(str(path), opened.frames, selection, stride=stride, files=opened.files, **times)


def beads_from_mdtraj(
    trajectory: mdtraj.Trajectory, molecule: Molecule, mapping: LinearMapping
) -> BeadSource:
    """Take an mdtraj trajectory in memory as :func:`open_beads` takes a file."""
    name = "the trajectory"
    selection = select_beads(residue_records(trajectory.topology), molecule, mapping, file=name)
    timed = not np.array_equal(
        trajectory.time, np.arange(trajectory.n_frames)
    )  # mdtraj counts where it knows none
    return BeadSource(name, LoadedTrajectory(trajectory), selection, stride=1, files=(), timed=timed)


def read_molecule(path: str | Path, molecule: Molecule) -> np.ndarray:
    """Read a whole trajectory of all atoms of a molecule.

    Parameters
    ----------
    path : path
        A file that names its atoms, or one of coordinates alone in the order of the molecule.
    molecule : Molecule
        The molecule; other atoms of the file are left out.

    Returns
    -------
    ndarray, (frames, atoms, 3) float32
        Positions in nm.

    Raises
    ------
    InputError
        If the file does not hold the molecule once, or a coordinate is no finite number.
    """
    path = require_file(path)
    everything = LinearMapping.from_atoms(range(molecule.atoms), molecule)
    if require_suffix(path, INPUT_SUFFIXES, "input") in TOPOLOGY_SUFFIXES:
        opened = open_files(path)
        index = select_atoms(opened.names.residues, molecule, file=str(path))
        selection = BeadSelection(index, everything.weights, bare_atoms(molecule, everything).labels)
        frames = opened.frames
    else:
        frames = open_trajectory(path, molecule.atoms)
        selection = bare_atoms(molecule, everything)
        if frames.atoms != molecule.atoms:
            raise InputError(
                f"{path}: expected the {molecule.atoms} atoms of the model's molecule; found {frames.atoms}"
            )
    source = BeadSource(str(path), frames, selection, stride=1, files=(path,), timed=False)
    return np.concatenate([chunk.coordinates.astype(np.float32) for chunk in source.chunks(10_000)])


def _select_by_number(path: Path, atoms: int, molecule: Molecule, mapping: LinearMapping) -> BeadSelection:
    if atoms == mapping.beads:
        meaning, selection = f"the model's {describe_beads(mapping)}", bare_beads(mapping)
    elif atoms == molecule.atoms:
        meaning, selection = f"the {atoms} atoms of the model's molecule", bare_atoms(molecule, mapping)
    else:
        raise InputError(
            f"{path}: holds coordinates of {atoms} atoms and no names; expected the model's "
            f"{describe_beads(mapping)}, the {molecule.atoms} atoms of its molecule, or a topology with --top"
        )
    warnings.warn(
        f"{path}: holds no names; taken to be {meaning} in this order (--top with a topology makes sure)",
        InputWarning,
        stacklevel=3,
    )
    return selection
