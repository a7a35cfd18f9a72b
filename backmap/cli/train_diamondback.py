"""Training of DiAMoNDBack models from the command line."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap import api
from backmap.cli.train import load_corpora, read_configurations
from backmap.errors import InputError

if TYPE_CHECKING:
    import torch

    from backmap.models.diamondback.config import DiamondbackConfig
    from backmap.models.diamondback.model import DiamondbackModel


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``diamondback.safetensors``."""
    import torch

    from backmap.io import describe_file
    from backmap.models.checkpoint import save_checkpoint, to_checkpoint
    from backmap.models.diamondback.config import DiamondbackConfig
    from backmap.training.diamondback import DiamondbackTrainingConfig, train_diamondback

    config, training = read_configurations(
        arguments.config, table, DiamondbackConfig, DiamondbackTrainingConfig
    )
    device = api.select_device(arguments.device)
    start = _start(arguments.start, arguments.config, config, device) if arguments.start else None
    data, held_out = load_corpora(arguments.config, table)
    result = train_diamondback(
        config, training, data, held_out, arguments.output, device, arguments.resume, start
    )
    provenance = {
        "training": asdict(training),
        "data_sha256": data.data_hash,
        "validation_sha256": held_out.data_hash,
        "seed": training.seed,
        "torch": torch.__version__,
        "fine_tuned_from": describe_file(api.require_model(arguments.start)) if arguments.start else None,
        "history": result.history,
    }
    path: Path = arguments.output / "diamondback.safetensors"
    save_checkpoint(path, to_checkpoint("diamondback", config, result.model, provenance))
    print(f"wrote {path}")


def _start(model: str, path: Path, config: DiamondbackConfig, device: torch.device) -> DiamondbackModel:
    """Load the model to fine-tune, which must be of the configured kind."""
    if api.model_family(model) != "diamondback":
        raise InputError(f"--from {model}: not a diamondback model")
    loaded = api.load_model(model, device)
    if loaded.config != config:
        raise InputError(f"{path}: [model] is not that of {model}; leave it out or copy it from its card")
    return loaded
