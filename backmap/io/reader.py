"""Open any structure or trajectory as a stream of frames with the protein's topology."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from backmap.chemistry import SLOT_C, SLOT_N, Topology
from backmap.chemistry.bead_mapping import BeadLayout, BeadMapping, file_of_mapping, load_mapping
from backmap.chemistry.modified_residues import read_modifications
from backmap.chemistry.nucleic_mapping import file_of_nucleic_mapping
from backmap.chemistry.sites import Sites
from backmap.chemistry.topology import number_steps
from backmap.errors import InputEndsEarly, InputError, InputWarning

from .formats.fasta import FastaFile
from .formats.frame_times import header_interval, holds_times
from .formats.gro_file import GroFile
from .formats.gsd_file import GsdFile
from .formats.lammps_dump import LammpsDump
from .formats.mmcif_file import MmcifFile
from .formats.npy_file import NpyFile
from .formats.pdb_file import PdbFile
from .formats.structure_file import FrameFile, NamesFile
from .formats.trajectory_file import LoadedTrajectory, TopologyFile, open_trajectory, residue_records
from .frames import FrameChunk, Frames, join_chunks
from .naming import (
    GRO_SUFFIXES,
    GSD_SUFFIXES,
    INPUT_SUFFIXES,
    LAMMPS_SUFFIXES,
    MMCIF_SUFFIXES,
    NPY_SUFFIXES,
    PDB_SUFFIXES,
    TOPOLOGY_SUFFIXES,
    require_file,
    require_suffix,
    suffix_of,
)
from .selection.chains import divide_chains, neighbour_distances
from .selection.coordinate_checks import (
    FrameJudge,
    check_unit,
    refuse_wrapped,
    warn_of_breaks,
)
from .selection.disulfide_records import find_named, require_named
from .selection.handedness import describe_mirror_image
from .selection.links import NO_LINKS, Links, links_in_topology
from .selection.nucleic_selection import ANY_NUCLEIC_BEADS, AS_THEY_ARE
from .selection.other_molecules import OthersKept
from .selection.protein_selection import (
    ProteinSelection,
    ResidueRecord,
    select_protein,
    warn_of_carried_nucleotides,
)
from .selection.residue_centres import (
    Division,
    describe_forced_centres,
    divide_trace,
    refuse_residue_centres,
)
from .selection.rings import RingFinder
from .selection.whole_molecules import ChainsOfAtoms, make_whole, near_atoms, periodic_boxes

if TYPE_CHECKING:
    import mdtraj

FRAMES_LOOKED_AT = 100
"""Number of frames at the start that are checked before anything is built."""

_FRAMES_PER_LOOK = 25
_RESIDUES_PER_LOOK = 200_000
_NamedFrames = PdbFile | MmcifFile | GroFile | GsdFile | LammpsDump | NpyFile
ANY_BEADS = "auto"
"""Names and distances decide whether positions are atoms, C-alphas or other beads."""

RESIDUE_CENTRE = "residue-centre"
"""Name of the mapping with one bead per residue, which simulations mix with C-alphas."""

_OTHER_UNITS = (("nm", 1.0), ("Angstrom", 0.1))
_BOND_NM = 0.38


@dataclass(frozen=True)
class FrameRange:
    """Which frames of a file to read.

    Parameters
    ----------
    begin : int
        Number of the first frame, from 0.
    end : int, optional
        Number of the first frame that is no longer read; by default, read to the end of the file.
    stride : int
        Read every ``stride``-th frame.

    Raises
    ------
    InputError
        If the range cannot select a frame of any file.
    """

    begin: int = 0
    end: int | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.begin < 0:
            raise InputError(f"frame {self.begin + 1}: frames are counted from 1; begin at frame 1 or later")
        if self.end is not None and self.end <= self.begin:
            raise InputError(
                f"empty frame range {self.begin + 1} to {self.end}: --end must not precede --begin"
            )
        if self.stride < 1:
            raise InputError(f"stride {self.stride}: must be at least 1, which reads every frame")

    def numbers(self, frames: int) -> range:
        """Return the numbers, from 0, of the selected frames of a file with ``frames`` frames."""
        return range(self.begin, frames if self.end is None else min(self.end, frames), self.stride)


EVERY_FRAME = FrameRange()


class FrameSource(ABC):
    """The selected frames of an opened file.

    Attributes
    ----------
    name : str
        Name of the file, for messages.
    files : tuple of Path
        The files that are read.
    frame_range : FrameRange
        The requested frames.
    numbers : range
        Numbers in the file, from 0, of the requested frames that exist.
    """

    def __init__(
        self,
        name: str,
        frames_file: FrameFile,
        *,
        frames: FrameRange,
        skip_bad: bool,
        files: tuple[Path, ...],
        timed: bool | None = None,
    ) -> None:
        self.name = name
        self.files = files
        self.frame_range = frames
        self.numbers = frames.numbers(frames_file.n_frames)
        self._file = frames_file
        self._skip_bad = skip_bad
        self._timed = bool(files) and holds_times(files[0]) if timed is None else timed
        self._header_interval_ps = header_interval(files[0]) if files else None
        if not self.numbers:
            self._refuse_to_read_nothing()

    @property
    def n_frames(self) -> int:
        """Number of selected frames, including bad ones."""
        return len(self.numbers)

    @property
    def tells_times(self) -> bool:
        """Whether each frame says when it was taken."""
        return self._timed

    @cached_property
    def frame_interval_ps(self) -> float | None:
        """Time in ps between selected frames, from the file's header or first sound frames, if known."""
        stride = self.frame_range.stride
        if self._header_interval_ps is not None:
            return stride * self._header_interval_ps
        first = self.first_frames(2) if self._timed and self.n_frames > 1 else None
        if first is None or first.time is None or len(first) < 2:
            return None
        apart = int(first.numbers[1] - first.numbers[0]) // stride
        return float(first.time[1] - first.time[0]) / apart

    def chunks(self, frames_per_chunk: int, first_frame: int = 0) -> Iterator[FrameChunk]:
        """Read the selected frames in chunks, starting at ``first_frame``; the last chunk may be smaller.

        Bad frames are left out if requested, which does not change the division into chunks.

        Raises
        ------
        InputError
            If a frame is bad: implausible values, torn bonds, another unit, or two C-alphas at one position.
        InputEndsEarly
            After all whole frames, if the file ends in the middle of a requested frame.
        """
        yield from self._whole_frames(frames_per_chunk, first_frame)
        if self.early_end is not None:
            raise self.early_end

    @property
    def early_end(self) -> InputEndsEarly | None:
        """The error to raise if the file ends in the middle of a requested frame."""
        end, found = self.frame_range.end, self._file.n_frames
        if not self._file.ends_early or (end is not None and end <= found):
            return None
        were = "1 whole frame was" if found == 1 else f"{found} whole frames were"
        return InputEndsEarly(
            f"{self.name}: ends in the middle of frame {found + 1}; its {were} read; "
            "copy it again, or read only its whole frames"
        )

    def take(self, frames: Frames, first_number: int) -> FrameChunk:
        """Take frames from another source that have the atoms of the file, numbered from ``first_number``.

        Raises
        ------
        InputError
            If a frame is bad.
        """
        covered = range(first_number, first_number + len(frames))
        return self._sound(frames, first_number, covered)

    def first_frames(self, count: int) -> FrameChunk:
        """Read about ``count`` sound frames at the start, or fewer if most are bad.

        Raises
        ------
        InputError
            As :meth:`chunks`, or if all frames are bad.
        """
        chunks: list[FrameChunk] = []
        looked_at = sound = 0
        for chunk in self._whole_frames(min(count, _FRAMES_PER_LOOK)):
            chunks.append(chunk)
            looked_at += chunk.looked_at
            sound += len(chunk)
            if sound >= count or (sound and looked_at >= FRAMES_LOOKED_AT):
                break
        if not sound:
            self._refuse_all()
        return join_chunks([chunk for chunk in chunks if len(chunk)])

    def _refuse_all(self) -> NoReturn:
        raise InputError(f"{self.name}: all its frames are bad; read it without skipping to see why")

    @abstractmethod
    def _take(self, raw: Frames) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of the selected atoms, and which frames are sound, (frames,) bool."""

    @abstractmethod
    def _refuse(self, raw: Frames, number: int) -> NoReturn:
        """Raise an error that explains what is wrong with one frame, whose number in the file is from 0."""

    def _whole_frames(self, frames_per_chunk: int, first_frame: int = 0) -> Iterator[FrameChunk]:
        place = first_frame
        waiting: list[FrameChunk] = []
        for raw in self._file.read(self.numbers[first_frame:], frames_per_chunk):
            waiting.append(self._chunk(raw, place))
            place += len(raw)
            if (place - first_frame) % frames_per_chunk == 0 or place == self.n_frames:
                yield join_chunks(waiting)
                waiting = []

    def _chunk(self, raw: Frames, first_frame: int) -> FrameChunk:
        return self._sound(raw, first_frame, self.numbers[first_frame : first_frame + len(raw)])

    def _sound(self, raw: Frames, first_frame: int, covered: range) -> FrameChunk:
        """Check frames with these numbers, and leave out bad ones or refuse them."""
        numbers = np.asarray(covered, dtype=np.int64)
        coordinates, sound = self._take(raw)
        if not sound.all() and not self._skip_bad:
            bad = int(sound.argmin())
            self._refuse(raw[bad : bad + 1], covered[bad])
        chunk = FrameChunk(
            coordinates=coordinates,
            time=self._times(raw, numbers),
            step=raw.step,
            box=raw.box,
            numbers=numbers,
            space_group=raw.space_group,
            first_frame=first_frame,
            covered=covered,
        )
        return chunk if sound.all() else chunk[sound]

    def _times(self, raw: Frames, numbers: np.ndarray) -> np.ndarray | None:
        """Return the times in ps of frames with these numbers, from the header if only it gives them."""
        if self._header_interval_ps is not None:
            return numbers * self._header_interval_ps
        return raw.time

    def _refuse_to_read_nothing(self) -> NoReturn:
        found = self._file.n_frames
        if found:
            raise InputError(
                f"{self.name}: has {found} frame{'s' if found > 1 else ''}, "
                f"but frames from {self.frame_range.begin + 1} on were requested; begin at an earlier frame"
            )
        if self._file.ends_early:
            raise InputEndsEarly(f"{self.name}: ends in the middle of its first frame; copy it again")
        raise InputError(f"{self.name}: contains no frames")


class Source(FrameSource):
    """An opened structure or trajectory, made by :func:`open_source`.

    Chunks have coordinates (frames, sites, 3) in the precision of the file, with proteins made whole.

    Attributes
    ----------
    topology : Topology
        Residues of the protein. Their chains are decided by the first sound frame of the file, whichever
        frames are requested.
    linked : ndarray, (residues,) bool
        Which residues are bonded to the next one, decided by the same frame.
    sites : Sites
        The atoms of the residues that the file contains, or its beads.
    beads : BeadLayout or None
        What the sites are means of, if they are not atoms.
    mapping : BeadMapping or None
        The mapping of these beads.
    others : OtherMolecules
        Molecules beside the protein that are carried along.
    nucleic : NucleicAcids or None
        Nucleic acids to build. Their beads follow the sites of the protein in the coordinates; the sites of
        other molecules come next.
    hydrogens : SelectedHydrogens
        Hydrogens of the protein, if they are read. They come last in the coordinates.
    """

    def __init__(
        self,
        name: str,
        frames_file: FrameFile,
        selection: ProteinSelection,
        *,
        frames: FrameRange = EVERY_FRAME,
        skip_bad: bool = False,
        files: tuple[Path, ...] = (),
        links: Links = NO_LINKS,
        asked_links: Links = NO_LINKS,
        timed: bool | None = None,
    ) -> None:
        super().__init__(name, frames_file, frames=frames, skip_bad=skip_bad, files=files, timed=timed)
        self._links, self._asked_links = links, asked_links
        self._selection = selection
        self._division: Division | None = None
        self.sites = selection.sites
        self.beads: BeadLayout | None = None
        self.hydrogens = selection.hydrogens
        self._set_others(selection)
        self._set_chains(selection.topology)
        self._decide_by_first_sound_frame()

    @property
    def given(self) -> Sites:
        """Atoms of the file that may be kept.

        Raises
        ------
        InputError
            If an atom occurs twice.
        """
        if self._selection.ambiguous:
            raise InputError(self._selection.ambiguous)
        return self.sites

    @cached_property
    def disulfides(self) -> np.ndarray:
        """(bonds, 2) int64: disulfides that were asked for or that the file names, the lower residue first.

        Those that were asked for come first. Bonds of the file that are impossible given the C-alphas of the
        first frame are left out with a warning.

        Raises
        ------
        InputError
            If one that was asked for is impossible.
        """
        asked, named = self._asked_links.disulfides, self._links.disulfides
        if not asked and not named:
            return np.empty((0, 2), dtype=np.int64)
        leaders, reach_nm = self._first_c_alpha[None], self._selection.reach_nm
        require_named(asked, self.topology, leaders, self.name, reach_nm)
        joined = {place for bond in asked for place in bond}
        others = [bond for bond in named if joined.isdisjoint(bond)]
        return find_named([*asked, *others], self.topology, leaders, self.name, reach_nm)

    def _set_others(self, selection: ProteinSelection) -> None:
        """Set the molecules beside the protein."""
        self._selection, self.others, self.nucleic = selection, selection.others, selection.nucleic
        beads = np.empty(0, dtype=np.int64) if self.nucleic is None else self.nucleic.index
        parts = [selection.atom_index, beads, self.others.index, self.hydrogens.index]
        self._index = np.concatenate(parts)

    def check(self) -> None:
        """Check the first selected frames, before anything is built."""
        looked_at = sound = 0
        frames = max(1, min(_FRAMES_PER_LOOK, _RESIDUES_PER_LOOK // max(1, self.n_residues)))
        for chunk in self._whole_frames(frames):
            looked_at += chunk.looked_at
            sound += len(chunk)
            if sound and looked_at >= FRAMES_LOOKED_AT:
                return
        if not sound:
            self._refuse_all()

    def _set_chains(self, topology: Topology, linked: np.ndarray | None = None, bond_nm: float = 0.0) -> None:
        """Set the chains of the residues, and the bonds by which frames are checked, if known."""
        self.topology = topology
        reach_nm = self._selection.reach_nm
        self._judge = FrameJudge(topology, self.sites, linked, bond_nm, reach_nm, self.others, self.nucleic)
        steps = number_steps(topology.residue_numbers, topology.insertion_codes)
        self._chains = ChainsOfAtoms(self.sites.residues, self.sites.leaders, topology.chain_index, steps)

    def _decide_by_first_sound_frame(self) -> None:
        """Find the first sound frame of the file, which decides chains and bonds for all frames."""
        for number, raw in enumerate(self._file.read(range(self._file.n_frames), 1)):
            positions, boxes, readable = self._read(raw)
            if readable[0]:
                self._link_nucleotides(positions[0], boxes[0])
                if not self.topology.n_residues:
                    self.linked, self._first_c_alpha = np.empty(0, dtype=bool), positions[0, :0]
                    return
                c_alpha = positions[0, self.sites.leaders]
                self._recognise_centres(c_alpha, boxes[0])
                topology, linked = divide_chains(self._selection, c_alpha, boxes[0])
                self._set_chains(topology)
                whole, sound = self._take(raw)
                if sound[0]:
                    decided = whole[0, self.sites.leaders]
                    self._decide(c_alpha, decided, boxes[0], linked, f"frame {number + 1}")
                    self._close_rings(whole[0, : self.sites.n_sites])
                    return
            if not self._skip_bad and number in self.numbers:
                self._refuse(raw, number)
        self._refuse_all()

    def _link_nucleotides(self, positions: np.ndarray, box: np.ndarray) -> None:
        """Decide which nucleotides are bonded, given sites (sites, 3), or carry them along as they are."""
        if self.nucleic is None:
            return
        begin, selection = self.sites.n_sites, self._selection
        found = self.nucleic.linked_by(positions[begin : begin + self.nucleic.n_beads], box, self.name)
        if found is not None:
            self.nucleic = found
        elif not self.topology.n_residues:
            raise InputError(
                f"{self.name}: its nucleotides are too far apart, or too close, to be bonded to their "
                "neighbours; check the unit and whether molecules are whole"
            )
        else:
            carried = selection.carried_nucleic
            self._set_others(replace(selection, nucleic=None, others=carried))
            warn_of_carried_nucleotides(carried.residues, "they are too far apart, or too close", self.name)
        self._set_chains(self.topology)

    @property
    def n_residues(self) -> int:
        """Number of residues whose atoms can be built: amino acids and nucleotides."""
        return self.topology.n_residues + (0 if self.nucleic is None else self.nucleic.topology.n_nucleotides)

    def _decide(
        self, c_alpha: np.ndarray, whole: np.ndarray, box: np.ndarray, linked: np.ndarray, frame: str
    ) -> None:
        """Check C-alphas (residues, 3) in nm, as given and made whole, and set their bonds."""
        labelled = self._selection.topology
        distance = neighbour_distances(c_alpha, box, self._chains.steps)
        check_unit(distance[~labelled.chain_ends[:-1]], self.name, self._selection.reach_nm)
        if self._division is not None:
            for message in self._division.messages(self.topology):
                warnings.warn(f"{self.name}: {message}", InputWarning, stacklevel=2)
        elif self.mapping is None and not self._selection.told and not self._has_backbone:
            refuse_residue_centres(distance, labelled, self.name)
        elif self.mapping is None and self._selection.told:
            forced = describe_forced_centres(distance, labelled)
            if forced is not None:
                warnings.warn(f"{self.name}: {forced}", InputWarning, stacklevel=2)
        if self.mapping is not None:
            c_alphas = None if self._division is None else self._division.c_alphas
            self.beads = self.mapping.layout(labelled.residue_types, c_alphas)
        if not box.any():
            refuse_wrapped(distance, c_alpha, self.topology, frame, self.name)
        bonds = distance[linked[:-1]]
        self.linked, self._first_c_alpha = linked, whole
        self._set_chains(self.topology, linked, float(np.median(bonds)) if len(bonds) else 0.0)
        warn_of_breaks(linked, distance, self.topology, self.name)
        mirrored = None
        if self.mapping is None or self.mapping.main_is_c_alpha:
            mirrored = describe_mirror_image(whole, linked, self.topology)
        if mirrored is not None:
            warnings.warn(f"{self.name}: {mirrored}", InputWarning, stacklevel=2)

    def _close_rings(self, positions: np.ndarray) -> None:
        """Decide which chains are closed head to tail, given sites (sites, 3) of the first frame in nm."""
        finder = RingFinder(
            self.topology, self.linked, self._first_c_alpha, self._selection.reach_nm, self.name
        )
        rings = finder.required(self._asked_links.peptides) | finder.named(self._links.peptides)
        if self.mapping is None:
            rings |= finder.bonded(self.sites, positions)
            finder.warn_of_open(rings)
        self.topology = replace(self.topology, rings=tuple(sorted(rings)))
        self.linked = self.linked | (self.topology.chain_ends & self.topology.in_rings)

    @property
    def _has_backbone(self) -> bool:
        """Whether most residues have N and C, so that atoms named CA are C-alphas."""
        return bool(self.sites.present[:, [SLOT_N, SLOT_C]].all(axis=1).mean() > 0.5)

    @property
    def beads_name(self) -> str | None:
        """Name of the mapping of the beads, None for atoms."""
        return None if self.mapping is None else self.mapping.name

    def require_atoms(self) -> None:
        """Refuse beads other than C-alphas.

        Raises
        ------
        InputError
            If the file contains such beads.
        """
        if self.mapping is not None:
            raise InputError(
                f"{self.name}: has beads of the mapping {self.mapping.name}; give a file of atoms"
            )

    @property
    def mapping(self) -> BeadMapping | None:
        """The mapping of the beads, None for atoms."""
        return self._selection.mapping

    def _recognise_centres(self, leaders: np.ndarray, box: np.ndarray) -> None:
        """Decide which beads (residues, 3) named CA are residue centres, unless the user told it."""
        selection = self._selection
        trace = selection.mapping is None and self.sites.n_sites == selection.topology.n_residues
        if selection.told or not (trace or self._division is not None):
            return
        distance = neighbour_distances(leaders, box, self._chains.steps)
        self._division = divide_trace(distance, selection.topology)
        centres = None if self._division.c_alphas.all() else load_mapping(RESIDUE_CENTRE)
        self._selection = replace(selection, mapping=centres)

    def _read(self, raw: Frames) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return positions as in the file, boxes, and which frames are readable, (frames,) bool."""
        positions = raw.coordinates[:, self._index]
        boxes = periodic_boxes(raw.periodic_box, len(raw))
        return positions, boxes, self._judge.readable(positions, boxes)

    def _take(self, raw: Frames) -> tuple[np.ndarray, np.ndarray]:
        positions, boxes, readable = self._read(raw)
        n_sites, usable = self.sites.n_sites, np.where(readable[:, None, None], boxes, 0.0)
        whole = make_whole(positions[:, :n_sites], usable, self._chains)
        if self.nucleic is not None:
            end = n_sites + self.nucleic.n_beads
            beads = self.nucleic.whole(positions[:, n_sites:end], usable)
            whole, n_sites = np.concatenate([whole, beads], axis=1), end
        if positions.shape[1] > n_sites:
            beside = positions[:, n_sites : n_sites + self.others.n_sites]
            hydrogens = positions[:, n_sites + self.others.n_sites :]
            leaders = whole[:, self.sites.leaders[self.hydrogens.residues]]
            hydrogens = near_atoms(hydrogens, leaders, usable)
            whole = np.concatenate([whole, beside, hydrogens], axis=1)
        return whole, self._judge.sound(whole[:, self.sites.leaders], readable)

    def _refuse(self, raw: Frames, number: int) -> NoReturn:
        box = periodic_boxes(raw.periodic_box, 1)[0]
        self._judge.refuse(self._take(raw)[0][0], box, f"frame {number + 1}", self.name)


