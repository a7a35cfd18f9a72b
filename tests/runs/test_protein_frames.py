"""Frames come out in order and whole, whoever builds them."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from backmap.chemistry import Topology
from backmap.cluster import LocalWorkers
from backmap.errors import InputError
from backmap.inference.protein_job import BuiltAtoms
from backmap.io import FrameChunk
from backmap.io.selection.other_molecules import NO_OTHERS
from backmap.runs.output_layout import OutputLayout
from backmap.runs.protein_frames import KeptAtoms, build_frames, frames_per_batch, listed_atoms, to_step
from backmap.runs.read_ahead import read_ahead
from tests.proteins import c_alpha_sites

TOPOLOGY = Topology.from_sequences("GAG")
ATOMS = listed_atoms(TOPOLOGY)
SITES = c_alpha_sites(TOPOLOGY)
SOURCE = SimpleNamespace(sites=SITES, topology=TOPOLOGY, others=NO_OTHERS, nucleic=None)
KEPT = KeptAtoms.find(ATOMS, SOURCE, SITES.leaders, SITES.leaders)
CPU = torch.device("cpu")


def chunks(frames: int, size: int, bad: tuple[int, ...] = ()):
    """Frames far from the origin, each with its number in the C-alphas; bad ones are left out."""
    for first in range(0, frames, size):
        covered = range(first, min(first + size, frames))
        numbers = np.array([number for number in covered if number not in bad], dtype=np.int64)
        yield FrameChunk(
            coordinates=np.broadcast_to(1e4 + numbers[:, None, None], (len(numbers), 3, 3)),
            numbers=numbers,
            time=numbers.astype(float),
            first_frame=first,
            covered=covered,
        )


class Echo:
    """A job whose atoms say which frame and sample they belong to."""

    def __init__(self, samples: int = 1, fail_at: int = -1) -> None:
        self.samples, self.fail_at, self.threads = samples, fail_at, set()

    def open(self, device):
        return self

    def __call__(self, c_alpha, numbers, box):
        if self.fail_at in numbers:
            raise ValueError("cannot build")
        assert abs(c_alpha).max() < 1
        self.threads.add((threading.get_ident(), torch.get_num_threads()))
        atoms = numbers[None, :, None, None] + 0.1 * np.arange(self.samples)[:, None, None, None]
        shape = self.samples, len(numbers)
        return BuiltAtoms(
            atoms=np.broadcast_to(atoms, (*shape, ATOMS.n_atoms, 3)).astype(np.float32),
            displacement=np.zeros((*shape, TOPOLOGY.n_residues), dtype=np.float32),
            noise_nm=np.zeros(len(numbers), dtype=np.float32),
            strained=np.zeros((*shape, TOPOLOGY.n_residues), dtype=bool),
            cis=np.zeros(TOPOLOGY.n_residues, dtype=np.int64),
            failures=0,
        )


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_frames_come_in_order(workers, size):
    job = Echo(samples=2)
    with LocalWorkers(job, CPU, workers) as pool:
        built = list(build_frames(pool, chunks(11, size), KEPT, samples=2))
    atoms = np.concatenate([frames.coordinates for frames in built], axis=1)
    expected = 1e4 + 2 * np.arange(11) + 0.1 * np.arange(2)[:, None]
    assert np.allclose(atoms[:, :, 0, 0], expected, atol=1e-5)
    assert np.array_equal(atoms[0, :, KEPT.numbers[0], 0], 1e4 + np.arange(11))
    assert np.concatenate([frames.chunk.time for frames in built]).tolist() == list(range(11))
    assert len({thread for thread, _ in job.threads}) <= workers
    assert {threads for _, threads in job.threads} == {1}


def test_what_was_read_before_an_error_is_built_first():
    def reading():
        yield from chunks(6, 2)
        raise InputError("the rest is lost")

    with LocalWorkers(Echo(), CPU, 2) as pool:
        stream = build_frames(pool, read_ahead(reading(), depth=3), KEPT)
        assert [next(stream).coordinates.shape[1] for _ in range(3)] == [2, 2, 2]
        with pytest.raises(InputError, match="the rest is lost"):
            next(stream)


def test_an_error_of_a_worker_reaches_the_caller_after_what_came_before():
    with LocalWorkers(Echo(fail_at=2), CPU, 2) as pool:
        stream = build_frames(pool, chunks(6, 1), KEPT)
        assert [next(stream).coordinates.shape[1] for _ in range(2)] == [1, 1]
        with pytest.raises(ValueError, match="cannot build"):
            next(stream)


def test_chunks_without_a_sound_frame_pass():
    with LocalWorkers(Echo(samples=3), CPU, 2) as pool:
        built = list(build_frames(pool, chunks(7, 2, bad=(2, 3, 6)), KEPT, samples=3))
    assert [frames.coordinates.shape[1] for frames in built] == [2, 0, 2, 0]
    steps = [to_step(frames, OutputLayout(np.array([1, 4])), {}) for frames in built]
    assert [step.progress.frames_done for step in steps] == [2, 4, 6, 7]
    assert [len(step.written) for step in steps] == [3, 0, 3, 0]
    assert [step.frames_built for step in steps] == [6, 6, 6, 3]


def test_samples_of_a_frame_follow_each_other_in_one_file():
    with LocalWorkers(Echo(samples=3), CPU) as pool:
        (built,) = build_frames(pool, chunks(2, 2), KEPT, samples=3)
    ((output, frames),) = to_step(built, OutputLayout(one_file=True), {}).written
    assert output == 0 and len(frames) == 6
    np.testing.assert_allclose(frames.coordinates[:, 0, 0] - 1e4, [0, 0.1, 0.2, 2, 2.1, 2.2], atol=1e-5)
    assert frames.time.tolist() == [0, 0, 0, 1, 1, 1]


def test_batches_fit_the_processor_and_the_memory(monkeypatch):
    assert frames_per_batch(10**7, 5, CPU) == 1
    assert frames_per_batch(80, 1, CPU) * 80 <= 5_000 < (frames_per_batch(80, 1, CPU) + 1) * 80

    class Little:
        available = 2 * 20_000 * 500

    monkeypatch.setattr("psutil.virtual_memory", lambda: Little)
    assert frames_per_batch(50, 1, CPU) == 10
    assert frames_per_batch(50, 1, CPU, workers=2) == 5


def test_read_ahead_keeps_order_errors_and_the_depth():
    made: list[int] = []

    def items():
        for number in range(5):
            made.append(number)
            yield number
        raise ValueError("end")

    ahead = read_ahead(items(), depth=2)
    assert next(ahead) == 0
    assert len(made) <= 4
    assert [next(ahead) for _ in range(4)] == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="end"):
        next(ahead)
