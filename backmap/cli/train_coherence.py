"""Fitting of how fast torsions are forgotten, from the command line."""

from __future__ import annotations

import argparse
import json
from typing import Any

from backmap.cli.train import make_folder, require_tables
from backmap.errors import InputError
from backmap.models.configuration import config_from_dict

from .console import show


def train(arguments: argparse.Namespace, table: dict[str, Any]) -> None:
    """Fit and write ``coherence.json``."""
    from backmap.datasets.simulations import Simulation, read_simulation
    from backmap.models import shipped
    from backmap.models.protein.model import ProteinModel
    from backmap.training.coherence import CoherenceTrainingConfig, train_coherence

    path = arguments.config
    require_tables(path, table, {"simulations", "training"})
    try:
        config = config_from_dict(CoherenceTrainingConfig, table.get("training", {}), "training")
        listed = {
            name: config_from_dict(Simulation, entry, f"simulations.{name}")
            for name, entry in table.get("simulations", {}).items()
        }
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not listed:
        raise InputError(f"{path}: names no simulations; give each a table [simulations.NAME]")
    model = shipped.read_model("protein").load("cpu").eval()
    assert isinstance(model, ProteinModel)  # by its family
    seen = [read_simulation(simulation, path.parent) for simulation in listed.values()]
    make_folder(arguments.output)
    statistics = train_coherence(model, seen, config, show)
    statistics["simulations"] = {
        name: {"temperature": simulation.temperature, "ps": len(read.atoms) * read.interval_ps}
        for (name, simulation), read in zip(listed.items(), seen, strict=True)
    }
    output = arguments.output / "coherence.json"
    output.write_text(json.dumps(statistics, indent=1) + "\n")
    show(f"wrote {output}")
