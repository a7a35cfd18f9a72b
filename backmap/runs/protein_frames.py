"""Frames of a protein, each built separately: from a stream of C-alphas to a stream of all atoms."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from backmap.chemistry import ATOM_SLOTS, HEAVY_ATOMS, SLOT_OXT, Topology
from backmap.chemistry.modified_residues import Modification, Modifications
from backmap.chemistry.near_pairs import near_pairs
from backmap.chemistry.periodic_box import has_box
from backmap.cluster import LocalWorkers, Workers
from backmap.errors import InputError
from backmap.inference.coherence import State
from backmap.inference.protein_job import POSITION_DECIMALS, Past, ProteinJob
from backmap.io import AtomList, FrameChunk, Progress, Source
from backmap.io.atom_list import ListedResidue
from backmap.io.formats.structure_file import ANGSTROM_PER_NM

from .c_alpha_record import CAlphaRecord
from .output_layout import OutputLayout
from .recorder import Step

if TYPE_CHECKING:
    import torch

RESIDUES_PER_BATCH = {"cpu": 5_000, "cuda": 200_000}
"""Residues built together: enough to occupy the device, few enough to need little memory."""

BYTES_PER_RESIDUE = {"cpu": 20_000, "cuda": 150_000}
"""Upper bound on the memory per residue; on a GPU, the networks process all residues at once."""

_SHARE_OF_MEMORY = 0.5

OVERLAP_NM = 0.2
"""Atoms that are not bonded are farther apart."""


def frames_per_batch(residues: int, samples: int, device: torch.device, workers: int = 1) -> int:
    """Return how many frames to build together, given the device and its free memory.

    Parameters
    ----------
    residues : int
        Residues per frame.
    samples : int
        Structures per frame.
    device : torch.device
        Device that builds them.
    workers : int
        Number of batches built at once in the same memory.
    """
    import torch

    if device.type == "cuda" and torch.cuda.is_available():
        free, _ = torch.cuda.mem_get_info(device)
    else:
        free = psutil.virtual_memory().available
    fitting = int(free * _SHARE_OF_MEMORY / workers / BYTES_PER_RESIDUE[device.type])
    return max(1, min(RESIDUES_PER_BATCH[device.type], fitting) // max(1, residues * samples))


@dataclass(frozen=True)
class KeptAtoms:
    """The sites of a frame that are read, and those that keep exactly their input positions.

    Parameters
    ----------
    read : ndarray, (read,) int64
        Indices, among the sites of the source, of those that frames are built from.
    leader : int
        Index among the sites of the first one that leads the chain.
    numbers : ndarray, (kept,) int64
        Indices of the kept atoms in the output; in structures whose C-alphas moved, none are kept.
    places : ndarray, (kept,) int64
        Indices of the kept atoms among the sites that are read.
    others : slice
        The sites of molecules beside the protein, which follow the built atoms in the output.
    owners : ndarray, (protein atoms,) int64
        The residue of each atom of the protein, which are the first ones in the output; -1 in caps.
    """

    read: np.ndarray
    leader: int
    numbers: np.ndarray
    places: np.ndarray
    others: slice
    owners: np.ndarray

    @classmethod
    def find(
        cls,
        atoms: AtomList,
        source: Source,
        read: np.ndarray,
        kept: np.ndarray,
        modifications: Modifications | None = None,
    ) -> KeptAtoms:
        """Find atoms by their names.

        Parameters
        ----------
        atoms : AtomList
            Atoms of the output: the residues of the source, and their caps.
        source : Source
            What is read.
        read : ndarray, (read,) int64
            Sites of the protein that frames are built from, ascending.
        kept : ndarray, (kept,) int64
            Those of them that keep their positions.
        modifications : mapping of str to Modification, optional
            The modified residues by name, if the output has them instead of their parents.
        """
        sites, topology = source.sites, source.topology
        first, names = _places_and_names(atoms, topology, modifications)
        owners = np.full(atoms.n_atoms, -1, dtype=np.int64)
        for residue, (begin, own) in enumerate(zip(first, names, strict=True)):
            owners[begin : begin + len(own)] = residue
        numbers, places = [], []
        for place in np.flatnonzero(np.isin(read, kept)).tolist():
            site = read[place]
            residue = int(sites.residues[site])
            if sites.names[site] in names[residue]:
                numbers.append(first[residue] + names[residue].index(sites.names[site]))
                places.append(place)
        n_beads = 0 if source.nucleic is None else source.nucleic.n_beads
        others = slice(sites.n_sites + n_beads, sites.n_sites + n_beads + source.others.n_sites)
        return cls(
            np.concatenate([read, np.arange(sites.n_sites, others.stop)]),
            int(sites.leaders[0]) if len(sites.leaders) else 0,
            np.array(numbers, dtype=np.int64),
            np.array(places, dtype=np.int64),
            others,
            owners,
        )

    @property
    def first_atoms(self) -> np.ndarray:
        """The first atom (residues,) of each residue of the protein in the output."""
        residues, first = np.unique(self.owners, return_index=True)
        return first[residues >= 0]

    def b_factors(self, deviation_nm: np.ndarray, n_atoms: int) -> np.ndarray:
        """Return deviations (frames, residues) in Angstrom for all atoms (frames, atoms) of the output.

        Atoms that do not belong to a residue have zero.
        """
        values = np.zeros((len(deviation_nm), n_atoms))
        values[:, : len(self.owners)] = np.where(
            self.owners >= 0, ANGSTROM_PER_NM * deviation_nm[:, self.owners], 0.0
        )
        return values


def atom_places(
    atoms: AtomList, topology: Topology, modifications: Modifications | None = None
) -> np.ndarray:
    """Return the index (residues, 15) int64 of each heavy atom in a list; -1 if it is not there.

    Parameters
    ----------
    atoms : AtomList
        Residues of the topology, and their caps.
    topology : Topology
        The residues.
    modifications : mapping of str to Modification, optional
        The modified residues by name, if the list has them instead of their parents.
    """
    places = np.full((topology.n_residues, ATOM_SLOTS), -1, dtype=np.int64)
    begins, names_of = _places_and_names(atoms, topology, modifications)
    for residue, (first, names) in enumerate(zip(begins, names_of, strict=True)):
        slots = [*enumerate(HEAVY_ATOMS[topology.residue_name(residue)]), (SLOT_OXT, "OXT")]
        for slot, name in slots:
            if name in names:
                places[residue, slot] = first + names.index(name)
    return places


def _places_and_names(
    atoms: AtomList, topology: Topology, modifications: Modifications | None
) -> tuple[list[int], list[tuple[str, ...]]]:
    """Return where the atoms of each residue begin in a list, and their names in its parent."""
    known = {} if modifications is None else modifications
    caps = {cap.name for cap in topology.caps}
    protein = [row for row, residue in enumerate(atoms.residues) if residue.name not in caps]
    names = [
        _parent_names(atoms.residues[row], known.get(topology.names[index]))
        for index, row in enumerate(protein)
    ]
    first = np.cumsum([0, *(len(residue.atom_names) for residue in atoms.residues)])[protein].tolist()
    return first, names


def _parent_names(residue: ListedResidue, modified: Modification | None) -> tuple[str, ...]:
    """Return the names that the atoms of a residue have in its parent; empty for atoms of its own."""
    if modified is None:
        return residue.atom_names
    return tuple("OXT" if name == "OXT" else modified.old_names.get(name, "") for name in residue.atom_names)


@dataclass(frozen=True)
class BuiltFrames:
    """Consecutive frames with all atoms.

    Parameters
    ----------
    coordinates : ndarray, (samples, frames, atoms, 3) float64
        Positions in nm.
    chunk : FrameChunk
        The frames they were built from.
    c_alphas : CAlphaRecord
        Record of their C-alphas.
    failures : int
        Number of structures that could not be finished as requested.
    state : dict of str to ndarray
        For the next frames, if these are coherent.
    n_jumps : int
        Number of coherent frames that do not follow the one before them.
    overlaps : ndarray, (samples, frames) int64, optional
        Number of atoms that are closer than 0.2 nm to molecules carried along, if there are any.
    n_strained_nucleotides : int
        Number of nucleotides with strained bonds.
    b_factors : ndarray, (frames, atoms), optional
        Expected deviations of the residues of the atoms in Angstrom, if the frames are best guesses.
    """

    coordinates: np.ndarray
    chunk: FrameChunk
    c_alphas: CAlphaRecord = CAlphaRecord()
    failures: int = 0
    state: State = field(default_factory=dict)
    n_jumps: int = 0
    overlaps: np.ndarray | None = None
    n_strained_nucleotides: int = 0
    b_factors: np.ndarray | None = None


def build_frames(
    workers: Workers, chunks: Iterable[FrameChunk], kept: KeptAtoms, samples: int = 1
) -> Iterator[BuiltFrames]:
    """Build all atoms of every chunk of frames, several chunks at once, and yield them in order.

    If reading fails, the chunks read before are built first.

    Parameters
    ----------
    workers : Workers
        Workers of a :class:`backmap.inference.protein_job.ProteinJob`.
    chunks : iterable of FrameChunk
        Coordinates (frames, sites, 3) in nm.
    kept : KeptAtoms
        Atoms that are read of a frame, and those that keep their positions.
    samples : int
        Structures per frame.
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


