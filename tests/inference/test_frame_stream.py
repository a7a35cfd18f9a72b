"""Chunks come out in order and whole, whoever builds them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from backmap.chemistry import SLOT_CA
from backmap.inference.frame_stream import build_frames, frames_per_chunk


@dataclass
class Chunk:
    first_frame: int
    coordinates: np.ndarray
    time: np.ndarray | None = None
    unitcell_vectors: np.ndarray | None = None


def chunks(frames: int, size: int, residues: int = 3):
    """Frames far from the origin, each with its number in the C-alphas."""
    for first in range(0, frames, size):
        numbers = np.arange(first, min(first + size, frames), dtype=np.float64)
        coordinates = np.full((len(numbers), residues, 15, 3), np.nan)
        coordinates[:, :, SLOT_CA] = 1e4 + numbers[:, None, None]
        yield Chunk(first, coordinates, time=numbers)


class Echo:
    """A model whose atoms say which frame and sample they belong to."""

    def __init__(self, fail_at: int = -1) -> None:
        self.fail_at, self.threads = fail_at, set()

    def reconstruct(self, c_alpha, *, first_frame, samples, seed):
        if first_frame == self.fail_at:
            raise ValueError("cannot build")
        assert c_alpha.abs().max() < 1
        self.threads.add((threading.get_ident(), torch.get_num_threads()))
        number = torch.arange(first_frame, first_frame + len(c_alpha)).view(1, -1, 1, 1, 1)
        sample = torch.arange(samples).view(-1, 1, 1, 1, 1)
        return (number + 0.1 * sample + seed).expand(samples, -1, c_alpha.shape[1], 15, 3).float()


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_frames_come_in_order(workers, size):
    model = Echo()
    built = list(build_frames(model, chunks(11, size), samples=2, seed=3, workers=workers))
    atoms = np.concatenate([frames.coordinates for frames in built], axis=1)
    expected = 1e4 + 3 + 2 * np.arange(11) + 0.1 * np.arange(2)[:, None]
    assert np.allclose(atoms[:, :, 0, 0, 0], expected, atol=1e-5)
    assert np.array_equal(atoms[0, :, 0, SLOT_CA, 0], 1e4 + np.arange(11))
    assert np.concatenate([frames.time for frames in built]).tolist() == list(range(11))
    assert len({thread for thread, _ in model.threads}) <= workers
    assert {threads for _, threads in model.threads} == {1}


def test_an_error_reaches_the_caller_after_what_came_before():
    stream = build_frames(Echo(fail_at=2), chunks(6, 1), workers=2)
    assert [next(stream).coordinates.shape[1] for _ in range(2)] == [1, 1]
    with pytest.raises(ValueError, match="cannot build"):
        next(stream)


def test_chunks_hold_at_least_one_frame():
    assert frames_per_chunk(10**7, 5) == 1
    assert frames_per_chunk(80, 1) * 80 <= 8_000 < (frames_per_chunk(80, 1) + 1) * 80
