"""Frames as they come, from a running simulation say: all atoms of each before the next is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from backmap import api
from backmap.errors import InputError
from backmap.limits import shown
from backmap.options import is_path
from backmap.usual_settings import usual_settings

if TYPE_CHECKING:
    import mdtraj
    import torch

    from backmap.inference.rollout_job import RolloutJob
    from backmap.io import AtomList, FrameChunk, FrameSource, Source
    from backmap.io.protein_selection import ResidueRecord


class Follower(Protocol):
    """Knows the atoms of the frames that come, and builds those of the next ones."""

    source: FrameSource
    atoms: AtomList

    def build(self, chunk: FrameChunk) -> np.ndarray:
        """Give all atoms (samples, frames, atoms, 3) in nm."""


def reconstruct_stream(
    frames: Iterable[np.ndarray | mdtraj.Trajectory],
    *,
    topology: mdtraj.Topology | str | PathLike[str] | None = None,
    model: str | PathLike[str] = api.DEFAULT_MODEL,
    samples: int = 1,
    seed: int = 0,
    device: str = "auto",
    skip_unknown: bool = False,
    keep_given: bool = False,
    ddim_steps: int = 0,
    redraws: int | None = None,
    c_alphas: str = "auto",
    bead_noise: float | None = None,
    hydrogens: bool = False,
    ph: float = 7.0,
    minimise: int = 0,
    refine: int = 0,
    temperature: float | None = None,
    sequence: str | PathLike[str] | None = None,
) -> Iterator[mdtraj.Trajectory]:
    """Build all atoms of frames one after another, as they come.

    A frame is asked for when the one before was handed on, so a running simulation can be followed. Frames
    are numbered as they come; the same in a file, or in :func:`backmap.reconstruct`, give the same atoms.

    Parameters
    ----------
    frames : iterable of ndarray (beads, 3), or of mdtraj.Trajectory
        The model's beads alone, or more atoms, in nm. A trajectory with several frames is built in one batch,
        which is faster.
    topology : mdtraj.Topology or path, optional
        Names of the beads: a topology, or a structure file that has one. Not needed for trajectories.
    model, samples, seed, device, skip_unknown, keep_given, ddim_steps, redraws, c_alphas, bead_noise
    hydrogens, ph, minimise, refine, temperature, sequence
        As for :func:`backmap.reconstruct`.

    Yields
    ------
    mdtraj.Trajectory
        One for each frame, holding its samples as frames.

    Raises
    ------
    backmap.errors.InputError
        If a frame cannot be used; the message says why and what to do.
    """
    from backmap.io import source_from_mdtraj

    request = api.check_request(
        model=model,
        device=device,
        samples=samples,
        seed=seed,
        skip_unknown=skip_unknown,
        keep_given=keep_given,
        ddim_steps=ddim_steps,
        redraws=redraws,
        c_alphas=c_alphas,
        bead_noise=bead_noise,
        hydrogens=hydrogens,
        ph=ph,
        minimise=minimise,
        refine=refine,
        temperature=temperature,
        sequence=sequence,
    )
    _require_frames(frames, topology)
    job = request.rollout
    if job is not None:
        return _follow(frames, topology, lambda *first: _MoleculeFollower(*first, job, request.device))

    def open_follower(first: mdtraj.Trajectory, residues: Sequence[ResidueRecord] | None) -> Follower:
        return _ProteinFollower(source_from_mdtraj(first, residues=residues, **request.names), request)

    return _follow(frames, topology, open_follower)


def _require_frames(frames: Any, topology: Any) -> None:
    """Refuse what gives no frames, and a topology that is none."""
    import mdtraj

    if isinstance(frames, str | bytes | mdtraj.Trajectory) or not isinstance(frames, Iterable):
        raise InputError(f"frames are {shown(frames)}; give an iterable of arrays or of mdtraj.Trajectory")
    if topology is not None and not isinstance(topology, mdtraj.Topology) and not is_path(topology):
        raise InputError(f"topology is {shown(topology)}; give an mdtraj.Topology or the name of a file")


def _follow(
    frames: Iterable[np.ndarray | mdtraj.Trajectory],
    topology: mdtraj.Topology | str | PathLike[str] | None,
    open_follower: Callable[[mdtraj.Trajectory, Sequence[ResidueRecord] | None], Follower],
) -> Iterator[mdtraj.Trajectory]:
    """Build trajectories as they come, and hand on one frame with all its samples after another."""
    import mdtraj

    from backmap.io.mdtraj_objects import mdtraj_topology
    from backmap.io.structure_file import RawFrames

    residues: Sequence[ResidueRecord] | None = None
    if isinstance(topology, str | PathLike):
        topology, residues = _read_names(topology)
    follower: Follower | None = None
    number = 0
    for given in _trajectories(frames, topology):
        if follower is None:
            with usual_settings():
                follower = open_follower(given, residues if given.topology is topology else None)
            built_topology = mdtraj_topology(follower.atoms)
        chunk = follower.source.take(RawFrames(given.xyz, given.time, given.unitcell_vectors), number)
        number += given.n_frames
        with usual_settings():
            built_frames = follower.build(chunk).swapaxes(0, 1)
        for frame, atoms in enumerate(built_frames):
            built = mdtraj.Trajectory(atoms, built_topology, time=np.repeat(given.time[frame], len(atoms)))
            if given.unitcell_vectors is not None:
                built.unitcell_vectors = np.repeat(given.unitcell_vectors[frame, None], len(atoms), axis=0)
            yield built


def _read_names(path: str | PathLike[str]) -> tuple[mdtraj.Topology, Sequence[ResidueRecord]]:
    """Read the residues of a file, with a topology of as many atoms for mdtraj."""
    from backmap.io.naming import TOPOLOGY_SUFFIXES, require_file, require_suffix
    from backmap.io.reader import open_names
    from backmap.io.trajectory_file import nameless_topology

    path = require_file(path)
    require_suffix(path, TOPOLOGY_SUFFIXES, "topology")
    names = open_names(path)
    return nameless_topology(names.atoms), names.residues


def _trajectories(
    frames: Iterable[np.ndarray | mdtraj.Trajectory], topology: mdtraj.Topology | None
) -> Iterator[mdtraj.Trajectory]:
    """Turn what comes into trajectories of some frames each."""
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
            raise InputError("the frames are coordinates without names; give their topology")
        positions = _as_array(given, number)
        if positions.shape != (topology.n_atoms, 3):
            raise InputError(
                f"frame {number + 1}: has shape {positions.shape}, "
                f"but the topology has {topology.n_atoms} atoms; give coordinates (atoms, 3) in nm"
            )
        if positions.dtype.kind not in "fiu":
            raise InputError(
                f"frame {number + 1}: holds {positions.dtype} instead of numbers; give coordinates in nm"
            )
        yield mdtraj.Trajectory(positions[None], topology, time=[number])
        number += 1


def _as_array(given: Any, number: int) -> np.ndarray:
    try:
        return np.asarray(given)
    except (ValueError, TypeError) as error:
        raise InputError(f"frame {number + 1}: is no array of coordinates ({error})") from None


def _require_same_atoms(topology: mdtraj.Topology, first: mdtraj.Topology, number: int) -> None:
    """Refuse frames whose atoms are others than those of the first frame, or come in another order."""
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


class _ProteinFollower:
    """Builds the frames of a protein, each on its own."""

    def __init__(self, source: Source, request: api.Request) -> None:
        from backmap.cluster import LocalWorkers
        from backmap.runs.protein_plan import ProteinPlan

        self.source = source
        self._plan = ProteinPlan.make(source, request.model, request.options)
        self._workers = LocalWorkers(
            self._plan.job, request.device, threads=api.count_workers(request.device)
        )
        self.atoms = self._plan.atoms

    def build(self, chunk: FrameChunk) -> np.ndarray:
        """Give all atoms (samples, frames, atoms, 3) in nm."""
        from backmap.runs.frames import build_frames

        (built,) = build_frames(self._workers, [chunk], self._plan.kept, self._plan.job.samples)
        return built.coordinates


class _MoleculeFollower:
    """Rolls a temporal model along the frames of its molecule."""

    def __init__(
        self,
        first: mdtraj.Trajectory,
        residues: Sequence[ResidueRecord] | None,
        job: RolloutJob,
        device: torch.device,
    ) -> None:
        from backmap.cluster import LocalWorkers
        from backmap.io import AtomList, beads_from_mdtraj
        from backmap.runs.rollout import BeadCheck, check_source

        model = job.load("cpu")
        self.source = beads_from_mdtraj(first, model.molecule, model.mapping, residues=residues)
        check_source(self.source, model)
        self._check = BeadCheck(self.source, model)
        self.atoms = AtomList.of_molecule(model.molecule)
        self._workers = LocalWorkers(job, device, threads=api.count_workers(device))
        self._state: Any = None

    def build(self, chunk: FrameChunk) -> np.ndarray:
        """Give all atoms (samples, frames, atoms, 3) in nm."""
        self._check(chunk)
        rolled, self._state = self._workers.submit(
            (0,), self._state, [chunk.coordinates], [chunk.numbers]
        ).result()
        return rolled[0].coordinates
