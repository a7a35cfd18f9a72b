"""``backmap export``: write a model to a file that C++ programs can run without Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from backmap.cg.config import FAMILY
from backmap.errors import InputError
from backmap.models.model_file import ModelFile, read_model_file
from backmap.models.shipped import ShippedModel, read_model, require_model
from backmap.runs.request import Building

from .console import tell
from .options import add_option

if TYPE_CHECKING:
    import torch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the verb."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="shipped model, or weights file")
    add("-o", "--output", required=True, metavar="OUTPUT", help="file to write, such as model.ts")
    add(
        "--format",
        choices=("torchscript", "aot"),
        default="torchscript",
        help="TorchScript, or (temporal models) machine code for this processor (%(default)s)",
    )
    add_option(parser, Building, "ddim_steps")
    add("--overwrite", action="store_true", help="replace an existing file")
    add("--quiet", action="store_true", help="show no summary line")


def run(arguments: argparse.Namespace) -> int:
    """Write the model as a TorchScript module, or as an ahead-of-time package."""
    file = _read(arguments.model)
    source = require_model(arguments.model)
    if arguments.format == "aot" and Path(arguments.output).suffix != ".pt2":
        raise InputError(f"{arguments.output}: the name of an ahead-of-time package must end in .pt2")
    family = file.family
    import torch

    from backmap import __version__
    from backmap.cg.model import load_force_field
    from backmap.export.ahead_of_time import save_ahead_of_time
    from backmap.export.torchscript import save_torchscript
    from backmap.io import StagedFiles

    model = load_force_field(source) if family == FAMILY else file.load()
    _check_steps(arguments, family, model)
    metadata = {
        "backmap": __version__,
        "torch": torch.__version__,
        "weights": {"name": file.name, "sha256": file.sha256},
        "config": file.header.config,
        "provenance": file.header.provenance,
    }
    card = ShippedModel(source.stem, source).card
    with StagedFiles(overwrite=arguments.overwrite, inputs=[source]) as files:
        staged = files.add(arguments.output)
        if arguments.format == "aot":
            save_ahead_of_time(staged, model, metadata, card)
        else:
            save_torchscript(staged, model, metadata, card, arguments.ddim_steps)
    if not arguments.quiet:
        size = Path(arguments.output).stat().st_size / 1e6
        what = f"{arguments.model} ({family}, {size:.1f} MB)"
        tell(f"exported {what} -> {arguments.output}")
    return 0


def _read(name: str) -> ModelFile:
    """Read a model that builds atoms, or a coarse-grained force field."""
    file = ModelFile(name, read_model_file(require_model(name)))
    return file if file.family == FAMILY else read_model(name)


def _check_steps(arguments: argparse.Namespace, family: str, model: torch.nn.Module) -> None:
    """Refuse DDIM steps that the model does not support."""
    steps, name = arguments.ddim_steps, arguments.model
    if not steps:
        return
    from backmap.models.diamondback.model import DiamondbackModel

    if not isinstance(model, DiamondbackModel):
        raise InputError(f"--ddim-steps: applies only to diamondback models; {name} is a {family} model")
    if steps > model.config.steps:
        raise InputError(
            f"--ddim-steps {steps}: {name} has only {model.config.steps} steps; give at most that many"
        )
