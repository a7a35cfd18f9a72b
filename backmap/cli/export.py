"""``backmap export``: write a model to a file that C++ programs can run without Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from backmap.cg.config import FAMILY
from backmap.chemistry.bead_mapping import BeadMapping, load_mapping
from backmap.errors import InputError
from backmap.models.model_file import ModelFile, read_model_file
from backmap.models.shipped import ShippedModel, read_estimator, read_model, require_model
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
    add(
        "--beads",
        metavar="BEADS",
        help="(protein models) beads that the module takes instead of C-alphas: a mapping of `backmap "
        "beads`, or the file of one",
    )
    add_option(parser, Building, "bead_model")
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
    from backmap.models.beads.estimator import CAlphaEstimator

    mapping = _read_mapping(arguments, family)
    bead_model = _read_bead_model(mapping, arguments.bead_model)
    model = load_force_field(source) if family == FAMILY else file.load()
    _check_steps(arguments, family, model)
    metadata = {
        "backmap": __version__,
        "torch": torch.__version__,
        "weights": {"name": file.name, "sha256": file.sha256},
        "config": file.header.config,
        "provenance": file.header.provenance,
    }
    inputs, estimator = [source], None
    if bead_model is not None:
        inputs.append(Path(bead_model.name))
        metadata["bead_model"] = {"name": bead_model.name, "sha256": bead_model.sha256}
        loaded = bead_model.load()
        assert isinstance(loaded, CAlphaEstimator)
        estimator = loaded
    beads = None if mapping is None else (mapping, estimator)
    card = ShippedModel(source.stem, source).card
    with StagedFiles(overwrite=arguments.overwrite, inputs=inputs) as files:
        staged = files.add(arguments.output)
        if arguments.format == "aot":
            save_ahead_of_time(staged, model, metadata, card)
        else:
            save_torchscript(staged, model, metadata, card, arguments.ddim_steps, beads)
    if not arguments.quiet:
        size = Path(arguments.output).stat().st_size / 1e6
        taken = "" if mapping is None else f"beads {mapping.name}, "
        what = f"{arguments.model} ({family}, {taken}{size:.1f} MB)"
        tell(f"exported {what} -> {arguments.output}")
    return 0


def _read(name: str) -> ModelFile:
    """Read a model that builds atoms, or a coarse-grained force field."""
    file = ModelFile(name, read_model_file(require_model(name)))
    return file if file.family == FAMILY else read_model(name)


def _read_mapping(arguments: argparse.Namespace, family: str) -> BeadMapping | None:
    """Read the mapping whose beads the module takes; None for C-alphas."""
    if arguments.beads is None:
        return None
    if family != "protein" or arguments.format == "aot":
        raise InputError(
            f"--beads: applies only to protein models as TorchScript; {arguments.model} is not one"
        )
    mapping = load_mapping(arguments.beads)
    return None if mapping.only_c_alphas else mapping


def _read_bead_model(mapping: BeadMapping | None, bead_model: str | None) -> ModelFile | None:
    """Read the model that estimates C-alphas, if these are no beads."""
    if mapping is not None and not mapping.main_is_c_alpha:
        return read_estimator(mapping, bead_model)
    if bead_model is not None:
        raise InputError("bead-model: applies only with --beads of a mapping without C-alphas")
    return None


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