def open_source(
    path: str | Path,
    top: str | Path | None = None,
    *,
    skip_unknown: bool = False,
    frames: FrameRange = EVERY_FRAME,
    skip_bad: bool = False,
    sequence: str | Path | None = None,
    beads: str = ANY_BEADS,
    residue_file: str | Path | None = None,
    others: OthersKept = "none",
    nucleic_beads: str = AS_THEY_ARE,
    hydrogens: bool = False,
    nucleic_elsewhere: bool = False,
    links: Links = NO_LINKS,
) -> Source:
    """Open a structure or trajectory.

    Parameters
    ----------
    path : path
        PDB, mmCIF, GRO, GSD, LAMMPS dump, NumPy array, or any trajectory mdtraj reads; PDB and mmCIF also as
        ``.gz``.
    top : path, optional
        Topology, for trajectories that contain only coordinates.
    skip_unknown : bool
        Leave out residues that cannot be built, with a warning, instead of refusing the file.
    frames : FrameRange
        Which frames to read.
    skip_bad : bool
        Leave out damaged frames instead of refusing the file.
    sequence : path, optional
        FASTA file with the sequence, one record per chain, if residue names do not identify amino acids.
    beads : str
        What the positions are: a shipped mapping, or the file of one. By default, names and distances decide
        whether they are atoms or beads.
    residue_file : path, optional
        Further modified residues, from :func:`backmap.chemistry.modified_residues.read_modifications`.
    others : str
        Which molecules beside the protein are read as well: ``none``, ``nucleic-acids`` or ``all``.
    nucleic_beads : str
        What the beads of nucleic acids are: ``auto``, ``keep``, or a mapping.
    hydrogens : bool
        Read the hydrogens of the protein as well.
    nucleic_elsewhere : bool
        Whether nucleic acids are left out without a warning, as another source reads them.
    links : Links
        Bonds between residues to build besides those that the file names.

    Returns
    -------
    Source
        The topology is read at once; frames on demand, in constant memory (a PDB file one model at a time,
        mmCIF whole).

    Raises
    ------
    InputError
        If the file cannot be used; the message says why and what to do.

    Warns
    -----
    InputWarning
        If residues are ignored or left out, or chains are broken.
    """
    fasta = None if sequence is None else FastaFile.read(sequence)
    opened = open_files(path, top, fasta)
    selection = select_protein(
        opened.names.residues,
        file=str(opened.files[-1]),
        skip_unknown=skip_unknown,
        sequence=fasta,
        mapping=_mapping(beads),
        modifications=read_modifications(residue_file),
        others=others,
        nucleic_beads=nucleic_beads,
        hydrogens=hydrogens,
        nucleic_elsewhere=nucleic_elsewhere,
    )
    own_mapping = None if beads == ANY_BEADS else file_of_mapping(beads)
    further = [
        *([] if fasta is None else [fasta.path]),
        *([] if residue_file is None else [Path(residue_file)]),
        *([] if own_mapping is None else [own_mapping]),
        *_file_of_nucleic_beads(nucleic_beads),
    ]
    if opened.frames.n_atoms == selection.topology.n_residues > 0:
        opened.require_same_atoms(
            "it seems to contain only C-alphas: give a topology that contains only the C-alphas"
        )
    opened.require_same_atoms("give the topology it was written with")
    if isinstance(opened.frames, LammpsDump | GsdFile | NpyFile):
        _find_unit(opened.frames, selection, str(path))
    source = Source(
        str(path),
        opened.frames,
        selection,
        frames=frames,
        skip_bad=skip_bad,
        files=(*opened.files, *further),
        links=_links(opened.names),
        asked_links=links,
    )
    source.check()
    return source


