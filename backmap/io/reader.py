"""Open any structure or trajectory as a stream of frames with the protein's topology."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from backmap.chemistry import SLOT_CA
from backmap.errors import InputError

from .coordinate_checks import check_positions, check_unit, warn_of_breaks
from .naming import INPUT_SUFFIXES, STRUCTURE_SUFFIXES, TOPOLOGY_SUFFIXES, require_suffix, suffix_of
from .protein_selection import ProteinSelection, select_protein
from .structure_file import RawFrames, StructureFile
from .trajectory_file import (
    LoadedTrajectory,
    StreamedTrajectory,
    TopologyFile,
    open_trajectory,
    residue_records,
)

if TYPE_CHECKING:
    import mdtraj

FrameFile = StructureFile | StreamedTrajectory | LoadedTrajectory

FRAMES_LOOKED_AT = 100
"""Unit and chain breaks are judged by this many frames at the start."""

_FRAMES_PER_LOOK = 25


@dataclass(frozen=True)
class FrameChunk:
    """Some consecutive frames.

    Parameters
    ----------
    first_frame : int
        Number of the first of them, counted from 0 after the stride.
    coordinates : ndarray, (frames, residues, 15, 3) float, or (frames, beads, 3)
        Positions in nm, NaN where an atom is missing.
    time : ndarray, (frames,), optional
        Time in ps.
    unitcell_vectors : ndarray, (frames, 3, 3), optional
        Box vectors in nm.
    """

    first_frame: int
    coordinates: np.ndarray
    time: np.ndarray | None = None
    unitcell_vectors: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.coordinates)

    def __getitem__(self, kept: slice) -> FrameChunk:
        """Give some consecutive frames."""
        return FrameChunk(
            self.first_frame + kept.indices(len(self))[0],
            self.coordinates[kept],
            None if self.time is None else self.time[kept],
            None if self.unitcell_vectors is None else self.unitcell_vectors[kept],
        )


def joined(chunks: Sequence[FrameChunk]) -> FrameChunk:
    """Join consecutive chunks."""
    if len(chunks) == 1:
        return chunks[0]

    def together(parts: list[np.ndarray | None]) -> np.ndarray | None:
        return None if any(part is None for part in parts) else np.concatenate(parts)

    return FrameChunk(
        chunks[0].first_frame,
        np.concatenate([chunk.coordinates for chunk in chunks]),
        together([chunk.time for chunk in chunks]),
        together([chunk.unitcell_vectors for chunk in chunks]),
    )


class Source:
    """An opened structure or trajectory. Made by :func:`open_source`.

    Attributes
    ----------
    name : str
        Its name, for messages.
    topology : Topology
        Residues of the protein.
    present : ndarray, (residues, 15) bool
        Atoms that the file has.
    files : tuple of Path
        The files it is read from.
    """

    def __init__(
        self,
        name: str,
        frames_file: FrameFile,
        selection: ProteinSelection,
        *,
        stride: int,
        files: tuple[Path, ...],
    ) -> None:
        self.name = name
        self.files = files
        self.topology = selection.topology
        self.present = selection.present
        self._atom_index = selection.atom_index[selection.present]
        self._file = frames_file
        self._stride = stride

    @cached_property
    def frames(self) -> int:
        """Number of frames after the stride."""
        return -(-self._file.frames // self._stride)

    @cached_property
    def linked(self) -> np.ndarray:
        """(residues,) bool: bonded to the next residue, judged by the first frames."""
        return self.topology.linked(self._first_c_alphas)

    def chunks(self, frames_per_chunk: int) -> Iterator[FrameChunk]:
        """Read all frames, at most so many at a time, checking every position.

        Raises
        ------
        InputError
            If a coordinate is no finite number or two C-alphas lie in one place.
        """
        for first_frame, raw in every_nth(self._file, self._stride, frames_per_chunk):
            chunk = self._chunk(raw, first_frame)
            first_in_file = first_frame * self._stride
            check_positions(chunk.coordinates, self.present, self.topology, first_in_file, self.name)
            yield chunk

    def check(self) -> None:
        """Look at the first frames: refuse a wrong unit or damaged positions, warn of chain breaks."""
        c_alpha, file = self._first_c_alphas, self.name
        if not len(c_alpha):
            raise InputError(f"{file}: holds no frames")
        check_unit(c_alpha, self.topology, file)
        warn_of_breaks(self.linked, c_alpha, self.topology, file)

    @cached_property
    def _first_c_alphas(self) -> np.ndarray:
        """(frames, residues, 3) C-alpha positions in nm of up to ``FRAMES_LOOKED_AT`` frames."""
        looked_at: list[np.ndarray] = []
        for chunk in self.chunks(_FRAMES_PER_LOOK):
            looked_at.append(chunk.coordinates[:, :, SLOT_CA])
            if sum(len(c_alpha) for c_alpha in looked_at) >= FRAMES_LOOKED_AT:
                break
        return (
            np.concatenate(looked_at)[:FRAMES_LOOKED_AT]
            if looked_at
            else np.empty((0, self.topology.residues, 3))
        )

    def _chunk(self, raw: RawFrames, first_frame: int) -> FrameChunk:
        positions = raw.coordinates
        coordinates = np.full((len(positions), *self.present.shape, 3), np.nan, dtype=positions.dtype)
        coordinates[:, self.present] = positions[:, self._atom_index]
        return FrameChunk(first_frame, coordinates, raw.time, raw.unitcell_vectors)


def every_nth(
    file: FrameFile, stride: int, frames_per_chunk: int, first_frame: int = 0
) -> Iterator[tuple[int, RawFrames]]:
    """Read every so many frames, at most so many at a time, each piece with the number of its first frame.

    Numbers count from 0 after the stride; frames before ``first_frame`` are passed over.
    """
    first_in_file = 0
    for raw in file.read(frames_per_chunk * stride):
        start = max(first_in_file + -first_in_file % stride, first_frame * stride)
        kept = raw[start - first_in_file :: stride] if start < first_in_file + len(raw.coordinates) else None
        if kept is not None:
            yield start // stride, kept
        first_in_file += len(raw.coordinates)


def open_source(
    path: str | Path, top: str | Path | None = None, *, skip_unknown: bool = False, stride: int = 1
) -> Source:
    """Open a structure or trajectory.

    Parameters
    ----------
    path : path
        PDB, mmCIF, or any trajectory mdtraj reads; ``.gz`` too where it is text.
    top : path, optional
        Topology, for trajectories that hold coordinates alone.
    skip_unknown : bool
        Leave out residues that cannot be built, with a warning, instead of refusing the file.
    stride : int
        Read only every so many frames.

    Returns
    -------
    Source
        Topology at once, frames on demand in constant memory (a PDB file one model at a time, mmCIF whole).

    Raises
    ------
    InputError
        If the file cannot be used, saying why and what to do.

    Warns
    -----
    InputWarning
        Of residues passed over or left out, and of chain breaks.
    """
    opened = open_files(path, top)
    selection = select_protein(opened.names.residues, file=str(opened.files[-1]), skip_unknown=skip_unknown)
    if opened.frames.atoms == selection.topology.residues:
        opened.require_same_atoms(
            "it seems to hold the C-alphas alone: give a topology of the C-alphas alone"
        )
    opened.require_same_atoms("give the topology it was written with")
    source = Source(str(path), opened.frames, selection, stride=stride, files=opened.files)
    source.check()
    return source


def source_from_mdtraj(trajectory: mdtraj.Trajectory, *, skip_unknown: bool = False) -> Source:
    """Take an mdtraj trajectory in memory as :func:`open_source` takes a file."""
    name = "the trajectory"
    selection = select_protein(residue_records(trajectory.topology), file=name, skip_unknown=skip_unknown)
    source = Source(name, LoadedTrajectory(trajectory), selection, stride=1, files=())
    source.check()
    return source


def require_file(path: str | Path) -> Path:
    """Give a path back if it is a readable file with something in it, or say what is wrong with it."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file; check the name")
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if empty:
        raise InputError(f"{path}: is empty; make or copy it again")
    return path


