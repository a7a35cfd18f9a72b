"""Building of frames from any source, in the order in which they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from backmap.cluster import LocalWorkers, count_workers, select_device
from backmap.inference.coherence import State
from backmap.inference.temporal import frames_per_chunk
from backmap.io import AtomList, BeadSource, FrameChunk, FrameSource, Source
from backmap.io.selection.other_molecules import OthersKept
from backmap.models import shipped
from backmap.models.model_file import ModelFile
from backmap.models.temporal.model import TemporalModel

from .c_alpha_record import CAlphaRecord, describe_cis, describe_strain
from .protein_frames import BuiltFrames, frames_per_batch
from .protein_plan import ProteinPlan
from .request import Building
from .temporal import rollout_job
from .temporal_frames import BeadCheck, check_sources


class Opener(Protocol):
    """Opens the incoming frames for the kind of model that builds them."""

    def protein(self, asked: Building, others: OthersKept) -> Source:
        """Open them as frames of a protein, and of these other molecules."""

    def beads(self, model: TemporalModel) -> BeadSource:
        """Open them as beads of the molecule of a temporal model."""


class Follower(Protocol):
    """Knows the atoms to build, and builds them for each next frame.

    Attributes
    ----------
    atoms : AtomList
        Atoms that are built.
    frames_per_batch : int
        Number of frames that are best built together.
    """

    atoms: AtomList
    frames_per_batch: int

    @property
    def source(self) -> FrameSource:
        """Source of the frames."""

    def build(self, chunks: Iterable[FrameChunk]) -> Iterator[BuiltFrames]:
        """Build the next frames, which follow all frames built so far."""

    def describe(self) -> str:
        """Describe anything unusual in the frames built so far; empty if there is nothing."""


def open_follower(asked: Building, opener: Opener, *, side_by_side: bool) -> Follower:
    """Prepare to build frames as they arrive.

    Parameters
    ----------
    asked : Building
        How frames are built.
    opener : Opener
        Opens the frames.
    side_by_side : bool
        Whether many frames arrive at once, so that each processor core can build some of them.

    Raises
    ------
    InputError
        If the frames or the options cannot be used.
    """
    model = shipped.read_model(asked.model)
    asked.require_family(model.family)
    if model.family == "temporal":
        return _TemporalFollower(model, asked, opener)
    return _ProteinFollower(model, asked, opener, side_by_side)


class _ProteinFollower:
    """Builds each frame of a protein separately."""

    def __init__(self, model: ModelFile, asked: Building, opener: Opener, side_by_side: bool) -> None:
        device = select_device(asked.device)
        cores = count_workers(device)
        count, threads = (cores, 1) if side_by_side else (1, cores)
        self.source = opener.protein(asked, asked.others(model.family))
        self._plan = ProteinPlan.make(self.source, model, asked)
        self._workers = LocalWorkers(self._plan.job, device, count, threads)
        self._c_alphas = CAlphaRecord()
        self._state: State = {}
        self.atoms = self._plan.atoms
        self.frames_per_batch = frames_per_batch(self.source.n_residues, asked.draws_in_memory, device, count)

    def build(self, chunks: Iterable[FrameChunk]) -> Iterator[BuiltFrames]:
        """Build frames, several batches at a time."""
        for built in self._plan.build(self._workers, chunks, self._state):
            self._state = built.state
            topology, name = self.source.topology, self.source.name
            self._c_alphas = self._c_alphas.followed_by(built.c_alphas, topology, name)
            yield built

    def describe(self) -> str:
        """Name cis peptide bonds and strained residues."""
        summary = self._c_alphas.summary(self.source.topology, self.source.beads_name)
        return "; ".join(filter(None, (describe_cis(summary), describe_strain(summary))))


class _TemporalFollower:
    """Rolls out a temporal model along the frames of its molecule."""

    def __init__(self, model: ModelFile, asked: Building, opener: Opener) -> None:
        device = select_device(asked.device)
        job = rollout_job(model, asked)
        loaded = job.load("cpu")
        self.source = opener.beads(loaded)
        check_sources([self.source], loaded)
        self._check = BeadCheck(self.source, loaded)
        self._workers = LocalWorkers(job, device, threads=count_workers(device))
        self._state: Any = None
        self.atoms = AtomList.of_molecule(loaded.molecule)
        self.frames_per_batch = frames_per_chunk(asked.samples, loaded.molecule.n_atoms)

    def build(self, chunks: Iterable[FrameChunk]) -> Iterator[BuiltFrames]:
        """Build frames, each from those before it."""
        for chunk in chunks:
            self._check(chunk)
            piece = (0,), self._state, [chunk.coordinates], [chunk.numbers]
            (rolled,), self._state = self._workers.submit(*piece).result()
            yield BuiltFrames(rolled.coordinates, chunk)

    def describe(self) -> str:
        """Return nothing: anything unusual stops the rollout."""
        return ""
