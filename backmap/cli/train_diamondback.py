"""Training of DiAMoNDBack models from the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from backmap.cli.train import (
    describe_gain,
    describe_training,
    load_corpora,
    load_start,
    make_folder,
    read_configurations,
)
from backmap.cluster.devices import select_device

from .console import show


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``diamondback.safetensors``."""
    from backmap.models.checkpoint import save_checkpoint, to_checkpoint
    from backmap.models.diamondback.config import DiamondbackConfig
    from backmap.models.diamondback.model import DiamondbackModel
    from backmap.training.diamondback import DiamondbackTrainingConfig, train_diamondback

    config, training = read_configurations(
        arguments.config, table, DiamondbackConfig, DiamondbackTrainingConfig
    )
    device = select_device(arguments.device)
    start = load_start(arguments, table, config, DiamondbackModel, device)
    if start is not None:
        config = start.config
    data, held_out = load_corpora(arguments.config, table)
    make_folder(arguments.output)
    result = train_diamondback(
        config, training, data, held_out, arguments.output, device, arguments.resume, start
    )
    provenance = describe_training(training, data, held_out, result.history, arguments.start)
    provenance["data"] = table["data"]
    path: Path = arguments.output / "diamondback.safetensors"
    save_checkpoint(path, to_checkpoint("diamondback", config, result.model, provenance))
    if gain := describe_gain(result.history):
        show(f"loss of the residues held out: {gain}")
    show(f"wrote {path}")
