"""Read a whole trajectory of any molecule with all its atoms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backmap.errors import InputEndsEarly, InputError

from .formats import reading_process
from .formats.structure_file import FrameFile
from .formats.trajectory_file import TopologyFile
from .frames import join_frames
from .naming import INPUT_SUFFIXES, STRUCTURE_SUFFIXES, TOPOLOGY_SUFFIXES, require_file, require_suffix
from .reader import open_frames

if TYPE_CHECKING:
    import mdtraj

FRAMES_PER_READ = 10_000


def load_topology(path: str | Path) -> mdtraj.Topology:
    """Read a topology, whatever the molecule.

    Raises
    ------
    InputError
        If the file cannot be used, saying why and what to do.
    """
    path = require_file(path)
    require_suffix(path, TOPOLOGY_SUFFIXES, "topology")
    return TopologyFile(path).topology


def load_trajectory(path: str | Path, top: str | Path | None = None, stride: int = 1) -> mdtraj.Trajectory:
    """Read a whole trajectory with all its atoms, whatever the molecule.

    Parameters
    ----------
    path : path
        Any structure or trajectory mdtraj reads.
    top : path, optional
        Topology, for files that contain only coordinates.
    stride : int
        Keep every stride-th frame.

    Returns
    -------
    mdtraj.Trajectory

    Raises
    ------
    InputError
        If the file cannot be used; the message says why and what to do.
    """
    import mdtraj

    path = require_file(path)
    suffix = require_suffix(path, INPUT_SUFFIXES, "input")
    if suffix in STRUCTURE_SUFFIXES:
        _require_whole(path, open_frames(path, 0))
        return reading_process.load_trajectory(path)[::stride]
    if top is None and suffix not in TOPOLOGY_SUFFIXES:
        raise InputError(
            f"{path}: contains coordinates but no atom names; give its topology (a PDB file, say) with --top"
        )
    names = path if top is None else top
    topology = load_topology(names)
    file = open_frames(path, topology.n_atoms)
    if file.n_atoms != topology.n_atoms:
        raise InputError(
            f"{path}: has {file.n_atoms} atoms, but its topology {names} has {topology.n_atoms}; "
            "give the topology it was written with"
        )
    _require_whole(path, file)
    read = join_frames(list(file.read(range(0, file.n_frames, stride), FRAMES_PER_READ)))
    trajectory = mdtraj.Trajectory(read.coordinates, topology, time=read.time)
    if read.periodic_box is not None and read.periodic_box.any(axis=(1, 2)).all():
        trajectory.unitcell_vectors = read.periodic_box
    return trajectory


def _require_whole(path: Path, file: FrameFile) -> None:
    """Refuse a file without frames, or whose last frame is truncated."""
    if not file.n_atoms or not file.n_frames:
        raise InputError(f"{path}: contains no frames")
    if file.ends_early:
        raise InputEndsEarly(f"{path}: ends in the middle of frame {file.n_frames + 1}; copy it again")
