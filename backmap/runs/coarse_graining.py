"""From atoms to beads: the way back, for tests, benchmarks and as input of simulations."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.bead_mapping import BeadLayout, file_of_mapping, load_mapping
from backmap.chemistry.nucleic_mapping import shipped_nucleic_mappings
from backmap.chemistry.sites import atom_names
from backmap.cluster import LocalWorkers, count_workers, select_device
from backmap.errors import InputEndsEarly, InputError, InputWarning
from backmap.io import (
    AtomList,
    FrameChunk,
    FrameRange,
    Frames,
    Source,
    open_source,
    open_writer,
    require_output_format,
)
from backmap.io.atom_list import ListedResidue
from backmap.io.reader import ANY_BEADS, EVERY_FRAME
from backmap.models import shipped

from .bead_stream import BeadStream, listed_beads
from .nucleic_coarse_graining import beads_of_nucleic_acids
from .protein_frames import KeptAtoms, build_frames, frames_per_batch, listed_atoms
from .protein_plan import ProteinPlan
from .request import Building
from .wording import counted

_SITES_AT_A_TIME = 500_000
_RESIDUES_NAMED = 5


def coarse_grain(
    input: str | Path,
    output: str | Path,
    *,
    beads: str | None = None,
    nucleic_beads: str | None = None,
    top: str | Path | None = None,
    frames: FrameRange = EVERY_FRAME,
    skip_unknown: bool = False,
    overwrite: bool = False,
) -> int:
    """Write the beads of a structure or trajectory of atoms: of proteins, of nucleic acids, or of both.

    Atoms that beads of proteins need but the input lacks are built first, around those that are given, with
    a warning. Frames are read and written in constant memory; times, steps and boxes carry over.

    Parameters
    ----------
    input : path
        Structure or trajectory with heavy atoms.
    output : path
        File to write, whose suffix selects the format.
    beads, nucleic_beads : str, optional
        Bead mapping of proteins, and that of nucleic acids: the name of a shipped one, or a file. Molecules
        without a mapping are left out, with a warning; at least one is required.
    top : path, optional
        Topology for trajectories that contain only coordinates.
    frames : FrameRange
        Frames to read; all by default.
    skip_unknown : bool
        Leave out residues that are not amino acids, and modified nucleotides, with a warning.
    overwrite : bool
        Replace existing output.

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    InputEndsEarly
        After the output is written, if the input ends in the middle of a frame.
    InputError
        If the input or the mapping cannot be used, an atom that a bead needs cannot be built, or the output
        cannot be written.
    """
    if beads in shipped_nucleic_mappings():
        raise InputError(f"{beads} is a mapping of nucleic acids; give it as --nucleic-beads {beads}")
    if beads is None and nucleic_beads is None:
        raise InputError(
            "no bead mapping; give --beads for proteins, --nucleic-beads for DNA and RNA, or both"
        )
    require_output_format(output)
    both = beads is not None and nucleic_beads is not None
    parts = []
    if beads is not None:
        parts.append(
            _beads_of_protein(input, beads, top=top, frames=frames, skip_unknown=skip_unknown, beside=both)
        )
    if nucleic_beads is not None:
        parts.append(
            beads_of_nucleic_acids(
                input,
                nucleic_beads,
                top=top,
                frames=frames,
                skip_unknown=skip_unknown,
                beside_protein=both,
            )
        )
    stream = functools.reduce(BeadStream.followed_by, parts)
    early_end = None
    with open_writer(
        output,
        stream.listed,
        overwrite=overwrite,
        inputs=stream.inputs,
        frame_interval_ps=stream.frame_interval_ps,
    ) as writer:
        try:
            for chunk in stream.read(stream.frames_per_chunk):
                writer.append(chunk)
        except InputEndsEarly as error:
            early_end = InputEndsEarly(f"{error}; those frames are in {output}")
    if early_end is not None:
        raise early_end
    return writer.n_frames


def _beads_of_protein(
    input: str | Path,
    beads: str,
    *,
    top: str | Path | None,
    frames: FrameRange,
    skip_unknown: bool,
    beside: bool,
) -> BeadStream:
    """Make beads of the proteins of a file; ``beside`` says that its nucleic acids are read elsewhere."""
    mapping = load_mapping(beads)
    source = open_source(
        input, top, skip_unknown=skip_unknown, frames=frames, beads=ANY_BEADS, nucleic_elsewhere=beside
    )
    source.require_atoms()
    layout = mapping.layout(source.topology.residue_types)
    needed = np.zeros_like(source.sites.present)
    np.logical_or.at(needed, layout.residues, layout.weights > 0)
    missing = needed & ~source.sites.present

    def read(frames_per_chunk: int) -> Iterator[Frames]:
        for chunk, atoms in _frames_of_atoms(source, missing, frames_per_chunk):
            yield chunk.with_coordinates(layout.image(atoms))

    own_mapping = file_of_mapping(beads)
    return BeadStream(
        _listed(source.topology, layout),
        source.files if own_mapping is None else (*source.files, own_mapping),
        source.frame_interval_ps,
        _frames_per_chunk(source, missing),
        read,
    )


def _frames_per_chunk(source: Source, missing: np.ndarray) -> int:
    """Return how many frames to read together; fewer if missing atoms (residues, 15) have to be built."""
    if not missing.any():
        return max(1, _SITES_AT_A_TIME // source.sites.n_sites)
    device = select_device(Building().device)
    return frames_per_batch(source.topology.n_residues, 1, device, count_workers(device))


def _frames_of_atoms(
    source: Source, missing: np.ndarray, frames_per_chunk: int
) -> Iterator[tuple[FrameChunk, np.ndarray]]:
    """Yield chunks of frames with atoms (frames, residues, 15, 3) in nm, which include all those of beads."""
    chunks = source.chunks(frames_per_chunk)
    if missing.any():
        yield from _completed(source, missing, chunks)
        return
    for chunk in chunks:
        yield chunk, source.sites.in_slots(chunk.coordinates)


def _completed(
    source: Source, missing: np.ndarray, chunks: Iterator[FrameChunk]
) -> Iterator[tuple[FrameChunk, np.ndarray]]:
    """Yield chunks of frames with all atoms; those that are given stay in place.

    Parameters
    ----------
    source : Source
        Atoms.
    missing : ndarray, (residues, 15) bool
        Atoms to build.
    chunks : iterator of FrameChunk
        Frames of the source.
    """
    asked = Building(keep_given=True)
    plan = ProteinPlan.make(source, shipped.read_model(asked.model), asked)
    if plan.job.backbone_only is not None:
        _refuse_to_build(source, missing & plan.job.backbone_only[:, None])
    _warn_of_missing(source, missing)
    every = np.arange(source.sites.n_sites)
    kept = KeptAtoms.find(listed_atoms(source.topology), source, every, every)
    device = select_device(asked.device)
    cores = count_workers(device)
    with LocalWorkers(replace(plan.job, finishing=()), device, cores) as workers:
        for built in build_frames(workers, chunks, kept):
            atoms = np.full((len(built.chunk), *missing.shape, 3), np.nan)
            if len(built.chunk):
                atoms[:, source.topology.atom_mask] = built.coordinates[0]
            yield built.chunk, atoms


def _refuse_to_build(source: Source, missing: np.ndarray) -> None:
    """Refuse missing atoms (residues, 15) of residues whose side chains the model does not build."""
    if missing.any():
        residue, slot = np.argwhere(missing)[0].tolist()
        atom = atom_names(source.topology.residue_name(residue))[slot]
        raise InputError(
            f"{source.name}: {source.topology.describe(residue)} has no atom {atom}, which a bead needs; "
            "complete the structure with `backmap reconstruct --keep-given` first"
        )


def _warn_of_missing(source: Source, missing: np.ndarray) -> None:
    """Say which residues lack atoms (residues, 15) that are built."""
    rows = np.flatnonzero(missing.any(axis=1)).tolist()
    named = ", ".join(map(source.topology.describe, rows[:_RESIDUES_NAMED]))
    more = f" and {len(rows) - _RESIDUES_NAMED} more" if len(rows) > _RESIDUES_NAMED else ""
    warnings.warn(
        f"{source.name}: built {counted(int(missing.sum()), 'atom')} that beads need and "
        f"{counted(len(rows), 'residue')} lack, around the given ones: {named}{more}",
        InputWarning,
        stacklevel=2,
    )


def _listed(topology: Topology, layout: BeadLayout) -> AtomList:
    """List the beads of proteins for writing."""
    residues = [
        ListedResidue(
            topology.residue_name(residue),
            int(topology.chain_index[residue]),
            int(topology.residue_numbers[residue]),
            topology.insertion_codes[residue],
            atom_names(topology.residue_name(residue)),
            (),
        )
        for residue in range(topology.n_residues)
    ]
    return listed_beads(residues, topology.chain_ids, layout.names, layout.residues, layout.weights)
