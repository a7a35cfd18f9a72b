"""Training of estimators of C-alphas from beads, from the command line."""

from __future__ import annotations

import argparse
from typing import Any

from backmap.cli.train import describe_training, load_corpora, make_folder, read_configurations
from backmap.cluster.devices import select_device

from .console import show


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Train and write ``beads.safetensors``."""
    from backmap.models.checkpoint import save_checkpoint, to_checkpoint
    from backmap.training.beads import BeadTrainingConfig, EstimatorShape, train_estimator

    shape, training = read_configurations(arguments.config, table, EstimatorShape, BeadTrainingConfig)
    device = select_device(arguments.device)
    data, held_out = load_corpora(arguments.config, table)
    make_folder(arguments.output)
    result = train_estimator(shape, training, data, held_out, arguments.output, device, arguments.resume)
    provenance = describe_training(training, data, held_out, result.history)
    provenance["rmsd_nm"] = result.rmsd_nm
    network, path = result.estimator, arguments.output / "beads.safetensors"
    save_checkpoint(path, to_checkpoint("beads", network.config, network, provenance))
    show(f"wrote {path}; C-alphas within {result.rmsd_nm:.4f} nm rms on the structures held out")
