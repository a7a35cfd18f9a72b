"""``backmap reconstruct``: from coarse-grained structures and trajectories to all atoms."""

from __future__ import annotations

import argparse

from backmap.options import Option, options_of
from backmap.runs.pipeline import carry_out
from backmap.runs.request import Request

from .console import tell
from .options import add_option

GROUPS = {
    "files": "files",
    "building": "how atoms are built",
    "finishing": "processing of built frames",
    "frames": "which frames are read",
    "running": "how the run is carried out",
}
_SPELLINGS = {"input": ("input",), "output": ("-o", "--output")}
_FIRST = "input", "output", "top"


def options_in_order() -> dict[str, Option]:
    """Return all options of a run by name, group after group, those that most runs need first."""
    known = options_of(Request)
    names = [*_FIRST, *(name for name in known if name not in _FIRST)]
    return {name: known[name] for group in GROUPS for name in names if known[name].group == group}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for name, known in options_in_order().items():
        add_option(groups[known.group], Request, name, *_SPELLINGS.get(name, ()))


def run(arguments: argparse.Namespace) -> int:
    """Reconstruct the input as requested by the arguments."""
    request = Request(**{name: getattr(arguments, name) for name in options_of(Request)})
    outcome = carry_out(request)
    if not request.quiet:
        tell(outcome.summary)
    if outcome.early_end is not None:
        raise outcome.early_end
    return 0
