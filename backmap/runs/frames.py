"""Frames of a protein that are built one by one: from a stream of C-alphas to a stream of all atoms."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import psutil
import torch

from backmap.chemistry import SLOT_CA, Topology
from backmap.cluster import Workers
from backmap.errors import InputError
from backmap.io import AtomFrames, AtomList, FrameChunk, Progress

from .recorder import Step

RESIDUES_PER_BATCH = {"cpu": 8_000, "cuda": 400_000}
"""Residues built together: enough to fill a processor, few enough for little memory."""

BYTES_PER_RESIDUE = 60_000
"""Memory that building takes for each of them, at most."""

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
    fitting = int(free * _SHARE_OF_MEMORY / workers / BYTES_PER_RESIDUE)
    return max(1, min(RESIDUES_PER_BATCH[device.type], fitting) // max(1, residues * samples))


@dataclass(frozen=True)
class Kept:
    """Atoms that stay exactly where the input has them.

    Parameters
    ----------
    atoms : ndarray, (kept,) int64
        Their numbers in the output.
    residues, slots : ndarray, (kept,) int64
        Where they stand in the input.
    """

    atoms: np.ndarray
    residues: np.ndarray
    slots: np.ndarray

    @classmethod
    def c_alphas(cls, atoms: AtomList) -> Kept:
        """Find the C-alphas of an output whose residues are those of the input."""
        found: list[tuple[int, int]] = []
        first = 0
        for number, residue in enumerate(atoms.residues):
            if "CA" in residue.atom_names:
                found.append((first + residue.atom_names.index("CA"), number))
            first += len(residue.atom_names)
        numbers, residues = np.array(found, dtype=np.int64).reshape(-1, 2).T
        return cls(numbers, residues, np.full(len(numbers), SLOT_CA))


@dataclass(frozen=True)
class BuiltFrames:
    """Some consecutive frames with all atoms.

    Parameters
    ----------
    coordinates : ndarray, (samples, frames, atoms, 3) float64
        Positions in nm.
    chunk : FrameChunk
        The frames they were built from.
    """

    coordinates: np.ndarray
    chunk: FrameChunk


def build_frames(
    workers: Workers, chunks: Iterable[FrameChunk], kept: Kept, samples: int = 1
) -> Iterator[BuiltFrames]:
    """Build all atoms of every chunk of frames, in order, while others are being built.

    If reading fails, what was read before is built first.

    Parameters
    ----------
    workers : Workers
        Of a :class:`backmap.inference.protein_job.ProteinJob`.
    chunks : iterable of FrameChunk
        Coordinates (frames, residues, 15, 3) in nm.
    kept : Kept
        Atoms that stay exactly where they are.
    samples : int
        Structures of each frame.
    """
    reading = iter(chunks)
    waiting: deque[_Waiting] = deque()
    failure: InputError | None = None
    while failure is None:
        try:
            chunk = next(reading, None)
        except InputError as error:
            failure = error
            break
        if chunk is None:
            break
        waiting.append(_Waiting(workers, chunk))
        if len(waiting) >= workers.window:
            yield waiting.popleft().result(kept, samples)
    while waiting:
        yield waiting.popleft().result(kept, samples)
    if failure is not None:
        raise failure


def c_alphas_near_origin(chunk: FrameChunk) -> tuple[np.ndarray, np.ndarray]:
    """Move the first C-alpha of every frame to the origin.

    The models work in single precision, which far from there would cost accuracy; atoms are moved back in
    double precision.

    Returns
    -------
    near : ndarray, (frames, residues, 3) float32
        C-alphas in nm.
    origin : ndarray, (frames, 1, 3) float64
        Where the first of them were.
    """
    c_alpha = np.asarray(chunk.coordinates[:, :, SLOT_CA], dtype=np.float64)
    origin = c_alpha[:, :1]
    return (c_alpha - origin).astype(np.float32), origin


class _Waiting:
    """A chunk in the hands of a worker."""

    def __init__(self, workers: Workers, chunk: FrameChunk) -> None:
        self._chunk = chunk
        near, self._origin = c_alphas_near_origin(chunk)
        self._future = workers.submit(near, chunk.numbers) if len(chunk) else None

    def result(self, kept: Kept, samples: int) -> BuiltFrames:
        chunk = self._chunk
        if self._future is None:
            return BuiltFrames(np.empty((samples, 0, 0, 3)), chunk)
        atoms = self._future.result() + self._origin
        atoms[:, :, kept.atoms] = chunk.coordinates[:, kept.residues, kept.slots]
        return BuiltFrames(atoms, chunk)


def to_step(built: BuiltFrames, selected: np.ndarray | None, notes: dict[str, Any], one_file: bool) -> Step:
    """Turn built frames into what is written: a sample an output, or all samples in one.

    Parameters
    ----------
    built : BuiltFrames
        The frames.
    selected : ndarray, (selected,) int64, optional
        Atoms to write; by default all.
    notes : dict
        What to keep in the journal.
    one_file : bool
        Whether the samples of a frame follow one another in one output.
    """
    chunk = built.chunk
    coordinates = built.coordinates
    if selected is not None and len(chunk):
        coordinates = coordinates[:, :, selected]
    outputs = one_output(coordinates) if one_file else coordinates
    repeats = len(coordinates) if one_file else 1
    extras = [
        None if values is None else np.repeat(values, repeats, axis=0)
        for values in (chunk.time, chunk.step, chunk.unitcell_vectors)
    ]
    written = [(number, AtomFrames(frames, *extras)) for number, frames in enumerate(outputs) if len(frames)]
    progress = Progress(chunk.first_frame + chunk.looked_at, notes=notes)
    return Step(progress, written, chunk.looked_at * len(coordinates))


def one_output(coordinates: np.ndarray) -> np.ndarray:
    """Turn (samples, frames, ...) into (1, frames x samples, ...), the samples of a frame side by side."""
    return coordinates.swapaxes(0, 1).reshape(1, -1, *coordinates.shape[2:])


def listed_atoms(topology: Topology) -> AtomList:
    """List the atoms that a model builds, one after another."""
    atoms = AtomList.of_protein(topology, topology.atom_mask)
    return replace(atoms, present=np.ones(atoms.atoms, dtype=bool))
