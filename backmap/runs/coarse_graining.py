"""From all atoms to beads, from files to files in constant memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backmap.chemistry.bead_mapping import BeadLayout, BeadMapping, load_mapping
from backmap.chemistry.residues import HEAVY_ATOMS
from backmap.errors import InputEndsEarly, InputError, InputWarning, OptionError
from backmap.io import AtomList, FrameRange, Frames, Source, open_source, open_writer, require_output_format
from backmap.limits import Flag, Name, OneOf
from backmap.options import check_options, option

from .read_ahead import read_ahead
from .request import FRAME_NUMBERS
from .wording import counted, numbered

_RESIDUES_PER_CHUNK = 20_000
"""Residues read together; each takes a few kB."""


@dataclass(frozen=True, kw_only=True)
class CoarseGraining:
    """What is asked of ``backmap coarse-grain``."""

    input: str = option(..., Name(), "structure or trajectory of all atoms", metavar="ATOMS", group="files")
    output: str = option(
        ..., Name(), "file to write, whose suffix selects the format", metavar="OUTPUT", group="files"
    )
    beads: str = option(
        ...,
        Name("the name of a bead mapping, or of a file"),
        "mapping of `backmap beads`, or the file of one (TOML, or .map of Backward and vermouth)",
        metavar="NAME|FILE",
        group="files",
    )
    top: str | None = option(
        None, Name(), "topology for trajectories without residue names", metavar="TOPOLOGY", group="files"
    )
    overwrite: bool = option(False, Flag(), "replace existing output", group="files")
    skip_unknown: bool = option(
        False, Flag(), "leave out residues that are not amino acids or lack their C-alpha", group="frames"
    )
    begin: int = option(1, FRAME_NUMBERS, "first frame, counted from 1", metavar="N", group="frames")
    end: int | None = option(
        None, FRAME_NUMBERS, "last frame", unset="the last frame of the file", metavar="N", group="frames"
    )
    stride: int = option(1, FRAME_NUMBERS, "take every N-th frame", metavar="N", group="frames")
    on_bad_frame: str = option(
        "stop",
        OneOf(("stop", "skip")),
        "what to do with frames whose coordinates are damaged",
        group="frames",
    )
    quiet: bool = option(False, Flag(), "show no summary line", group="files")

    def __post_init__(self) -> None:
        check_options(self)
        if self.end is not None and self.end < self.begin:
            raise OptionError(
                "end", f"empty frame range {self.begin} to {self.end}: end must not precede begin"
            )


@dataclass(frozen=True, eq=False)
class AtomsToBeads:
    """Beads of the frames of a source of atoms.

    Attributes
    ----------
    source : Source
        The atoms.
    layout : BeadLayout
        The beads of its residues.
    beads : AtomList
        The beads as they are written.
    """

    source: Source
    layout: BeadLayout
    beads: AtomList

    @classmethod
    def find(cls, source: Source, mapping: BeadMapping) -> AtomsToBeads:
        """Find the atoms of all beads.

        Raises
        ------
        InputError
            If the source contains beads, or lacks an atom of a bead, or has it twice.
        """
        topology = source.topology
        if source.mapping is not None:
            raise InputError(
                f"{source.name}: contains beads of the mapping {source.mapping.name}; give a file with atoms"
            )
        try:
            layout = mapping.layout(topology.residue_types)
        except InputError as error:
            raise InputError(f"{source.name}: {error}") from None
        missing = layout.find_missing(source.given.present(topology))
        if missing is not None:
            bead, slot = missing
            residue = int(layout.residues[bead])
            atom = HEAVY_ATOMS[topology.residue_name(residue)][slot]
            raise InputError(
                f"{source.name}: {topology.describe(residue)} has no atom {atom}, which the bead "
                f"{layout.names[bead]} of {mapping.name} needs; add the atom or remove the residue"
            )
        return cls(source, layout, AtomList.of_beads(topology, layout))

    def read(self, skipped: list[int] | None = None) -> Iterator[Frames]:
        """Read the frames as beads (frames, beads, 3) in nm, with their times, steps and boxes.

        Numbers, from 0, of bad frames that are left out are appended to ``skipped``.

        Raises
        ------
        InputError
            As :meth:`Source.chunks`.
        """
        topology, sites = self.source.topology, self.source.sites
        frames = max(1, _RESIDUES_PER_CHUNK // topology.n_residues)
        for chunk in read_ahead(self.source.chunks(frames)):
            if skipped is not None:
                skipped += chunk.skipped.tolist()
            yield Frames(
                coordinates=self.layout.image(sites.in_slots(chunk.coordinates, topology)),
                time=chunk.time,
                step=chunk.step,
                box=chunk.box,
                space_group=chunk.space_group,
            )


def coarse_grain(asked: CoarseGraining) -> str:
    """Write the beads of a file, and return a summary in one line.

    Raises
    ------
    InputEndsEarly
        After the output is written, if the input ends in the middle of a frame.
    InputError
        If the input, the mapping or the output cannot be used.
    """
    mapping, output = load_mapping(asked.beads), Path(asked.output)
    require_output_format(output)
    source = open_source(
        asked.input,
        asked.top,
        skip_unknown=asked.skip_unknown,
        frames=FrameRange(asked.begin - 1, asked.end, asked.stride),
        skip_bad=asked.on_bad_frame == "skip",
    )
    grain = AtomsToBeads.find(source, mapping)
    files = [*source.files, *([Path(asked.beads)] if Path(asked.beads).is_file() else [])]
    skipped: list[int] = []
    early_end = None
    with open_writer(
        output,
        grain.beads,
        overwrite=asked.overwrite,
        inputs=files,
        frame_interval_ps=source.frame_interval_ps,
    ) as writer:
        try:
            for frames in grain.read(skipped):
                writer.append(frames)
        except InputEndsEarly as error:
            early_end = InputEndsEarly(f"{error}; those frames are in {output}")
        n_frames = writer.n_frames
    if skipped:
        warnings.warn(
            f"{source.name}: left out {numbered([number + 1 for number in skipped])}",
            InputWarning,
            stacklevel=2,
        )
    if early_end is not None:
        raise early_end
    sizes = f"{counted(n_frames, 'frame')} x {counted(source.topology.n_residues, 'residue')}"
    return f"coarse-grained {sizes} to {counted(grain.beads.n_atoms, 'bead')} of {mapping.name} -> {output}"