def _file_of_nucleic_beads(nucleic_beads: str) -> list[Path]:
    """Return the file of a mapping of nucleic acids, if the user gave one."""
    if nucleic_beads in (ANY_NUCLEIC_BEADS, AS_THEY_ARE):
        return []
    own = file_of_nucleic_mapping(nucleic_beads)
    return [] if own is None else [own]


def _mapping(beads: str) -> BeadMapping | None:
    """Load a mapping; None if the file decides."""
    return None if beads == ANY_BEADS else load_mapping(beads)


def _find_unit(file: LammpsDump | GsdFile | NpyFile, selection: ProteinSelection, name: str) -> None:
    """Decide from the distance of neighbours whether a format without a unit is in nm or Angstrom."""
    within = ~selection.topology.chain_ends[:-1]
    if not file.n_frames or not within.any():
        return
    (raw,) = file.read(range(1), 1)
    c_alpha = raw.coordinates[0, selection.atom_index[selection.sites.leaders]]
    steps = np.ones(len(within), dtype=np.int64)
    distance = neighbour_distances(c_alpha, periodic_boxes(raw.periodic_box, 1)[0], steps)
    length = float(np.median(distance[within])) / file.nm_per_unit
    for unit, nm in _OTHER_UNITS:
        if nm != file.nm_per_unit and 0.8 * _BOND_NM < length * nm < 1.2 * _BOND_NM + selection.reach_nm:
            file.nm_per_unit = nm
            warnings.warn(
                f"{name}: assumed to be in {unit}, as neighbouring C-alphas are {length:.3g} apart",
                InputWarning,
                stacklevel=3,
            )


