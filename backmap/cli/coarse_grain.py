"""``backmap coarse-grain``: from atoms to the beads of a coarse-grained model."""

from __future__ import annotations

import argparse

from backmap.io import FrameRange
from backmap.runs.coarse_graining import coarse_grain
from backmap.runs.request import Request
from backmap.runs.wording import counted

from .console import tell
from .options import add_option, add_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("input", metavar="ATOMS", help="structure or trajectory of atoms")
    parser.add_argument(
        "--beads",
        required=True,
        metavar="NAME|FILE",
        help="what the beads are: a mapping of `backmap beads`, or the file of one",
    )
    add_option(parser, Request, "output", "-o", "--output")
    add_options(parser, Request, ["top", "skip_unknown", "overwrite", "begin", "end", "stride"])


def run(arguments: argparse.Namespace) -> int:
    """Write the beads."""
    n_frames = coarse_grain(
        arguments.input,
        arguments.output,
        arguments.beads,
        top=arguments.top,
        frames=FrameRange(arguments.begin - 1, arguments.end, arguments.stride),
        skip_unknown=arguments.skip_unknown,
        overwrite=arguments.overwrite,
    )
    tell(f"coarse-grained {counted(n_frames, 'frame')} to {arguments.beads} -> {arguments.output}")
    return 0
