"""``backmap train``: data to weights."""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from backmap.errors import InputError
from backmap.limits import shown
from backmap.models.configuration import Number, Share, config_from_dict
from backmap.runs.request import Request

from .console import show
from .options import add_options

if TYPE_CHECKING:
    from backmap.datasets.corpus import Corpus
    from backmap.datasets.frame_pairs import FramePairs
    from backmap.datasets.mapped_forces import MappedForces

    Dataset = Corpus | FramePairs | MappedForces

_LARGEST_CONFIGURATION = 10_000_000
"""Bytes."""

Model = TypeVar("Model")
Training = TypeVar("Training")


@dataclass(frozen=True)
class Structures:
    """What ``[data]`` names: a structure corpus, or a trajectory and how it is cut."""

    corpus: str | None = None
    trajectory: str | None = None
    topology: str | None = None
    stride: Number = 1
    train_share: Share = 0.8

    def __post_init__(self) -> None:
        if (self.corpus is None) == (self.trajectory is None):
            raise ValueError("give either a structure corpus or a trajectory")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    add = parser.add_argument
    families = ["protein", "diamondback", "temporal", "beads", "coherence", "cgschnet"]
    add(
        "family",
        choices=families,
        help="what to train: a kind of model, the memory of torsions, or a coarse-grained force field",
    )
    add(
        "config",
        type=Path,
        nargs="?",
        metavar="CONFIG",
        help="TOML file; those of the shipped models lie beside their weights",
    )
    add("-o", "--output", type=Path, help="folder for states, model and log")
    add("--resume", action="store_true", help="go on from the states in the output folder")
    add("--from", dest="start", metavar="MODEL", help="diamondback: fine-tune this model")
    add_options(parser, Request, ["device", "threads"])
    add("--suggest", metavar="TRAJECTORY", help="temporal: print a configuration for this trajectory")
    add("--top", metavar="TOPOLOGY", help="with --suggest: topology of the trajectory")
    add("--beads", default="CA", metavar="NAMES", help="with --suggest: atoms that are beads (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Train and write the model file, or suggest a configuration."""
    import torch

    from backmap.cli import (
        train_beads,
        train_cgschnet,
        train_coherence,
        train_diamondback,
        train_protein,
        train_temporal,
    )

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.suggest:
        if arguments.family != "temporal":
            raise InputError(
                "--suggest works for temporal models; the other families train by the configurations in "
                "backmap/weights"
            )
        show(train_temporal.suggest(arguments.suggest, arguments.top or arguments.suggest, arguments.beads))
        return 0
    if arguments.config is None or arguments.output is None:
        raise InputError("give CONFIG and -o FOLDER, or --suggest TRAJECTORY")
    if arguments.start and arguments.family != "diamondback":
        raise InputError(f"--from: only diamondback models are fine-tuned, not {arguments.family} models")
    families = {
        "protein": train_protein,
        "diamondback": train_diamondback,
        "temporal": train_temporal,
        "beads": train_beads,
        "coherence": train_coherence,
        "cgschnet": train_cgschnet,
    }
    family = families[arguments.family]
    _refuse_old_states(arguments.output, arguments.resume)
    family.train(arguments, read_config(arguments.config))
    return 0


def read_config(path: Path) -> dict[str, Any]:
    """Read a TOML file, or say why it cannot be read."""
    if not path.is_file():
        raise InputError(f"{path} cannot be read as a TOML configuration: it is no file")
    try:
        if path.stat().st_size > _LARGEST_CONFIGURATION:
            raise InputError(f"{path} is too large for a TOML configuration")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as a TOML configuration: {error}") from None


def require_tables(path: Path, table: dict[str, Any], known: set[str]) -> None:
    """Refuse tables of a configuration that mean nothing."""
    unknown = sorted(set(table) - known)
    if unknown:
        raise InputError(f"{path}: unknown table [{unknown[0]}]; {', '.join(sorted(known))} are known")
    for name, value in table.items():
        if not isinstance(value, dict):
            raise InputError(f"{path}: {name} is {shown(value)}; it must be a table")


def read_configurations(
    path: Path, table: dict[str, Any], model: type[Model], training: type[Training]
) -> tuple[Model, Training]:
    """Make the configurations of a residue-wise model and of its training, or say what is wrong with them."""
    require_tables(path, table, {"data", "model", "training"})
    try:
        return (
            config_from_dict(model, table.get("model", {}), "model"),
            config_from_dict(training, table.get("training", {}), "training"),
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def load_corpora(path: Path, table: dict[str, Any]) -> tuple[Corpus, Corpus]:
    """Read the training and validation structures that a configuration names: a corpus, or a trajectory."""
    from backmap.datasets.corpus import corpora_of_trajectory, load_corpus

    try:
        data = config_from_dict(Structures, table.get("data", {}), "data")
        if data.corpus is not None:
            return load_corpus(data.corpus, "train"), load_corpus(data.corpus, "validation")
        assert data.trajectory is not None  # one of the two is given
        return corpora_of_trajectory(data.trajectory, data.topology, data.stride, data.train_share)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def describe_training(training: Any, data: Dataset, held_out: Dataset, history: Any) -> dict[str, Any]:
    """Say how weights came to be, for their checkpoint."""
    import torch

    return {
        "training": asdict(training),
        "data_sha256": data.data_hash,
        "validation_sha256": held_out.data_hash,
        "seed": training.seed,
        "torch": torch.__version__,
        "history": history,
    }


def make_folder(folder: Path) -> None:
    """Make the folder of a training, once its configuration and data are known to be good."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error}") from None


def _refuse_old_states(folder: Path, resume: bool) -> None:
    if not resume and any(folder.glob("*.state")):
        raise InputError(
            f"{folder} holds the state of an earlier training: add --resume or name another folder"
        )
