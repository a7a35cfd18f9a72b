"""From atoms to beads: the way back, for tests, benchmarks and as input of simulations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.bead_mapping import BeadLayout, file_of_mapping, load_mapping
from backmap.chemistry.sites import atom_names
from backmap.errors import InputEndsEarly, InputError
from backmap.io import AtomList, FrameRange, Frames, Source, open_source, open_writer, require_output_format
from backmap.io.atom_list import ListedResidue
from backmap.io.reader import ANY_BEADS, EVERY_FRAME
from backmap.io.selection.other_molecules import NO_ELEMENT

_SITES_AT_A_TIME = 500_000


def coarse_grain(
    input: str | Path,
    output: str | Path,
    beads: str,
    *,
    top: str | Path | None = None,
    frames: FrameRange = EVERY_FRAME,
    skip_unknown: bool = False,
    overwrite: bool = False,
) -> int:
    """Write the beads of a structure or trajectory of atoms.

    Frames are read and written in constant memory; times, steps and boxes carry over.

    Parameters
    ----------
    input : path
        Structure or trajectory with the heavy atoms of proteins.
    output : path
        File to write, whose suffix selects the format.
    beads : str
        A bead mapping: the name of a shipped one, or a file.
    top : path, optional
        Topology for trajectories that contain only coordinates.
    frames : FrameRange
        Frames to read; all by default.
    skip_unknown : bool
        Leave out residues that are not amino acids, with a warning.
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
        If the input or the mapping cannot be used, an atom that a bead needs is missing, or the output cannot
        be written.
    """
    mapping = load_mapping(beads)
    require_output_format(output)
    source = open_source(input, top, skip_unknown=skip_unknown, frames=frames, beads=ANY_BEADS)
    source.require_atoms()
    layout = mapping.layout(source.topology.residue_types)
    _require_atoms(source, layout)
    listed = _listed_beads(source.topology, layout)
    own_mapping = file_of_mapping(beads)
    inputs = source.files if own_mapping is None else (*source.files, own_mapping)
    interval = source.frame_interval_ps
    early_end = None
    with open_writer(
        output, listed, overwrite=overwrite, inputs=inputs, frame_interval_ps=interval
    ) as writer:
        try:
            for chunk in source.chunks(max(1, _SITES_AT_A_TIME // source.sites.n_sites)):
                atoms = source.sites.in_slots(chunk.coordinates)
                writer.append(
                    Frames(
                        coordinates=layout.image(atoms),
                        time=chunk.time,
                        step=chunk.step,
                        box=chunk.box,
                        space_group=chunk.space_group,
                    )
                )
        except InputEndsEarly as error:
            early_end = InputEndsEarly(f"{error}; those frames are in {output}")
    if early_end is not None:
        raise early_end
    return writer.n_frames


def _require_atoms(source: Source, layout: BeadLayout) -> None:
    """Refuse input that lacks an atom of a bead."""
    needed = layout.weights > 0
    missing = needed & ~source.sites.present[layout.residues]
    if missing.any():
        bead, slot = np.argwhere(missing)[0]
        residue = int(layout.residues[bead])
        atom = atom_names(source.topology.residue_name(residue))[slot]
        raise InputError(
            f"{source.name}: {source.topology.describe(residue)} has no atom {atom}, which the bead "
            f"{layout.names[bead]} needs; complete the structure, for example with "
            "`backmap reconstruct --keep-given`"
        )


def _listed_beads(topology: Topology, layout: BeadLayout) -> AtomList:
    """List beads for writing."""
    first = np.searchsorted(layout.residues, np.arange(topology.n_residues + 1))
    residues = []
    for residue, (begin, end) in enumerate(zip(first[:-1].tolist(), first[1:].tolist(), strict=True)):
        names = layout.names[begin:end]
        residues.append(
            ListedResidue(
                topology.residue_name(residue),
                int(topology.chain_index[residue]),
                int(topology.residue_numbers[residue]),
                topology.insertion_codes[residue],
                names,
                (NO_ELEMENT,) * len(names),
            )
        )
    return AtomList(tuple(residues), topology.chain_ids, ())
