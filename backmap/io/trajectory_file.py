"""Trajectories and the topologies that go with them, read through mdtraj piece by piece."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from backmap.errors import InputError

from .naming import HDF5_SUFFIXES, STREAMED_SUFFIXES, suffix_of
from .protein_selection import AtomRecord, ResidueRecord
from .structure_file import RawFrames

if TYPE_CHECKING:
    import mdtraj

MAX_ATOM_POSITIONS_PER_READ = 10_000_000
"""A read stays below this many positions (120 MB), however many frames are asked for."""


class StreamedTrajectory:
    """A trajectory file that is read piece by piece."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def atoms(self) -> int:
        """Number of atoms in a frame."""
        with explain_reading(self.path), open_quietly(self.path) as file:
            first = file.read(n_frames=1)
        coordinates = first.coordinates if hasattr(first, "coordinates") else first[0]
        return coordinates.shape[1] if len(coordinates) else 0

    @cached_property
    def frames(self) -> int:
        """Number of frames."""
        with explain_reading(self.path), open_quietly(self.path) as file:
            return len(file)

    def read(self, frames_per_read: int) -> Iterator[RawFrames]:
        """Read the frames, a few at a time."""
        frames_per_read = max(1, min(frames_per_read, MAX_ATOM_POSITIONS_PER_READ // max(1, self.atoms)))
        names = () if suffix_of(self.path) in HDF5_SUFFIXES else (_nameless_topology(self.atoms),)
        left = self.frames
        with explain_reading(self.path), open_quietly(self.path) as file:
            while left > 0:
                trajectory = file.read_as_traj(*names, n_frames=min(frames_per_read, left))
                if not trajectory.n_frames:
                    raise InputError(f"{self.path}: ends too early ({left} frames missing); copy it again")
                left -= trajectory.n_frames
                yield _raw_frames(trajectory)


class LoadedTrajectory:
    """A trajectory in memory."""

    def __init__(self, trajectory: mdtraj.Trajectory) -> None:
        self._trajectory = trajectory
        self.atoms = trajectory.n_atoms
        self.frames = trajectory.n_frames

    def read(self, frames_per_read: int) -> Iterator[RawFrames]:
        """Give the frames, a few at a time."""
        for first in range(0, self.frames, frames_per_read):
            yield _raw_frames(self._trajectory[first : first + frames_per_read])


def open_trajectory(path: Path, expected_atoms: int) -> StreamedTrajectory | LoadedTrajectory:
    """Open a trajectory file in any format mdtraj reads.

    Parameters
    ----------
    path : Path
        The file.
    expected_atoms : int
        Atoms in a frame; a format without that count (mdcrd) is cut into frames by it.
    """
    if suffix_of(path) in STREAMED_SUFFIXES:
        return StreamedTrajectory(path)
    import mdtraj

    names = {} if suffix_of(path) in (".gro", ".mol2") else {"top": _nameless_topology(expected_atoms)}
    with explain_reading(path):
        return LoadedTrajectory(mdtraj.load(str(path), **names))


class TopologyFile:
    """The residues of a file in any topology format of mdtraj."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def topology(self) -> mdtraj.Topology:
        """The topology as mdtraj reads it."""
        import mdtraj

        with explain_reading(self.path):
            if suffix_of(self.path) in HDF5_SUFFIXES:
                with mdtraj.open(str(self.path)) as file:
                    topology = file.topology
            else:
                topology = mdtraj.load_topology(str(self.path))
        if topology is None:
            raise InputError(f"{self.path}: holds no topology; give one with --top")
        return topology

    @property
    def atoms(self) -> int:
        """Number of atoms."""
        return self.topology.n_atoms

    @property
    def residues(self) -> list[ResidueRecord]:
        """All residues, in file order."""
        return residue_records(self.topology)


def residue_records(topology: mdtraj.Topology) -> list[ResidueRecord]:
    """List the residues of an mdtraj topology.

    Formats without chain names (GRO, PRMTOP) run the chains together; there a new chain starts after a
    terminal oxygen, and where the residue number falls.
    """
    records: list[ResidueRecord] = []
    chain = -1
    previous = None
    for residue in topology.residues:
        if previous is None or _starts_chain(previous, residue):
            chain += 1
        previous = residue
        records.append(
            ResidueRecord(
                chain=chain,
                chain_id=_chain_name(residue),
                number=residue.resSeq,
                insertion_code="",
                name=residue.name.strip().upper(),
                atoms=tuple(AtomRecord(atom.name.strip(), atom.index) for atom in residue.atoms),
            )
        )
    return records


def _chain_name(residue: mdtraj.core.topology.Residue) -> str:
    return (residue.chain.chain_id or "").strip()


def _starts_chain(previous: mdtraj.core.topology.Residue, residue: mdtraj.core.topology.Residue) -> bool:
    if residue.chain.index != previous.chain.index or residue.segment_id != previous.segment_id:
        return True
    if _chain_name(residue):
        return False
    return residue.resSeq < previous.resSeq or any(
        atom.name in ("OXT", "OT2", "OC2") for atom in previous.atoms
    )


def _nameless_topology(atoms: int) -> mdtraj.Topology:
    """Make a topology of so many atoms without meaning: mdtraj asks for one before it reads coordinates."""
    import mdtraj

    topology = mdtraj.Topology()
    residue = topology.add_residue("X", topology.add_chain())
    for _ in range(atoms):
        topology.add_atom("X", None, residue)
    return topology


def _raw_frames(trajectory: mdtraj.Trajectory) -> RawFrames:
    return RawFrames(trajectory.xyz, trajectory.time, trajectory.unitcell_vectors)


@contextmanager
def open_quietly(path: Path) -> Iterator[object]:
    """Open a trajectory through mdtraj, without what its DCD reader prints on standard output."""
    import mdtraj

    with _discarded_output() if suffix_of(path) == ".dcd" else nullcontext():
        file = mdtraj.open(str(path))
    with file:
        yield file


@contextmanager
def _discarded_output() -> Iterator[None]:
    """Send what C code prints on standard output nowhere."""
    library = ctypes.CDLL(None)
    sys.stdout.flush()
    library.fflush(None)
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
        library.fflush(None)
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def explain_reading(path: Path) -> Iterator[None]:
    """Turn what mdtraj raises on a damaged file into one sentence about that file."""
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        needed = (
            "tables"
            if suffix_of(path) in HDF5_SUFFIXES
            else getattr(error, "name", None) or "another package"
        )
        raise InputError(f"{path}: reading this format needs a package; pip install {needed}") from error
    except (
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        EOFError,
        AttributeError,
    ) as error:
        kind = suffix_of(path).lstrip(".").upper()
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"{path}: cannot be read as {kind}; it is damaged or of another format ({reason})"
        ) from error
