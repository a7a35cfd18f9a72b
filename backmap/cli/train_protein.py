"""Training of protein models from the command line."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backmap.api import select_device
from backmap.cli.train import require_tables
from backmap.errors import InputError


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``protein.safetensors``."""
    import torch

    from backmap.datasets.corpus import load_corpus
    from backmap.models.checkpoint import save_checkpoint, to_checkpoint
    from backmap.models.protein.model import ProteinModel
    from backmap.training.protein import train_protein

    model, training = _configurations(arguments.config, table)
    device = select_device(arguments.device)
    try:
        corpus = table.get("data", {})["corpus"]
        data, held_out = load_corpus(corpus, "train"), load_corpus(corpus, "validation")
    except (ValueError, KeyError) as error:
        raise InputError(
            f"{arguments.config}: [data] corpus names no usable structure corpus ({error})"
        ) from None
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


def _configurations(path: Path, table: dict[str, Any]) -> tuple[Any, Any]:
    from backmap.models.checkpoint import config_from_dict
    from backmap.models.protein.config import ProteinConfig
    from backmap.training.protein import ProteinTrainingConfig

    require_tables(path, table, {"data", "model", "training"})
    try:
        model = config_from_dict(ProteinConfig, table.get("model", {}))
        return model, config_from_dict(ProteinTrainingConfig, table.get("training", {}))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None
