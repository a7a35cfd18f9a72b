"""From atoms of nucleic acids to beads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backmap.chemistry.nucleic_mapping import NucleicLayout, NucleicMapping, layout_of
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.errors import InputError
from backmap.io import AtomList, FrameRange, Frames, open_writer, require_output_format
from backmap.io.atom_list import ListedResidue
from backmap.io.reader import open_files
from backmap.io.selection.nucleotide_atoms import find_nucleotide_atoms
from backmap.io.selection.other_molecules import NO_ELEMENT

_FRAMES_AT_A_TIME = 100


def coarse_grain_nucleic(
    input: str | Path,
    output: str | Path,
    mapping: NucleicMapping,
    *,
    top: str | Path | None,
    frames: FrameRange,
    overwrite: bool,
) -> int:
    """Write the beads of the nucleic acids of a structure or trajectory of atoms.

    Molecules other than nucleic acids are left out. Beads of the phosphate that 5' ends lack are not written.
    The parameters are those of :func:`backmap.runs.coarse_graining.coarse_grain`.

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    InputError
        If the input cannot be used, or the output cannot be written.
    """
    require_output_format(output)
    opened = open_files(input, top)
    opened.require_same_atoms("give the topology it was written with")
    found = find_nucleotide_atoms(opened.names.residues, str(opened.files[-1]))
    layout = _layout(mapping, found.topology, found.index)
    numbers = frames.numbers(opened.frames.n_frames)
    if not numbers:
        raise InputError(f"{input}: has no frame in the requested range; begin at an earlier frame")
    with open_writer(
        output, _listed(found.topology, layout), overwrite=overwrite, inputs=opened.files
    ) as writer:
        for raw in opened.frames.read(numbers, _FRAMES_AT_A_TIME):
            beads = layout.image(found.in_slots(raw.coordinates))
            writer.append(
                Frames(
                    coordinates=beads, time=raw.time, step=raw.step, box=raw.box, space_group=raw.space_group
                )
            )
    return writer.n_frames


def _layout(mapping: NucleicMapping, topology: NucleicTopology, index: np.ndarray) -> NucleicLayout:
    """List the beads whose atoms are all there."""
    whole = layout_of(mapping, topology.types, topology.starts)
    atoms = np.where(index[:, :, None] < 0, np.nan, np.zeros(3))
    there = np.isfinite(whole.image(atoms[None])[0]).all(axis=-1)
    present = np.zeros((topology.n_nucleotides, int(whole.columns.max()) + 1), dtype=bool)
    present[whole.nucleotides[there], whole.columns[there]] = True
    return layout_of(mapping, topology.types, topology.starts, present)


def _listed(topology: NucleicTopology, layout: NucleicLayout) -> AtomList:
    """List beads for writing."""
    residues = []
    for nucleotide in np.unique(layout.nucleotides).tolist():
        names = tuple(layout.names[bead] for bead in np.flatnonzero(layout.nucleotides == nucleotide))
        place = int(topology.chain_index[nucleotide]), int(topology.numbers[nucleotide])
        code = topology.insertion_codes[nucleotide]
        elements = (NO_ELEMENT,) * len(names)
        residues.append(ListedResidue(topology.name(nucleotide), *place, code, names, elements))
    return AtomList(tuple(residues), topology.chain_ids, ())