@dataclass(frozen=True)
class Clock:
    """When frames were taken.

    Parameters
    ----------
    interval_ps : float, optional
        Time between successive frames of the file; by default, frames say it themselves.
    """

    interval_ps: float | None

    def times(self, chunk: FrameChunk) -> np.ndarray:
        """Return the times (frames,) of frames in ps."""
        if self.interval_ps is not None or chunk.time is None:
            return chunk.numbers * (self.interval_ps or 0.0)
        return np.asarray(chunk.time, dtype=np.float64)


def build_in_sequence(
    workers: Workers,
    chunks: Iterable[FrameChunk],
    kept: KeptAtoms,
    clock: Clock,
    samples: int = 1,
    state: State | None = None,
) -> Iterator[BuiltFrames]:
    """Build all atoms of every chunk of coherent frames, one chunk after another.

    Parameters
    ----------
    workers, chunks, kept, samples
        As for :func:`build_frames`.
    clock : Clock
        Gives the times of frames.
    state : dict of str to ndarray, optional
        From the frames before the first chunk.
    """
    for chunk in chunks:
        built = _PendingChunk(workers, chunk, kept, Past(clock.times(chunk), state or None)).result(samples)
        state = built.state
        yield built


def near_origin(chunk: FrameChunk, kept: KeptAtoms) -> tuple[np.ndarray, np.ndarray]:
    """Select the sites that frames are built from, and move the first residue of every frame to the origin.

    The models work in single precision, which loses accuracy far from the origin; atoms are moved back in
    double precision. Positions are rounded so that a structure gives the same atoms wherever it lies: the
    models choose between alternatives, and rounding errors of large coordinates could change the choice.

    Returns
    -------
    near : ndarray, (frames, read, 3) float32
        Positions in nm.
    origin : ndarray, (frames, 1, 3) float64
        Original positions of the first leading sites.
    """
    origin = np.asarray(chunk.coordinates[:, kept.leader, None], dtype=np.float64)
    return np.round(chunk.coordinates[:, kept.read] - origin, POSITION_DECIMALS).astype(np.float32), origin


