"""From atoms of nucleic acids to beads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from backmap.chemistry.nucleic_mapping import (
    NucleicLayout,
    file_of_nucleic_mapping,
    layout_of_atoms,
    load_nucleic_mapping,
)
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import nucleotide_atoms
from backmap.io import AtomList, FrameRange, Frames, open_nucleotides
from backmap.io.atom_list import ListedResidue

from .bead_stream import BeadStream, listed_beads

_NUCLEOTIDES_AT_A_TIME = 20_000


def beads_of_nucleic_acids(
    input: str | Path,
    mapping: str,
    *,
    top: str | Path | None,
    frames: FrameRange,
    skip_unknown: bool,
    beside_protein: bool,
) -> BeadStream:
    """Make beads of the nucleic acids of a structure or trajectory of atoms.

    Beads of the phosphate that 5' ends lack are left out.

    Parameters
    ----------
    input, top, frames, skip_unknown
        As for :func:`backmap.runs.coarse_graining.coarse_grain`.
    mapping : str
        Name of a shipped mapping, or the file of one.
    beside_protein : bool
        Whether molecules other than nucleic acids are left out without a warning.

    Raises
    ------
    InputError
        If the input or the mapping cannot be used.
    """
    loaded = load_nucleic_mapping(mapping)
    source = open_nucleotides(
        input, top, skip_unknown=skip_unknown, frames=frames, warn_of_others=not beside_protein
    )
    layout = layout_of_atoms(loaded, source.topology.types, source.topology.starts, source.given)

    def read(frames_per_chunk: int) -> Iterator[Frames]:
        for chunk in source.chunks(frames_per_chunk):
            yield chunk.with_coordinates(layout.image(chunk.coordinates))

    own = file_of_nucleic_mapping(mapping)
    return BeadStream(
        _listed(source.topology, layout),
        source.files if own is None else (*source.files, own),
        source.frame_interval_ps,
        max(1, _NUCLEOTIDES_AT_A_TIME // source.topology.n_nucleotides),
        read,
    )


def _listed(topology: NucleicTopology, layout: NucleicLayout) -> AtomList:
    """List the beads of nucleic acids for writing."""
    residues = [
        ListedResidue(
            topology.name(nucleotide),
            int(topology.chain_index[nucleotide]),
            int(topology.numbers[nucleotide]),
            topology.insertion_codes[nucleotide],
            nucleotide_atoms(topology.name(nucleotide)),
            (),
        )
        for nucleotide in range(topology.n_nucleotides)
    ]
    return listed_beads(residues, topology.chain_ids, layout.names, layout.nucleotides, layout.weights)
