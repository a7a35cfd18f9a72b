"""``backmap train``: data to weights."""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backmap.api import select_device
from backmap.errors import InputError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    parser.add_argument("family", choices=["protein"], help="which kind of model to train")
    parser.add_argument(
        "config", type=Path, metavar="CONFIG", help="TOML file; see backmap/weights/protein.toml"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for states, model and log")
    parser.add_argument("--resume", action="store_true", help="go on from the states in the output folder")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, help="CPU threads; by default PyTorch's choice")


def run(arguments: argparse.Namespace) -> int:
    """Train and write the model file."""
    import torch

    from backmap.datasets.corpus import load_corpus
    from backmap.models.checkpoint import save_checkpoint, to_checkpoint
    from backmap.models.protein.model import ProteinModel
    from backmap.training.protein import train_protein

    table = _read_config(arguments.config)
    model, training = _configurations(arguments.config, table)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = select_device(arguments.device)
    _prepare_folder(arguments.output, arguments.resume)
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
    return 0


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a TOML configuration: {error}") from None


def _configurations(path: Path, table: dict[str, Any]) -> tuple[Any, Any]:
    from backmap.models.checkpoint import config_from_dict
    from backmap.models.protein.config import ProteinConfig
    from backmap.training.protein import ProteinTrainingConfig

    unknown = set(table) - {"data", "model", "training"}
    if unknown:
        raise InputError(f"{path}: unknown table [{unknown.pop()}]; data, model and training are known")
    try:
        model = config_from_dict(ProteinConfig, table.get("model", {}))
        return model, config_from_dict(ProteinTrainingConfig, table.get("training", {}))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None


def _prepare_folder(folder: Path, resume: bool) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error}") from None
    if not resume and any(folder.glob("*.state")):
        raise InputError(
            f"{folder} holds the state of an earlier training: add --resume or name another folder"
        )
