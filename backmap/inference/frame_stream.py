"""From a stream of frames with C-alphas to a stream of frames with all atoms, in constant memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from backmap.chemistry import SLOT_CA

RESIDUES_PER_CHUNK = 8_000
"""Residues built together: enough to fill a processor, few enough for little memory."""


class Frames(Protocol):
    """Some consecutive frames of the input."""

    first_frame: int
    coordinates: np.ndarray
    time: np.ndarray | None
    unitcell_vectors: np.ndarray | None


class Reconstructor(Protocol):
    """Builds all atoms on C-alphas near the origin."""

    def reconstruct(
        self, c_alpha: torch.Tensor, *, first_frame: int, samples: int, seed: int
    ) -> torch.Tensor:
        """Turn C-alphas (frames, residues, 3) into atoms (samples, frames, residues, 15, 3), both in nm."""


@dataclass(frozen=True)
class BuiltFrames:
    """Some consecutive frames with all atoms.

    Parameters
    ----------
    coordinates : ndarray, (samples, frames, residues, 15, 3) float64
        Positions in nm.
    time : ndarray, (frames,), optional
        Time in ps.
    unitcell_vectors : ndarray, (frames, 3, 3), optional
        Box vectors in nm.
    """

    coordinates: np.ndarray
    time: np.ndarray | None
    unitcell_vectors: np.ndarray | None


def frames_per_chunk(residues: int, samples: int) -> int:
    """Say how many frames to build together, so that a chunk holds about ``RESIDUES_PER_CHUNK`` residues."""
    return max(1, RESIDUES_PER_CHUNK // max(1, residues * samples))


def build_frames(
    reconstructor: Reconstructor,
    chunks: Iterable[Frames],
    *,
    samples: int = 1,
    seed: int = 0,
    workers: int = 1,
) -> Iterator[BuiltFrames]:
    """Build all atoms of every chunk of frames, while the next is read and the last is written.

    Each worker builds its own chunk on one thread: the model is many small steps, which threads within a step
    would slow down.

    Parameters
    ----------
    reconstructor : Reconstructor
        A model made ready for this topology.
    chunks : iterable of frames
        Coordinates (frames, residues, 15, 3) in nm, of which only the C-alphas are used.
    samples : int
        Independent structures to draw for each frame.
    seed : int
        Seed of the random numbers. The result does not depend on how the frames are cut into chunks.
    workers : int
        Chunks built at once.
    """
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
    pending: deque[Future[BuiltFrames]] = deque()
    try:
        for chunk in chunks:
            pending.append(pool.submit(_build, reconstructor, chunk, samples, seed))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _build(reconstructor: Reconstructor, chunk: Frames, samples: int, seed: int) -> BuiltFrames:
    """Build atoms around C-alphas moved to the origin, and move them back in double precision.

    The model works in single precision, which far from the origin would cost accuracy. C-alphas are returned
    as they came.
    """
    c_alpha = np.asarray(chunk.coordinates[:, :, SLOT_CA], dtype=np.float64)
    origin = c_alpha[:, :1]
    near = torch.from_numpy((c_alpha - origin).astype(np.float32))
    with torch.inference_mode():
        built = reconstructor.reconstruct(near, first_frame=chunk.first_frame, samples=samples, seed=seed)
    atoms = built.cpu().numpy().astype(np.float64) + origin[:, :, None]
    atoms[..., SLOT_CA, :] = c_alpha
    return BuiltFrames(atoms, chunk.time, chunk.unitcell_vectors)
