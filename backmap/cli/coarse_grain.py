"""``backmap coarse-grain``: from all atoms to the beads of a coarse-grained model."""

from __future__ import annotations

import argparse

from backmap.options import options_of
from backmap.runs.coarse_graining import CoarseGraining, coarse_grain
from backmap.usual_settings import usual_settings

from .console import tell
from .options import add_option

GROUPS = {"files": "files", "frames": "what is read"}
_SPELLINGS = {"input": ("input",), "output": ("-o", "--output")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for name, known in options_of(CoarseGraining).items():
        add_option(groups[known.group], CoarseGraining, name, *_SPELLINGS.get(name, ()))


def run(arguments: argparse.Namespace) -> int:
    """Coarse-grain the input as requested by the arguments."""
    asked = CoarseGraining(**{name: getattr(arguments, name) for name in options_of(CoarseGraining)})
    with usual_settings():
        summary = coarse_grain(asked)
    if not asked.quiet:
        tell(summary)
    return 0
