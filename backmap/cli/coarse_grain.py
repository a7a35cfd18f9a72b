"""``backmap coarse-grain``: from atoms to the beads of a coarse-grained model."""

from __future__ import annotations

import argparse

from backmap.errors import InputError
from backmap.io import FrameRange
from backmap.runs.coarse_graining import coarse_grain
from backmap.runs.request import Request
from backmap.runs.wording import counted

from .console import tell
from .options import add_option, add_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("input", nargs="+", metavar="ATOMS", help="structure or trajectory of atoms")
    parser.add_argument(
        "--beads",
        metavar="NAME|FILE",
        help="what the beads of proteins are: a mapping of `backmap beads`, or the file of one",
    )
    parser.add_argument(
        "--nucleic-beads",
        metavar="NAME|FILE",
        help="what the beads of DNA and RNA are, alike; both options for both kinds of molecules",
    )
    add_option(parser, Request, "output", "-o", "--output")
    add_options(parser, Request, ["top", "skip_unknown", "overwrite", "begin", "end", "stride"])


def run(arguments: argparse.Namespace) -> int:
    """Write the beads."""
    given, *more = arguments.input
    if more:
        raise InputError(f"{more[0]}: coarse-grain takes one input; run it once per input")
    n_frames = coarse_grain(
        given,
        arguments.output,
        beads=arguments.beads,
        nucleic_beads=arguments.nucleic_beads,
        top=arguments.top,
        frames=FrameRange(arguments.begin - 1, arguments.end, arguments.stride),
        skip_unknown=arguments.skip_unknown,
        overwrite=arguments.overwrite,
    )
    mappings = " and ".join(filter(None, (arguments.beads, arguments.nucleic_beads)))
    tell(f"coarse-grained {counted(n_frames, 'frame')} to {mappings} -> {arguments.output}")
    return 0
