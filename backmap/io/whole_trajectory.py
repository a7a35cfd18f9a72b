"""Read a whole trajectory of any molecule with all its atoms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from backmap.errors import InputEndsEarly, InputError

from . import reading_process
from .frames import join_frames
from .naming import INPUT_SUFFIXES, STRUCTURE_SUFFIXES, TOPOLOGY_SUFFIXES, require_file, require_suffix
from .reader import open_frames
from .structure_file import FrameFile
from .trajectory_file import TopologyFile

if TYPE_CHECKING:
    import mdtraj

FRAMES_PER_READ = 10_000


def load_trajectory(path: str | Path, top: str | Path | None = None) -> mdtraj.Trajectory:
    """Read a whole trajectory with all its atoms, whatever the molecule.

    Parameters
    ----------
    path : path
        Any structure or trajectory mdtraj reads.
    top : path, optional
        Topology, for files that contain only coordinates.

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
        return reading_process.load_trajectory(path)
    if top is None and suffix not in TOPOLOGY_SUFFIXES:
        raise InputError(
            f"{path}: contains coordinates but no atom names; give its topology (a PDB file, say) with --top"
        )
    names = path if top is None else require_file(top)
    require_suffix(names, TOPOLOGY_SUFFIXES, "topology")
    topology = TopologyFile(names).topology
    file = open_frames(path, topology.n_atoms)
    if file.atoms != topology.n_atoms:
        raise InputError(
            f"{path}: has {file.atoms} atoms, but its topology {names} has {topology.n_atoms}; "
            "give the topology it was written with"
        )
    _require_whole(path, file)
    read = join_frames(list(file.read(range(file.frames), FRAMES_PER_READ)))
    return mdtraj.Trajectory(read.coordinates, topology, time=read.time)


def _require_whole(path: Path, file: FrameFile) -> None:
    """Refuse a file without frames, or whose last frame is truncated."""
    if not file.atoms or not file.frames:
        raise InputError(f"{path}: contains no frames")
    if file.ends_early:
        raise InputEndsEarly(f"{path}: ends in the middle of frame {file.frames + 1}; copy it again")
