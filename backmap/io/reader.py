"""Open any structure or trajectory as a stream of frames with the protein's topology."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from backmap.chemistry import SLOT_CA
from backmap.chemistry.topology import MAX_LINKED_CA_DISTANCE_NM
from backmap.errors import InputEndsEarly, InputError

from .coordinate_checks import check_unit, refuse_frame, sound_frames, warn_of_breaks
from .disulfide_records import NamedBond, find_named, named_in_topology
from .frame_times import header_interval, holds_times
from .naming import INPUT_SUFFIXES, STRUCTURE_SUFFIXES, TOPOLOGY_SUFFIXES, require_suffix, suffix_of
from .protein_selection import ProteinSelection, select_protein
from .structure_file import RawFrames, StructureFile, joined_where_known
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
class FrameRange:
    """Which frames of a file to read.

    Parameters
    ----------
    begin : int
        Number of the first, from 0.
    end : int, optional
        Number of the first that is not read any more; without it, all to the end of the file.
    stride : int
        Every so many of them.

    Raises
    ------
    InputError
        If they cannot select a frame of any file.
    """

    begin: int = 0
    end: int | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.begin < 0:
            raise InputError(f"frame {self.begin + 1}: frames are counted from 1; begin with one of them")
        if self.end is not None and self.end <= self.begin:
            raise InputError(
                f"frames {self.begin + 1} to {self.end}: are none; do not end before the frame to begin with"
            )
        if self.stride < 1:
            raise InputError(f"stride {self.stride}: read every frame (1) or fewer of them (2 or more)")

    def numbers(self, frames: int) -> range:
        """Numbers from 0 of the selected frames of a file with so many."""
        return range(self.begin, frames if self.end is None else min(self.end, frames), self.stride)


EVERY_FRAME = FrameRange()


@dataclass(frozen=True)
class FrameChunk:
    """Some consecutive frames.

    Parameters
    ----------
    first_frame : int
        Place of the first of them, sound or not, among the selected frames, from 0.
    coordinates : ndarray, (frames, residues, 15, 3) float, or (frames, beads, 3)
        Positions in nm, NaN where an atom is missing.
    numbers : ndarray, (frames,) int64
        Numbers of the frames in the file, from 0.
    covered : range
        Numbers in the file of all frames that the chunk stands for, with the bad ones that were left out.
    time : ndarray, (frames,), optional
        Time in ps.
    unitcell_vectors : ndarray, (frames, 3, 3), optional
        Box vectors in nm.
    step : ndarray, (frames,) int64, optional
        Step of the simulation, where the format has it.
    """

    first_frame: int
    coordinates: np.ndarray
    numbers: np.ndarray
    covered: range
    time: np.ndarray | None = None
    unitcell_vectors: np.ndarray | None = None
    step: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.coordinates)

    def cut(self, looked_at: int) -> FrameChunk:
        """Give what stands for the first so many of its selected frames."""
        covered = self.covered[:looked_at]
        kept = slice(0, int(np.searchsorted(self.numbers, covered.stop)))
        cut = (None if part is None else part[kept] for part in (self.time, self.unitcell_vectors, self.step))
        return FrameChunk(self.first_frame, self.coordinates[kept], self.numbers[kept], covered, *cut)

    @property
    def looked_at(self) -> int:
        """How many selected frames the chunk stands for, those left out included."""
        return len(self.covered)

    @property
    def skipped(self) -> np.ndarray:
        """(left out,) int64 numbers in the file, from 0, of the frames that were left out."""
        return np.setdiff1d(np.asarray(self.covered, dtype=np.int64), self.numbers, assume_unique=True)


def joined(chunks: Sequence[FrameChunk]) -> FrameChunk:
    """Join consecutive chunks."""
    first, last = chunks[0], chunks[-1]
    if first is last:
        return first
    return FrameChunk(
        first.first_frame,
        np.concatenate([chunk.coordinates for chunk in chunks]),
        np.concatenate([chunk.numbers for chunk in chunks]),
        range(first.covered.start, last.covered.stop, first.covered.step),
        joined_where_known([chunk.time for chunk in chunks]),
        joined_where_known([chunk.unitcell_vectors for chunk in chunks]),
        joined_where_known([chunk.step for chunk in chunks]),
    )


class FrameSource(ABC):
    """The selected frames of an opened file.

    Attributes
    ----------
    name : str
        Its name, for messages.
    files : tuple of Path
        The files it is read from.
    frame_range : FrameRange
        Which frames of the file were asked for.
    numbers : range
        Numbers in the file, from 0, of those that there are.
    """

    def __init__(
        self,
        name: str,
        frames_file: FrameFile,
        *,
        frames: FrameRange,
        skip_bad: bool,
        files: tuple[Path, ...],
        timed: bool | None = None,
    ) -> None:
        self.name = name
        self.files = files
        self.frame_range = frames
        self.numbers = frames.numbers(frames_file.frames)
        self._file = frames_file
        self._skip_bad = skip_bad
        self._timed = bool(files) and holds_times(files[0]) if timed is None else timed
        self._header_interval_ps = header_interval(files[0]) if files else None
        if not self.numbers:
            self._refuse_to_read_nothing()

    @property
    def frames(self) -> int:
        """Number of selected frames, bad ones included."""
        return len(self.numbers)

    @cached_property
    def frame_interval_ps(self) -> float | None:
        """Time between selected frames, by the file's header or its first sound frames, if it says."""
        stride = self.frame_range.stride
        if self._header_interval_ps is not None:
            return stride * self._header_interval_ps
        first = self.first_frames(2) if self._timed and self.frames > 1 else None
        if first is None or first.time is None or len(first) < 2:
            return None
        apart = int(first.numbers[1] - first.numbers[0]) // stride
        return float(first.time[1] - first.time[0]) / apart

    def chunks(self, frames_per_chunk: int, first_frame: int = 0) -> Iterator[FrameChunk]:
        """Read the selected frames from one on, so many at a time and what is left at the end.

        Bad frames are left out where that was asked for, which does not change how frames are parted.

        Raises
        ------
        InputError
            If a frame is bad: a coordinate is no finite number, or two C-alphas lie in one place.
        InputEndsEarly
            After all whole frames, if the file ends in the middle of a frame and the range goes on behind it.
        """
        yield from self._whole_frames(frames_per_chunk, first_frame)
        if self.early_end is not None:
            raise self.early_end

    @property
    def early_end(self) -> InputEndsEarly | None:
        """What is wrong if the file ends in the middle of a frame that was asked for."""
        end, found = self.frame_range.end, self._file.frames
        if not self._file.ends_early or (end is not None and end <= found):
            return None
        were = "1 whole frame was" if found == 1 else f"{found} whole frames were"
        return InputEndsEarly(
            f"{self.name}: ends in the middle of frame {found + 1}; its {were} read; "
            "copy it again, or ask for its whole frames alone"
        )

    def take(self, frames: RawFrames, first_number: int) -> FrameChunk:
        """Take frames from elsewhere that have the atoms of the file, numbered from a number on.

        Raises
        ------
        InputError
            If a frame is bad.
        """
        covered = range(first_number, first_number + len(frames))
        return self._sound(frames, first_number, covered)

    def first_frames(self, count: int) -> FrameChunk:
        """Read some sound frames at the start: about so many, or fewer if most are bad.

        Raises
        ------
        InputError
            As :meth:`chunks`; or if all frames are bad.
        """
        chunks: list[FrameChunk] = []
        looked_at = sound = 0
        for chunk in self._whole_frames(min(count, _FRAMES_PER_LOOK)):
            chunks.append(chunk)
            looked_at += chunk.looked_at
            sound += len(chunk)
            if sound >= count or (sound and looked_at >= FRAMES_LOOKED_AT):
                break
        if not sound:
            raise InputError(f"{self.name}: all its frames are bad; read it without skipping to see why")
        return joined([chunk for chunk in chunks if len(chunk)])

    @abstractmethod
    def _take(self, raw: RawFrames) -> tuple[np.ndarray, np.ndarray]:
        """Give positions of what is looked for, and (frames,) bool which frames are sound."""

    @abstractmethod
    def _refuse(self, raw: RawFrames, number: int) -> NoReturn:
        """Say what is wrong with the one given frame, which has a number in the file from 0."""

    def _whole_frames(self, frames_per_chunk: int, first_frame: int = 0) -> Iterator[FrameChunk]:
        place = first_frame
        waiting: list[FrameChunk] = []
        for raw in self._file.read(self.numbers[first_frame:], frames_per_chunk):
            waiting.append(self._chunk(raw, place))
            place += len(raw)
            if (place - first_frame) % frames_per_chunk == 0 or place == self.frames:
                yield joined(waiting)
                waiting = []

    def _chunk(self, raw: RawFrames, first_frame: int) -> FrameChunk:
        return self._sound(raw, first_frame, self.numbers[first_frame : first_frame + len(raw)])

    def _sound(self, raw: RawFrames, first_frame: int, covered: range) -> FrameChunk:
        """Look at frames with these numbers, and leave out bad ones or refuse them."""
        numbers = np.asarray(covered, dtype=np.int64)
        coordinates, sound = self._take(raw)
        if not sound.all():
            if not self._skip_bad:
                bad = int(sound.argmin())
                self._refuse(raw[bad : bad + 1], covered[bad])
            raw, numbers, coordinates = raw[sound], numbers[sound], coordinates[sound]
        return FrameChunk(
            first_frame,
            coordinates,
            numbers,
            covered,
            self._times(raw, numbers),
            raw.unitcell_vectors,
            raw.step,
        )

    def _times(self, raw: RawFrames, numbers: np.ndarray) -> np.ndarray | None:
        """Times in ps of frames with these numbers, by the header where that alone says."""
        if self._header_interval_ps is not None:
            return numbers * self._header_interval_ps
        return raw.time

    def _refuse_to_read_nothing(self) -> NoReturn:
        found = self._file.frames
        if found:
            raise InputError(
                f"{self.name}: has {found} frame{'s' if found > 1 else ''}, "
                f"but frames from {self.frame_range.begin + 1} on were asked for; begin with an earlier one"
            )
        if self._file.ends_early:
            raise InputEndsEarly(f"{self.name}: ends in the middle of its first frame; copy it again")
        raise InputError(f"{self.name}: holds no frames")


