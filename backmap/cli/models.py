"""``backmap models``: list the shipped models."""

from __future__ import annotations

import argparse

from backmap.errors import InputError
from backmap.models.shipped import DEFAULT_MODEL, ShippedModel, shipped_models

from .console import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="show the card of this model")


def run(arguments: argparse.Namespace) -> int:
    """List the shipped models, or print the card of one."""
    models = shipped_models()
    if arguments.name is None:
        show("\n".join(map(_line, models.values())) or "no models are shipped with this copy of backmap")
        return 0
    if arguments.name not in models:
        raise InputError(
            f"model {arguments.name}: not shipped; available models: {', '.join(models) or 'none'}"
        )
    show(models[arguments.name].card or f"{arguments.name} has no card")
    return 0


def _line(model: ShippedModel) -> str:
    mark = " (default)" if model.name == DEFAULT_MODEL else ""
    megabytes = model.path.stat().st_size / 1e6
    return f"{model.name}{mark}, {megabytes:.1f} MB: {model.summary or 'no card'}"