def _links(names: NamesFile) -> Links:
    """Return the bonds between residues that a file names, if its format can."""
    return names.links if isinstance(names, PdbFile | MmcifFile | TopologyFile) else Links()


def source_from_mdtraj(
    trajectory: mdtraj.Trajectory,
    *,
    residues: Sequence[ResidueRecord] | None = None,
    skip_unknown: bool = False,
    sequence: str | Path | None = None,
    beads: str = ANY_BEADS,
    residue_file: str | Path | None = None,
    others: OthersKept = "none",
    nucleic_beads: str = AS_THEY_ARE,
    hydrogens: bool = False,
    links: Links = NO_LINKS,
) -> Source:
    """Open an mdtraj trajectory in memory as :func:`open_source` opens a file.

    ``residues``, if given, replace those of its topology.
    """
    name = "the trajectory"
    fasta = None if sequence is None else FastaFile.read(sequence)
    residues = residue_records(trajectory.topology) if residues is None else residues
    selection = select_protein(
        residues,
        file=name,
        skip_unknown=skip_unknown,
        sequence=fasta,
        mapping=_mapping(beads),
        modifications=read_modifications(residue_file),
        others=others,
        nucleic_beads=nucleic_beads,
        hydrogens=hydrogens,
    )
    named = links_in_topology(trajectory.topology)
    loaded = LoadedTrajectory(trajectory)
    source = Source(name, loaded, selection, links=named, asked_links=links, timed=loaded.is_timed)
    source.check()
    return source


