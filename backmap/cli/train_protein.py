"""Training of protein models from the command line."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from backmap.api import select_device
from backmap.cli.train import load_corpora, read_configurations


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``protein.safetensors``."""
    import torch

    from backmap.models.checkpoint import save_checkpoint, to_checkpoint
    from backmap.models.protein.config import ProteinConfig
    from backmap.models.protein.model import ProteinModel
    from backmap.training.protein import ProteinTrainingConfig, train_protein

    model, training = read_configurations(arguments.config, table, ProteinConfig, ProteinTrainingConfig)
    device = select_device(arguments.device)
    data, held_out = load_corpora(arguments.config, table)
    result = train_protein(model, training, data, held_out, arguments.output, device, arguments.resume)
    provenance = {
        "training": asdict(training),
        "data_sha256": data.data_hash,
        "validation_sha256": held_out.data_hash,
        "seed": training.seed,
        "torch": torch.__version__,
        "history": result.history,
        "validation_loss_by_type": result.loss_by_type,
    }
    network = ProteinModel(model, result.peptide_planes, result.side_chains)
    save_checkpoint(
        arguments.output / "protein.safetensors", to_checkpoint("protein", model, network, provenance)
    )
    print(f"wrote {arguments.output / 'protein.safetensors'}")