class _PendingChunk:
    """A chunk that a worker is building."""

    def __init__(
        self, workers: Workers, chunk: FrameChunk, kept: KeptAtoms, past: Past | None = None
    ) -> None:
        self._chunk, self._kept = chunk, kept
        near, self._origin = near_origin(chunk, kept)
        self._state = {} if past is None else past.state or {}
        more = () if past is None else (past,)
        piece = near, chunk.numbers, chunk.periodic_box, *more
        self._future = workers.submit(*piece) if len(chunk) else None

    def result(self, samples: int) -> BuiltFrames:
        chunk = self._chunk
        if self._future is None:
            return BuiltFrames(np.empty((samples, 0, 0, 3)), chunk, state=self._state)
        built = self._future.result()
        atoms = built.atoms + self._origin
        kept = self._kept
        exact = chunk.coordinates[:, kept.read[kept.places]]
        stays = ~built.displacement.any(axis=-1)[:, :, None, None]
        atoms[:, :, kept.numbers] = np.where(stays, exact, atoms[:, :, kept.numbers])
        overlaps = None
        if kept.others.start < kept.others.stop:
            beside = np.asarray(chunk.coordinates[:, kept.others], dtype=np.float64)
            overlaps = _count_overlaps(atoms, beside, chunk.periodic_box)
            atoms = np.concatenate([atoms, np.broadcast_to(beside, (samples, *beside.shape))], axis=2)
        record = CAlphaRecord.of(built, chunk.numbers)
        n_strained = int(built.strained_nucleotides.sum())
        b_factors = None if built.deviation is None else kept.b_factors(built.deviation, atoms.shape[2])
        return BuiltFrames(
            atoms, chunk, record, built.failures, built.state, built.n_jumps, overlaps, n_strained, b_factors
        )