class Source(FrameSource):
    """An opened structure or trajectory. Made by :func:`open_source`.

    Chunks hold coordinates (frames, residues, 15, 3) in the precision of the file.

    Attributes
    ----------
    topology : Topology
        Residues of the protein.
    present : ndarray, (residues, 15) bool
        Atoms that the file has.
    """

    def __init__(
        self,
        name: str,
        frames_file: FrameFile,
        selection: ProteinSelection,
        *,
        frames: FrameRange = EVERY_FRAME,
        skip_bad: bool = False,
        files: tuple[Path, ...] = (),
        longest_link_nm: float = MAX_LINKED_CA_DISTANCE_NM,
        disulfides: Sequence[NamedBond] = (),
    ) -> None:
        super().__init__(name, frames_file, frames=frames, skip_bad=skip_bad, files=files)
        self._named_disulfides = disulfides
        self._longest_link_nm = longest_link_nm
        self.topology = selection.topology
        self.present = selection.present
        self._atom_index = selection.atom_index[selection.present]

    @cached_property
    def linked(self) -> np.ndarray:
        """(residues,) bool: bonded to the next residue, judged by the first frames."""
        return self.topology.linked(self._first_c_alphas, self._longest_link_nm)

    @cached_property
    def disulfides(self) -> np.ndarray:
        """(bonds, 2) int64 residues that the file says are bonded by disulfides, the lower first.

        Warns of bonds that the C-alphas of the first frames do not allow, which are left out.
        """
        if not self._named_disulfides:
            return np.empty((0, 2), dtype=np.int64)
        return find_named(self._named_disulfides, self.topology, self._first_c_alphas, self.name)

    def check(self) -> None:
        """Look at the first frames: refuse a wrong unit or damaged positions, warn of chain breaks."""
        check_unit(self._first_c_alphas, self.topology, self.name)
        warn_of_breaks(self.linked, self._first_c_alphas, self.topology, self.name)

    @cached_property
    def _first_c_alphas(self) -> np.ndarray:
        """(frames, residues, 3) C-alpha positions in nm of up to ``FRAMES_LOOKED_AT`` frames."""
        return self.first_frames(FRAMES_LOOKED_AT).coordinates[:, :, SLOT_CA].copy()

    def _take(self, raw: RawFrames) -> tuple[np.ndarray, np.ndarray]:
        positions = raw.coordinates
        coordinates = np.full((len(positions), *self.present.shape, 3), np.nan, dtype=positions.dtype)
        coordinates[:, self.present] = positions[:, self._atom_index]
        return coordinates, sound_frames(coordinates, self.present)

    def _refuse(self, raw: RawFrames, number: int) -> NoReturn:
        refuse_frame(self._take(raw)[0][0], self.present, self.topology, number, self.name)


