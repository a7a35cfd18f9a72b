"""Frames that arrive one by one, as from a running simulation: each is built before the next is requested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backmap.errors import InputError
from backmap.io import BeadSource, Frames, Source, beads_from_mdtraj, source_from_mdtraj
from backmap.io.mdtraj_objects import mdtraj_topology
from backmap.io.selection.links import read_links
from backmap.io.selection.other_molecules import OthersKept
from backmap.limits import is_path, shown
from backmap.models import shipped
from backmap.options import takes_options
from backmap.runs.follower import Follower, open_follower
from backmap.runs.request import Building
from backmap.usual_settings import usual_settings

if TYPE_CHECKING:
    import mdtraj

    from backmap.io.selection.records import ResidueRecord
    from backmap.models.temporal.model import TemporalModel


@takes_options(Building)
def reconstruct_stream(
    frames: Iterable[np.ndarray | mdtraj.Trajectory],
    *,
    top: mdtraj.Topology | str | PathLike[str] | None = None,
    **options: Any,
) -> Iterator[mdtraj.Trajectory]:
    """Build all atoms of frames one by one, as they arrive.

    Each frame is requested only after the previous result was yielded, so a running simulation can be
    followed. Frames are numbered in order of arrival; the same frames in a file, or passed to
    :func:`backmap.reconstruct`, give the same atoms.

    Parameters
    ----------
    frames : iterable of ndarray (beads, 3), or of mdtraj.Trajectory
        Either only the beads of the model, or more atoms, in nm. A trajectory of several frames is built in
        one batch, which is faster.
    top : mdtraj.Topology or path, optional
        Topology with the names of the beads, or a structure file that contains one. Not needed for
        trajectories.
    {options}

    Yields
    ------
    mdtraj.Trajectory
        One per input frame, with its samples as frames.

    Raises
    ------
    backmap.errors.InputError
        If a frame or an option cannot be used; the message says why and what to do.
    """
    asked = Building(**options)
    with usual_settings():
        asked.require_family(shipped.read_model(asked.model).family)
    _require_frames(frames, top)
    return _follow(frames, top, asked)


def _require_frames(frames: Any, top: Any) -> None:
    """Refuse frames that are not an iterable of frames, and invalid topologies."""
    import mdtraj

    if isinstance(frames, mdtraj.Trajectory):
        raise InputError(
            "frames is an mdtraj.Trajectory; give it as [trajectory], or build it with backmap.reconstruct"
        )
    if isinstance(top, mdtraj.Trajectory):
        raise InputError("top is an mdtraj.Trajectory; give its topology, trajectory.topology")
    if isinstance(frames, mdtraj.Topology):
        raise InputError("frames is an mdtraj.Topology; give the frames first, and the topology as top")
    if isinstance(frames, str | bytes) or not isinstance(frames, Iterable):
        raise InputError(f"frames is {shown(frames)}; give an iterable of arrays or of mdtraj.Trajectory")
    if top is not None and not isinstance(top, mdtraj.Topology) and not is_path(top):
        raise InputError(f"top is {shown(top)}; give an mdtraj.Topology or a file name")


def _follow(
    frames: Iterable[np.ndarray | mdtraj.Trajectory],
    topology: mdtraj.Topology | str | PathLike[str] | None,
    asked: Building,
) -> Iterator[mdtraj.Trajectory]:
    """Build trajectories as they arrive, and yield one frame at a time with all its samples."""
    import mdtraj

    residues: Sequence[ResidueRecord] | None = None
    if isinstance(topology, str | PathLike):
        topology, residues = _read_names(topology)
    follower: Follower | None = None
    number = 0
    for given in _trajectories(frames, topology):
        with usual_settings():
            if follower is None:
                first = _First(given, residues if given.topology is topology else None)
                follower = open_follower(asked, first, side_by_side=False)
                built_topology = mdtraj_topology(follower.atoms)
            raw = Frames(coordinates=given.xyz, time=given.time, box=given.unitcell_vectors)
            (built_frames,) = follower.build([follower.source.take(raw, number)])
        number += given.n_frames
        for frame, atoms in enumerate(built_frames.coordinates.swapaxes(0, 1)):
            built = mdtraj.Trajectory(atoms, built_topology, time=np.repeat(given.time[frame], len(atoms)))
            if given.unitcell_vectors is not None:
                built.unitcell_vectors = np.repeat(given.unitcell_vectors[frame, None], len(atoms), axis=0)
            yield built


def _read_names(path: str | PathLike[str]) -> tuple[mdtraj.Topology, Sequence[ResidueRecord]]:
    """Read the residues of a file, with an mdtraj topology of the same number of atoms."""
    from backmap.io.formats.trajectory_file import nameless_topology
    from backmap.io.naming import TOPOLOGY_SUFFIXES, require_file, require_suffix
    from backmap.io.reader import open_names

    path = require_file(Path(path))
    require_suffix(path, TOPOLOGY_SUFFIXES, "topology")
    names = open_names(path)
    return nameless_topology(names.n_atoms), names.residues


def _trajectories(
    frames: Iterable[np.ndarray | mdtraj.Trajectory], topology: mdtraj.Topology | None
) -> Iterator[mdtraj.Trajectory]:
    """Convert incoming frames to trajectories."""
    import mdtraj

    first: mdtraj.Topology | None = None
    number = 0
    for given in frames:
        if isinstance(given, mdtraj.Trajectory):
            first = given.topology if first is None else first
            _require_same_atoms(given.topology, first, number)
            yield given
            number += given.n_frames
            continue
        if topology is None:
            raise InputError("the frames are coordinates without names; give their topology as top")
        positions = _as_array(given, number)
        if positions.shape != (topology.n_atoms, 3):
            raise InputError(
                f"frame {number + 1}: has shape {positions.shape}, "
                f"but the topology has {topology.n_atoms} atoms; give coordinates (atoms, 3) in nm"
            )
        if positions.dtype.kind not in "fiu":
            raise InputError(
                f"frame {number + 1}: contains {positions.dtype} instead of numbers; give coordinates in nm"
            )
        yield mdtraj.Trajectory(positions[None], topology, time=[number])
        number += 1


def _as_array(given: Any, number: int) -> np.ndarray:
    try:
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(
            f"frame {number + 1}: is not an array of coordinates ({error}); give coordinates in nm"
        ) from None


def _require_same_atoms(topology: mdtraj.Topology, first: mdtraj.Topology, number: int) -> None:
    """Refuse frames whose atoms differ from those of the first frame, or are in another order."""
    if topology is first:
        return
    if topology.n_atoms != first.n_atoms:
        raise InputError(
            f"frame {number + 1}: has {topology.n_atoms} atoms, but the first frame has {first.n_atoms}; "
            "give frames of the same atoms"
        )
    for index, (atom, expected) in enumerate(zip(topology.atoms, first.atoms, strict=True)):
        if _place(atom) != _place(expected):
            raise InputError(
                f"frame {number + 1}: atom {index + 1} is {_describe(atom)}, but {_describe(expected)} "
                "in the first frame; give frames of the same atoms in the same order"
            )


def _place(atom: mdtraj.core.topology.Atom) -> tuple[str, str, int, int, int]:
    residue = atom.residue
    return atom.name, residue.name, residue.resSeq, residue.index, residue.chain.index


def _describe(atom: mdtraj.core.topology.Atom) -> str:
    residue = atom.residue
    return f"{atom.name} of residue {residue.resSeq} {residue.name} in chain {residue.chain.index + 1}"


class _First:
    """Opens the first frames of a stream, which determine the atoms of all frames."""

    def __init__(self, first: mdtraj.Trajectory, residues: Sequence[ResidueRecord] | None) -> None:
        self._first, self._residues = first, residues

    def protein(self, asked: Building, others: OthersKept) -> Source:
        return source_from_mdtraj(
            self._first,
            residues=self._residues,
            skip_unknown=asked.skip_unknown,
            sequence=asked.sequence,
            beads=asked.beads,
            residue_file=asked.residues,
            others=others,
            nucleic_beads=asked.nucleic_beads,
            links=read_links(asked.link or ()),
        )

    def beads(self, model: TemporalModel) -> BeadSource:
        return beads_from_mdtraj(self._first, model.molecule, model.mapping, residues=self._residues)
