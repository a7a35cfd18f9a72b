"""Frames of a protein that are built one by one: from a stream of C-alphas to a stream of all atoms."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import psutil
import torch

from backmap.chemistry import SLOT_CA, Topology
from backmap.cluster import LocalWorkers, Workers
from backmap.errors import InputError
from backmap.inference.protein_job import POSITION_DECIMALS, ProteinJob
from backmap.io import AtomList, FrameChunk, Progress, Source
from backmap.io.atom_list import atom_names

from .c_alpha_record import CAlphaRecord
from .layout import Layout
from .recorder import Step

RESIDUES_PER_BATCH = {"cpu": 5_000, "cuda": 200_000}
"""Residues built together: enough to fill a processor, few enough for little memory."""

BYTES_PER_RESIDUE = {"cpu": 20_000, "cuda": 150_000}
"""Memory that building takes for each of them, at most; on a GPU the networks read all of them at once."""

_SHARE_OF_MEMORY = 0.5


def frames_per_batch(residues: int, samples: int, device: torch.device, workers: int = 1) -> int:
    """Say how many frames to build together, for the device and the memory that is free.

    Parameters
    ----------
    residues : int
        Of a frame.
    samples : int
        Structures for each frame.
    device : torch.device
        Where they are built.
    workers : int
        Batches built at once in the same memory.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = psutil.virtual_memory().available
    fitting = int(free * _SHARE_OF_MEMORY / workers / BYTES_PER_RESIDUE[device.type])
    return max(1, min(RESIDUES_PER_BATCH[device.type], fitting) // max(1, residues * samples))


@dataclass(frozen=True)
class KeptAtoms:
    """What is read of a frame, and the atoms that stay exactly where the input has them.

    Parameters
    ----------
    read : ndarray, (residues, 15) bool
        Atoms that frames are built from.
    numbers : ndarray, (kept,) int64
        Of kept atoms in the output; where the model moves C-alphas, they are not kept.
    places : ndarray, (kept,) int64
        Of the same among those read.
    """

    read: np.ndarray
    numbers: np.ndarray
    places: np.ndarray

    @classmethod
    def find(
        cls, atoms: AtomList, topology: Topology, read: np.ndarray, kept: np.ndarray | None = None
    ) -> KeptAtoms:
        """Find atoms by their names.

        Parameters
        ----------
        atoms : AtomList
            Of the output, residue by residue as in the topology.
        topology : Topology
            Residues of the input.
        read : ndarray, (residues, 15) bool
            Atoms that frames are built from.
        kept : ndarray, (residues, 15) bool, optional
            Those of them that stay; by default all.
        """
        kept = read if kept is None else read & kept
        place = np.where(read, np.cumsum(read).reshape(read.shape) - 1, -1)
        listed = np.array(
            [
                _places_in(residue.atom_names, topology.residue_name(index))
                for index, residue in enumerate(atoms.residues)
            ]
        )
        first = np.cumsum([0, *(len(residue.atom_names) for residue in atoms.residues[:-1])])
        kept = kept & (listed >= 0)
        return cls(read, (listed + first[:, None])[kept], place[kept])


@lru_cache(maxsize=4096)
def _places_in(listed: tuple[str, ...], residue_name: str) -> tuple[int, ...]:
    """Give the place of each of the 15 atoms of an amino acid in a list of names, -1 where it lacks."""
    return tuple(listed.index(name) if name in listed else -1 for name in atom_names(residue_name))


@dataclass(frozen=True)
class BuiltFrames:
    """Some consecutive frames with all atoms.

    Parameters
    ----------
    coordinates : ndarray, (samples, frames, atoms, 3) float64
        Positions in nm.
    chunk : FrameChunk
        The frames they were built from.
    c_alphas : CAlphaRecord
        What became of their C-alphas.
    failures : int
        Structures that could not be finished as asked.
    """

    coordinates: np.ndarray
    chunk: FrameChunk
    c_alphas: CAlphaRecord = CAlphaRecord()
    failures: int = 0


def build_frames(
    workers: Workers, chunks: Iterable[FrameChunk], kept: KeptAtoms, samples: int = 1
) -> Iterator[BuiltFrames]:
    """Build all atoms of every chunk of frames, in order, while others are being built.

    If reading fails, what was read before is built first.

    Parameters
    ----------
    workers : Workers
        Of a :class:`backmap.inference.protein_job.ProteinJob`.
    chunks : iterable of FrameChunk
        Coordinates (frames, residues, 15, 3) in nm.
    kept : KeptAtoms
        What is read of a frame, and what stays where it is.
    samples : int
        Structures of each frame.
    """
    reading = iter(chunks)
    waiting: deque[_PendingChunk] = deque()
    failure: InputError | None = None
    while failure is None:
        try:
            chunk = next(reading, None)
        except InputError as error:
            failure = error
            break
        if chunk is None:
            break
        waiting.append(_PendingChunk(workers, chunk, kept))
        if len(waiting) >= workers.window:
            yield waiting.popleft().result(samples)
    while waiting:
        yield waiting.popleft().result(samples)
    if failure is not None:
        raise failure


def near_origin(chunk: FrameChunk, read: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take what frames are built from, and move the first C-alpha of every frame to the origin.

    The models work in single precision, which far from there would cost accuracy; atoms are moved back in
    double precision. Positions are rounded, so that a structure gives the same atoms wherever it lies: the
    models decide between alternatives, and the rounding of large coordinates would tip the balance.

    Returns
    -------
    near : ndarray, (frames, read, 3) float32
        Positions in nm.
    origin : ndarray, (frames, 1, 3) float64
        Where the first C-alphas were.
    """
    origin = np.asarray(chunk.coordinates[:, :1, SLOT_CA], dtype=np.float64)
    return np.round(chunk.coordinates[:, read] - origin, POSITION_DECIMALS).astype(np.float32), origin


class _PendingChunk:
    """A chunk in the hands of a worker."""

    def __init__(self, workers: Workers, chunk: FrameChunk, kept: KeptAtoms) -> None:
        self._chunk, self._kept = chunk, kept
        near, self._origin = near_origin(chunk, kept.read)
        self._future = workers.submit(near, chunk.numbers, chunk.periodic_box) if len(chunk) else None

    def result(self, samples: int) -> BuiltFrames:
        chunk = self._chunk
        if self._future is None:
            return BuiltFrames(np.empty((samples, 0, 0, 3)), chunk)
        built = self._future.result()
        atoms = built.atoms + self._origin
        kept = self._kept
        exact = chunk.coordinates[:, kept.read][:, kept.places]
        stays = ~built.displacement.any(axis=-1)[:, :, None, None]
        atoms[:, :, kept.numbers] = np.where(stays, exact, atoms[:, :, kept.numbers])
        return BuiltFrames(atoms, chunk, CAlphaRecord.of(built), built.failures)


def build_reference(job: ProteinJob, source: Source, atoms: AtomList) -> np.ndarray:
    """Build the first sound frame, on the CPU whatever the run computes on: every worker is to know the same.

    Returns
    -------
    ndarray, (atoms, 3) float64
        Positions of its first sample in nm.
    """
    first = source.first_frames(1)
    first = first.cut(first.covered.index(int(first.numbers[0])) + 1)
    with LocalWorkers(job, "cpu") as workers:
        kept = KeptAtoms.find(atoms, source.topology, job.read)
        (built,) = build_frames(workers, [first], kept, job.samples)
    return built.coordinates[0, 0]


def to_step(built: BuiltFrames, layout: Layout, notes: dict[str, Any]) -> Step:
    """Turn built frames into what is written, with what to keep in the journal."""
    chunk = built.chunk
    written = list(enumerate(layout.frames(built.coordinates, chunk))) if len(chunk) else []
    progress = Progress(chunk.first_frame + chunk.looked_at, notes=notes)
    return Step(progress, written, chunk.looked_at * len(built.coordinates))


def listed_atoms(topology: Topology) -> AtomList:
    """List the atoms that a model builds, one after another."""
    atoms = AtomList.of_protein(topology, topology.atom_mask)
    return replace(atoms, present=np.ones(atoms.atoms, dtype=bool))