@dataclass(frozen=True)
class OpenedFiles:
    """A file of frames and the file that names its atoms; ``files`` lists their paths, each only once."""

    frames: FrameFile
    names: NamesFile
    files: tuple[Path, ...]

    def require_same_atoms(self, remedy: str) -> None:
        """Refuse a topology whose number of atoms differs from that of the frames."""
        if self.frames.n_atoms != self.names.n_atoms:
            raise InputError(
                f"{self.files[0]}: has {self.frames.n_atoms} atoms, "
                f"but its topology {self.files[-1]} has {self.names.n_atoms}; {remedy}"
            )


def open_files(
    path: str | Path, top: str | Path | None = None, sequence: FastaFile | None = None
) -> OpenedFiles:
    """Open a structure or trajectory and its topology; refuse it if the topology is missing."""
    path = require_file(path)
    suffix = require_suffix(path, INPUT_SUFFIXES, "input")
    if top is not None:
        top = require_file(top)
        require_suffix(top, TOPOLOGY_SUFFIXES, "topology")
    file = _open_both(path, sequence)
    if (
        top is None
        and file is not None
        and (sequence is not None or suffix not in LAMMPS_SUFFIXES + NPY_SUFFIXES)
    ):
        return OpenedFiles(file, file, (path,))
    if top is None and suffix not in TOPOLOGY_SUFFIXES:
        beads = ", or its sequence with --sequence FASTA" if file is not None else ""
        raise InputError(
            f"{path}: contains coordinates but no residue names; "
            f"give its topology (a PDB file, say) with --top{beads}"
        )
    names = open_names(path if top is None else top, sequence)
    frames = open_frames(path, names.n_atoms)
    return OpenedFiles(frames, names, (path,) if top is None else (path, top))


def open_names(path: Path, sequence: FastaFile | None = None) -> NamesFile:
    """Open a file that names residues."""
    return _open_both(path, sequence) or TopologyFile(path)


def open_frames(path: Path, expected_atoms: int) -> FrameFile:
    """Open the frames of a file; in formats without a count (mdcrd), the number of atoms divides them."""
    return _open_both(path, None) or open_trajectory(path, expected_atoms)


def _open_both(path: Path, sequence: FastaFile | None) -> _NamedFrames | None:
    """Open a file in a format that backmap itself reads, with residue names and frames; None for others."""
    suffix = suffix_of(path)
    kinds: dict[tuple[str, ...], Callable[[Path], _NamedFrames]] = {
        PDB_SUFFIXES: PdbFile,
        MMCIF_SUFFIXES: MmcifFile,
        GRO_SUFFIXES: GroFile,
        GSD_SUFFIXES: GsdFile,
        LAMMPS_SUFFIXES: LammpsDump,
    }
    if suffix in NPY_SUFFIXES:
        return NpyFile(path, sequence)
    return next((kind(path) for suffixes, kind in kinds.items() if suffix in suffixes), None)
