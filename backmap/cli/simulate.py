"""``backmap simulate``: dynamics of a coarse-grained molecule."""

from __future__ import annotations

import argparse

from backmap.options import options_of
from backmap.runs.simulation_request import Simulation

from .console import tell
from .options import add_option

GROUPS = {"files": "files", "simulation": "what is simulated", "running": "how the run is carried out"}
_SPELLINGS = {"force_field": ("force_field",), "output": ("-o", "--output")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    groups = {name: parser.add_argument_group(title) for name, title in GROUPS.items()}
    for name, known in options_of(Simulation).items():
        add_option(groups[known.group], Simulation, name, *_SPELLINGS.get(name, ()))


def run(arguments: argparse.Namespace) -> int:
    """Simulate as requested by the arguments."""
    asked = Simulation(**{name: getattr(arguments, name) for name in options_of(Simulation)})
    from backmap.runs.simulation import simulate

    outcome = simulate(asked)
    if not asked.quiet:
        tell(outcome.summary)
    return 0
