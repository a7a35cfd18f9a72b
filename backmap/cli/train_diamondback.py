"""Training of DiAMoNDBack models from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap.cli.train import describe_training, load_corpora, make_folder, read_configurations
from backmap.cluster.devices import select_device
from backmap.errors import InputError
from backmap.models.shipped import load_model, require_model

from .console import show

if TYPE_CHECKING:
    import torch

    from backmap.models.diamondback.model import DiamondbackModel


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``diamondback.safetensors``."""
    from backmap.io import describe_file
    from backmap.models.checkpoint import save_checkpoint, to_checkpoint
    from backmap.models.diamondback.config import DiamondbackConfig
    from backmap.training.diamondback import DiamondbackTrainingConfig, train_diamondback

    config, training = read_configurations(
        arguments.config, table, DiamondbackConfig, DiamondbackTrainingConfig
    )
    device = select_device(arguments.device)
    start = None
    if arguments.start:
        start = _load_start(arguments.start, device)
        if "model" in table and start.config != config:
            raise InputError(f"{arguments.config}: [model] is not that of {arguments.start}; leave it out")
        config = start.config
    data, held_out = load_corpora(arguments.config, table)
    make_folder(arguments.output)
    result = train_diamondback(
        config, training, data, held_out, arguments.output, device, arguments.resume, start
    )
    provenance = describe_training(training, data, held_out, result.history)
    if arguments.start:
        provenance["fine_tuned_from"] = describe_file(require_model(arguments.start))
    path: Path = arguments.output / "diamondback.safetensors"
    save_checkpoint(path, to_checkpoint("diamondback", config, result.model, provenance))
    show(f"wrote {path}")


def _load_start(model: str, device: torch.device) -> DiamondbackModel:
    """Load the model to fine-tune."""
    from backmap.models.diamondback.model import DiamondbackModel

    start = load_model(model, device)
    if not isinstance(start, DiamondbackModel):
        raise InputError(f"--from {model}: not a diamondback model")
    return start
