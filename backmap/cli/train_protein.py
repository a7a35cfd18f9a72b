"""Training of protein models from the command line."""

from __future__ import annotations

import argparse
from dataclasses import replace
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
from backmap.errors import InputError

from .console import show


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``protein.safetensors``."""
    from backmap.models.checkpoint import save_checkpoint, to_checkpoint
    from backmap.models.protein.config import ProteinConfig
    from backmap.models.protein.model import ProteinModel
    from backmap.training.protein import ProteinTrainingConfig, check_stages, train_protein

    model, training = read_configurations(arguments.config, table, ProteinConfig, ProteinTrainingConfig)
    device = select_device(arguments.device)
    start = load_start(arguments, table, model, ProteinModel, device, free=["packing"])
    if start is not None:
        packing = model.packing if "packing" in table.get("model", {}) else start.config.packing
        model = replace(start.config, packing=packing)
    try:
        check_stages(model, training, start)
    except InputError as error:
        raise InputError(f"{arguments.config}: {error}") from None
    data, held_out = load_corpora(arguments.config, table)
    make_folder(arguments.output)
    result = train_protein(model, training, data, held_out, arguments.output, device, arguments.resume, start)
    provenance = describe_training(training, data, held_out, result.history, arguments.start)
    provenance["data"] = table["data"]
    provenance["validation_loss_by_type"] = result.loss_by_type
    save_checkpoint(
        arguments.output / "protein.safetensors", to_checkpoint("protein", model, result.model, provenance)
    )
    for stage, history in result.history.items():
        if gain := describe_gain(history):
            show(f"loss of the {stage.replace('_', ' ')} held out, nats: {gain}")
    show(f"wrote {arguments.output / 'protein.safetensors'}")
