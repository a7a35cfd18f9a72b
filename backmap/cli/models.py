"""``backmap models``: list the shipped models."""

from __future__ import annotations

import argparse

from backmap.errors import InputError
from backmap.models.shipped import DEFAULT_MODEL, ShippedModel, shipped_models

from .console import filled, show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the card of this model")


def run(arguments: argparse.Namespace) -> int:
    """List the shipped models, or print the card of one."""
    models = shipped_models()
    if arguments.name is None:
        show(
            *map(_describe, models.values())
            if models
            else ["no models are shipped with this copy of backmap"]
        )
        return 0
    if arguments.name not in models:
        raise InputError(
            f"model {arguments.name}: not shipped; available models: {', '.join(models) or 'none'}"
        )
    show(models[arguments.name].card or f"{arguments.name} has no card")
    return 0


def _describe(model: ShippedModel) -> str:
    """Describe a model in lines that fit into the terminal."""
    mark = ", default" if model.name == DEFAULT_MODEL else ""
    megabytes = model.path.stat().st_size / 1e6
    return f"{model.name} ({megabytes:.1f} MB{mark})\n{filled('  ' + (model.summary or 'no card'))}"