def open_source(
    path: str | Path,
    top: str | Path | None = None,
    *,
    skip_unknown: bool = False,
    frames: FrameRange = EVERY_FRAME,
    skip_bad: bool = False,
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
    frames : FrameRange
        Which frames to read.
    skip_bad : bool
        Leave out frames whose coordinates are no finite numbers or whose C-alphas lie in one place, instead
        of refusing the file.

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
    source = Source(
        str(path),
        opened.frames,
        selection,
        frames=frames,
        skip_bad=skip_bad,
        files=opened.files,
        disulfides=opened.names.disulfides,
    )
    source.check()
    return source


def source_from_mdtraj(
    trajectory: mdtraj.Trajectory,
    *,
    skip_unknown: bool = False,
    longest_link_nm: float = MAX_LINKED_CA_DISTANCE_NM,
) -> Source:
    """Take an mdtraj trajectory in memory as :func:`open_source` takes a file.

    Neighbours whose C-alphas are farther apart than ``longest_link_nm`` are a chain break.
    """
    name = "the trajectory"
    selection = select_protein(residue_records(trajectory.topology), file=name, skip_unknown=skip_unknown)
    source = Source(
        name,
        LoadedTrajectory(trajectory),
        selection,
        longest_link_nm=longest_link_nm,
        disulfides=named_in_topology(trajectory.topology),
    )
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
