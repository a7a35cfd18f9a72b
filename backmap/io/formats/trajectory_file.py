"""Trajectories and their topologies, read with mdtraj in pieces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backmap.chemistry.periodic_box import box_vectors
from backmap.errors import InputEndsEarly, InputError

from ..frames import Frames, join_frames
from ..naming import HDF5_SUFFIXES, NETCDF_SUFFIXES, STREAMED_SUFFIXES, suffix_of
from ..selection.links import Links, links_in_topology
from ..selection.records import ResidueRecord
from .frame_layout import FrameLayout, dcd_bytes, trr_layout, xtc_layout
from .reading_errors import unreadable
from .reading_process import RemoteTrajectory, load_topology, load_trajectory
from .structure_file import NM_PER_ANGSTROM, AtomRow, residues_of

if TYPE_CHECKING:
    import mdtraj

MAX_ATOM_POSITIONS_PER_READ = 10_000_000
"""A read stays below this many positions (120 MB), however many frames are requested."""

_POSITIONS_PER_FRAME = 30
"""Overhead of reading a frame, as a number of positions read in the same time."""

_POSITIONS_PER_SEEK = {".xtc": 600, ".trr": 600, ".dcd": 600}
_POSITIONS_PER_SLOW_SEEK = 10_000
"""Seeking a frame takes as long as reading this many positions; the latter applies to HDF5 and NetCDF."""


class StreamedTrajectory:
    """A trajectory file that is read in pieces."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._suffix = suffix_of(path)

    @property
    def n_atoms(self) -> int:
        """Number of atoms in a frame."""
        return self._extent[0] if self._layout is None else self._layout.n_atoms

    @property
    def n_frames(self) -> int:
        """Number of whole frames."""
        return self._extent[1] if self._layout is None else len(self._layout.offsets)

    @cached_property
    def ends_early(self) -> bool:
        """Whether part of another frame follows the whole ones, if the format shows it."""
        if self._layout is not None:
            return self._layout.ends_early
        if self._suffix != ".dcd" or (sizes := dcd_bytes(self.path)) is None:
            return False
        before, frame_bytes = sizes
        whole, rest = divmod(self.path.stat().st_size - before, frame_bytes)
        return rest > 0 and whole == self.n_frames

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Read the frames with the given numbers, a few at a time.

        Pieces may be smaller to save memory, but one always ends after every ``frames_per_read`` frames.
        """
        hops = self._hops(numbers.step)
        span = 1 if hops else numbers.step
        at_most = max(1, MAX_ATOM_POSITIONS_PER_READ // max(1, self.n_atoms * span))
        with RemoteTrajectory(self.path, None if self._layout is None else self._layout.offsets) as file:
            for piece in _pieces(numbers, frames_per_read, at_most):
                yield self._read_apart(file, piece) if hops else self._read_through(file, piece)

    def _hops(self, stride: int) -> bool:
        """Return whether seeking each frame is faster than also reading the frames in between."""
        between = (stride - 1) * (self.n_atoms + _POSITIONS_PER_FRAME)
        return between >= _POSITIONS_PER_SEEK.get(self._suffix, _POSITIONS_PER_SLOW_SEEK)

    def _read_apart(self, file: RemoteTrajectory, numbers: range) -> Frames:
        return join_frames(
            [self._read_through(file, numbers[place : place + 1]) for place in range(len(numbers))]
        )

    def _read_through(self, file: RemoteTrajectory, numbers: range) -> Frames:
        """Read frames together with those in between, which are dropped."""
        span = numbers[-1] - numbers.start + 1
        data = file.read(numbers.start, span)
        found = len(data[0]) if len(data) else 0
        if found < span:
            after = f"after frame {numbers.start + found} of {self.n_frames}"
            if self._suffix in HDF5_SUFFIXES + NETCDF_SUFFIXES:
                raise InputEndsEarly(f"{self.path}: ends {after}; copy it again")
            raise InputError(f"{self.path}: is damaged {after}; copy it again")
        everything = range(numbers.start, numbers.start + span)
        return self._raw_frames(data, everything)[:: numbers.step]

    def _raw_frames(self, data: Sequence[Any], numbers: range) -> Frames:
        """Convert what mdtraj read, in its units, to frames; without times, use the frame numbers."""
        step = vectors = None
        if self._layout is not None:
            coordinates, time, step, vectors = data
            step = step.astype(np.int64)
            if self._layout.boxes is not None and vectors is not None:
                # mdtraj leaves missing boxes as uninitialised memory
                vectors = np.where(self._layout.boxes[numbers, None, None], vectors, 0.0)
            vectors = vectors if vectors is not None and np.any(vectors) else None
        elif self._suffix in HDF5_SUFFIXES:
            read, time, lengths, angles = data
            coordinates = np.asarray(read, dtype=np.float32)
            vectors = self._cells(lengths, angles, len(numbers))
        else:
            *read, lengths, angles = data
            coordinates = np.asarray(read[0], dtype=np.float32) * np.float32(NM_PER_ANGSTROM)
            time = read[1] if len(read) > 1 else None  # DCD files store none
            lengths = None if lengths is None else lengths * NM_PER_ANGSTROM
            vectors = self._cells(lengths, angles, len(numbers))
        if time is None:
            time = np.arange(numbers.start, numbers.stop)
        self._require_shape(coordinates, (len(numbers), self.n_atoms, 3), "positions")
        self._require_shape(time, (len(numbers),), "times")
        return Frames(
            coordinates=coordinates, time=time.astype(time.dtype.newbyteorder("=")), step=step, box=vectors
        )

    def _cells(
        self, lengths: np.ndarray | None, angles: np.ndarray | None, n_frames: int
    ) -> np.ndarray | None:
        """Give box vectors (frames, 3, 3) of cells, whose shapes a damaged file may have changed."""
        for values, what in ((lengths, "cell lengths"), (angles, "cell angles")):
            if values is not None:
                self._require_shape(values, (n_frames, 3), what)
        return _box_vectors(lengths, angles)

    def _require_shape(self, values: np.ndarray, shape: tuple[int, ...], what: str) -> None:
        if np.shape(values) != shape:
            raise unreadable(self.path, f"its {what} have the shape {np.shape(values)} instead of {shape}")

    @cached_property
    def _layout(self) -> FrameLayout | None:
        """Layout of formats whose frames may differ in size, found once and kept; None for others."""
        find = {".xtc": xtc_layout, ".trr": trr_layout}.get(self._suffix)
        return None if find is None else find(self.path)

    @cached_property
    def _extent(self) -> tuple[int, int]:
        """Number of atoms in a frame and number of frames."""
        with RemoteTrajectory(self.path) as file:
            return file.extent()


_UNEVEN, _ROUNDING = 1e-3, 1e-6
"""Relative differences of equal steps in time, and of the times themselves."""


class LoadedTrajectory:
    """A trajectory in memory."""

    ends_early = False

    def __init__(self, trajectory: mdtraj.Trajectory) -> None:
        self.n_atoms = trajectory.n_atoms
        self.n_frames = trajectory.n_frames
        vectors = _box_vectors(trajectory.unitcell_lengths, trajectory.unitcell_angles)
        self._everything = Frames(coordinates=trajectory.xyz, time=trajectory.time, box=vectors)

    @property
    def is_timed(self) -> bool:
        """Whether its times are those of a simulation: ascending in equal steps, and not just 0, 1, 2 ..."""
        time = self._everything.time
        if time is None or len(time) < 2 or not np.isfinite(time).all():
            return False
        time = np.asarray(time, dtype=np.float64)
        steps = np.diff(time)
        rounding = _ROUNDING * np.abs(time).max()  # times may come from single precision
        even = np.abs(steps - steps.mean()).max() <= _UNEVEN * steps.mean() + rounding
        return bool(steps.min() > 0 and even and not np.array_equal(time, np.arange(len(time))))

    def read(self, numbers: range, frames_per_read: int) -> Iterator[Frames]:
        """Yield the frames with the given numbers, a few at a time."""
        for piece in _pieces(numbers, frames_per_read, frames_per_read):
            yield self._everything[piece.start : piece.stop : piece.step]


def _pieces(numbers: range, length: int, at_most: int) -> Iterator[range]:
    """Cut numbers into pieces of ``length``, and each piece into parts of at most ``at_most``."""
    for first in range(0, len(numbers), length):
        piece = numbers[first : first + length]
        yield from (piece[start : start + at_most] for start in range(0, len(piece), at_most))


def _box_vectors(lengths: np.ndarray | None, angles: np.ndarray | None) -> np.ndarray | None:
    """Turn lengths (frames, 3) in nm and angles (frames, 3) in degrees into box vectors (frames, 3, 3).

    Zero lengths, which mean no box, give zero vectors whatever the angles.
    """
    if lengths is None or angles is None or not np.any(lengths):
        return None
    return np.where((np.asarray(lengths) == 0)[:, :, None], 0, box_vectors(lengths, angles))


def open_trajectory(path: Path, expected_atoms: int) -> StreamedTrajectory | LoadedTrajectory:
    """Open a trajectory file in any format that mdtraj reads.

    Parameters
    ----------
    path : Path
        The file.
    expected_atoms : int
        Atoms in a frame, which divides formats without that count (mdcrd) into frames.
    """
    if suffix_of(path) in STREAMED_SUFFIXES:
        return StreamedTrajectory(path)
    topology = None if suffix_of(path) == ".mol2" else nameless_topology(expected_atoms)
    return LoadedTrajectory(load_trajectory(path, topology))


class TopologyFile:
    """The residues of a file in any topology format of mdtraj."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def topology(self) -> mdtraj.Topology:
        """The topology as mdtraj reads it."""
        if suffix_of(self.path) in HDF5_SUFFIXES:
            with RemoteTrajectory(self.path) as file:
                topology = file.topology()
        else:
            topology = load_topology(self.path)
        if topology is None:
            raise InputError(f"{self.path}: contains no topology; give one with --top")
        return topology

    @property
    def n_atoms(self) -> int:
        """Number of atoms."""
        return self.topology.n_atoms

    @property
    def residues(self) -> list[ResidueRecord]:
        """All residues, in file order."""
        return residue_records(self.topology)

    @property
    def links(self) -> Links:
        """Bonds between residues that are no neighbours."""
        return links_in_topology(self.topology)


def residue_records(topology: mdtraj.Topology) -> list[ResidueRecord]:
    """List the residues of an mdtraj topology."""
    return residues_of(
        [
            AtomRow(
                name=atom.name.strip(),
                residue=residue.name.strip().upper(),
                number=residue.resSeq,
                chain=(residue.chain.chain_id or "").strip(),
                segment=(residue.segment_id or "").strip(),
                part=residue.chain.index,
                group=residue.index,
            )
            for residue in topology.residues
            for atom in residue.atoms
        ]
    )


def nameless_topology(atoms: int) -> mdtraj.Topology:
    """Make a placeholder topology, which mdtraj requires before it reads coordinates."""
    import mdtraj

    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(atoms):
        topology.add_atom("X", None, residue)
    return topology