def _count_overlaps(atoms: np.ndarray, beside: np.ndarray, boxes: np.ndarray | None) -> np.ndarray:
    """Count atoms (samples, frames, atoms, 3) that overlap sites (frames, sites, 3) of other molecules."""
    samples, frames = atoms.shape[:2]
    number = np.zeros((samples, frames), dtype=np.int64)
    for frame in range(frames):
        box = boxes[frame] if boxes is not None and has_box(boxes)[frame] else None
        for sample in range(samples):
            own = atoms[sample, frame][np.isfinite(atoms[sample, frame]).all(axis=-1)]
            found, _, _ = near_pairs(own, beside[frame], OVERLAP_NM, box)
            number[sample, frame] = len(np.unique(found))
    return number


def build_first_frames(job: ProteinJob, source: Source, kept: KeptAtoms, n_frames: int) -> np.ndarray:
    """Build the first sound frames, always on the CPU so that the result is the same for every device.

    Returns
    -------
    ndarray, (structures, atoms, 3) float64
        Positions in nm of the atoms of protein and nucleic acids, all frames of the first sample before those
        of the next.
    """
    first = source.first_frames(n_frames)
    first = first.cut(first.covered.index(int(first.numbers[-1])) + 1)
    with LocalWorkers(job, "cpu") as workers:
        (built,) = build_frames(workers, [first], kept, job.samples)
    n_others = kept.others.stop - kept.others.start
    structures = built.coordinates[:, :, : built.coordinates.shape[2] - n_others]
    return structures.reshape(-1, *structures.shape[2:])


def to_step(
    built: BuiltFrames, layout: OutputLayout, notes: dict[str, Any], confidence: bool = False
) -> Step:
    """Convert built frames to a step of the recorder, with notes for the journal.

    With ``confidence``, B-factors are written.
    """
    chunk, b_factors = built.chunk, built.b_factors if confidence else None
    frames = layout.frames(built.coordinates, chunk, b_factors=b_factors) if len(chunk) else []
    written = list(enumerate(frames))
    progress = Progress(chunk.first_frame + chunk.looked_at, state=built.state, notes=notes)
    return Step(progress, written, chunk.looked_at * len(built.coordinates))


def listed_atoms(topology: Topology) -> AtomList:
    """List the atoms that a model builds, in order."""
    return AtomList.of_protein(topology, topology.atom_mask)