@dataclass(frozen=True)
class OpenedFiles:
    """A file of frames and what names its atoms. ``files`` are their paths, one where they are the same."""

    frames: FrameFile
    names: StructureFile | TopologyFile
    files: tuple[Path, ...]

    def require_same_atoms(self, remedy: str) -> None:
        """Refuse a topology of another number of atoms than the frames have."""
        if self.frames.atoms != self.names.atoms:
            path, top = self.files
            raise InputError(
                f"{path}: has {self.frames.atoms} atoms, "
                f"but its topology {top} has {self.names.atoms}; {remedy}"
            )


def open_files(path: str | Path, top: str | Path | None = None) -> OpenedFiles:
    """Open a structure or trajectory and its topology, or say which of them is missing."""
    path = require_file(path)
    suffix = require_suffix(path, INPUT_SUFFIXES, "input")
    if top is not None:
        top = require_file(top)
        require_suffix(top, TOPOLOGY_SUFFIXES, "topology")
    elif suffix not in TOPOLOGY_SUFFIXES:
        raise InputError(
            f"{path}: holds coordinates but no residue names; give its topology (a PDB file, say) with --top"
        )
    names = _open_names(path if top is None else top)
    is_both = top is None and isinstance(names, StructureFile)
    frames = names if is_both else _open_frames(path, names.atoms)
    return OpenedFiles(frames, names, (path,) if top is None else (path, top))


def _open_names(path: Path) -> StructureFile | TopologyFile:
    return StructureFile(path) if suffix_of(path) in STRUCTURE_SUFFIXES else TopologyFile(path)


def _open_frames(path: Path, expected_atoms: int) -> FrameFile:
    if suffix_of(path) in STRUCTURE_SUFFIXES:
        return StructureFile(path)
    return open_trajectory(path, expected_atoms)
