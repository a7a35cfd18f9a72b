"""``backmap train``: data to weights."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from backmap.errors import InputError
from backmap.limits import shown
from backmap.models.configuration import Number, Share, config_from_dict
from backmap.models.shipped import fine_tuning_configuration, require_model
from backmap.runs.request import Request

from .console import show
from .options import add_options

if TYPE_CHECKING:
    import torch

    from backmap.datasets.corpus import Corpus
    from backmap.datasets.frame_pairs import FramePairs
    from backmap.datasets.mapped_forces import MappedForces
    from backmap.models.diamondback.model import DiamondbackModel
    from backmap.models.protein.model import ProteinModel

    Dataset = Corpus | FramePairs | MappedForces

_LARGEST_CONFIGURATION = 10_000_000
"""Bytes."""

Model = TypeVar("Model")
Training = TypeVar("Training")
Start = TypeVar("Start", bound="DiamondbackModel | ProteinModel")


FINE_TUNED = ("protein", "diamondback")
"""Families that can start from a model."""


@dataclass(frozen=True)
class Structures:
    """What ``[data]`` names: a structure corpus, trajectories and how they are parted, or both.

    Attributes
    ----------
    corpus : str, optional
        Folder of a structure corpus.
    corpus_share : float
        With both, the share of the residues shown that belong to the corpus.
    trajectories, topologies, held_out, stride, most_frames, train_share, gap_share
        See :func:`backmap.datasets.trajectory_corpus.corpora_of_trajectories`.
    """

    corpus: str | None = None
    corpus_share: Share = 0.5
    trajectories: tuple[str, ...] = ()
    topologies: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    stride: Number = 1
    most_frames: Number = 2000
    train_share: Share = 0.8
    gap_share: Share = 0.05

    def __post_init__(self) -> None:
        if self.corpus is None and not self.trajectories:
            raise ValueError("give a structure corpus, trajectories, or both")
        if self.corpus is not None and self.trajectories and self.corpus_share in (0.0, 1.0):
            raise ValueError(
                f"corpus_share is {self.corpus_share:g}: leave out what is not to be learned from"
            )
        for name in ("topologies", "held_out"):
            if getattr(self, name) and not self.trajectories:
                raise ValueError(f"{name}: there are no trajectories")


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
        help="TOML file; those of the shipped models lie beside their weights. Optional with --from",
    )
    add("-o", "--output", type=Path, help="folder for states, model and log")
    add("--resume", action="store_true", help="go on from the states in the output folder")
    add("--from", dest="start", metavar="MODEL", help="protein, diamondback: fine-tune this model")
    add(
        "--trajectory",
        nargs="+",
        metavar="FILE",
        help="all-atom trajectories to learn from, instead of CONFIG's",
    )
    add(
        "--corpus", metavar="FOLDER", help="structure corpus to learn from, beside or instead of trajectories"
    )
    add("--top", nargs="+", metavar="FILE", help="topology of all trajectories, or one for each")
    add("--held-out", nargs="+", metavar="FILE", help="trajectories among them that are only validated with")
    add_options(parser, Request, ["device", "threads"])
    add("--suggest", metavar="TRAJECTORY", help="temporal: print a configuration for this trajectory")
    add("--beads", default="CA", metavar="NAMES", help="with --suggest: atoms that are beads (%(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Train and write the model file, or suggest a configuration."""
    from backmap.cli import (
        train_beads,
        train_cgschnet,
        train_coherence,
        train_diamondback,
        train_protein,
        train_temporal,
    )

    if arguments.suggest:
        show(_suggest(arguments))
        return 0
    arguments.config = _configuration(arguments)
    families = {
        "protein": train_protein,
        "diamondback": train_diamondback,
        "temporal": train_temporal,
        "beads": train_beads,
        "coherence": train_coherence,
        "cgschnet": train_cgschnet,
    }
    _refuse_old_states(arguments.output, arguments.resume)
    table = _with_settings(arguments, _with_data(arguments, read_config(arguments.config)))
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    families[arguments.family].train(arguments, table)
    return 0


def _suggest(arguments: argparse.Namespace) -> str:
    """Write a configuration of a temporal model."""
    from backmap.cli import train_temporal

    if arguments.family != "temporal":
        raise InputError(
            "--suggest works for temporal models; the other families train by the configurations in "
            "backmap/weights"
        )
    topologies = arguments.top or [arguments.suggest]
    if len(topologies) > 1:
        raise InputError("--suggest describes one trajectory: give one topology with --top")
    return train_temporal.suggest(arguments.suggest, topologies[0], arguments.beads)


def _configuration(arguments: argparse.Namespace) -> Path:
    """Return the configuration to train by: the user's, or backmap's own for fine-tuning."""
    if arguments.start and arguments.family not in FINE_TUNED:
        raise InputError(
            f"--from: only {' and '.join(FINE_TUNED)} models are fine-tuned, not {arguments.family} models"
        )
    if arguments.output is None or (arguments.config is None and not arguments.start):
        raise InputError("give CONFIG and -o FOLDER, --from MODEL and -o FOLDER, or --suggest TRAJECTORY")
    if arguments.config is not None:
        return arguments.config
    if not (arguments.trajectory or arguments.corpus):
        raise InputError(
            "--from without CONFIG: give --trajectory FILE, and --top FILE if it needs a topology"
        )
    return fine_tuning_configuration(arguments.family)


def _with_data(arguments: argparse.Namespace, table: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with the data that the command line names."""
    for option in ("top", "held_out"):
        if getattr(arguments, option) and not arguments.trajectory:
            raise InputError(f"--{option.replace('_', '-')}: give --trajectory as well")
    if not (arguments.trajectory or arguments.corpus):
        return table
    if arguments.family not in FINE_TUNED:
        option = "--trajectory" if arguments.trajectory else "--corpus"
        raise InputError(f"{option}: applies to {' and '.join(FINE_TUNED)} models; name the data in CONFIG")
    data = table.get("data", {})
    if not isinstance(data, dict):
        return table
    if arguments.trajectory:
        topologies, held_out = arguments.top or [], arguments.held_out or []
        data = data | {"trajectories": arguments.trajectory, "topologies": topologies, "held_out": held_out}
    return table | {"data": data if arguments.corpus is None else data | {"corpus": arguments.corpus}}


def _with_settings(arguments: argparse.Namespace, table: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with backmap's own settings for fine-tuning where it has none."""
    if not arguments.start or "training" in table:
        return table
    return table | {"training": read_config(fine_tuning_configuration(arguments.family))["training"]}


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
    """Read the training and validation structures that a configuration names.

    With trajectories, the validation structures are only their frames held out.
    """
    from backmap.datasets.corpus import load_corpus
    from backmap.datasets.trajectory_corpus import corpora_of_trajectories, mix_corpora

    try:
        data = config_from_dict(Structures, table.get("data", {}), "data")
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if not data.trajectories:
        assert data.corpus is not None  # one of the two is given
        return load_corpus(data.corpus, "train"), load_corpus(data.corpus, "validation")
    frames, held_out = corpora_of_trajectories(
        data.trajectories,
        data.topologies,
        held_out=data.held_out,
        stride=data.stride,
        most_frames=data.most_frames,
        train_share=data.train_share,
        gap_share=data.gap_share,
    )
    if data.corpus is not None:
        frames = mix_corpora(frames, load_corpus(data.corpus, "train"), data.corpus_share)
    return frames, held_out


def load_start(
    arguments: argparse.Namespace,
    table: dict[str, Any],
    config: Any,
    kind: type[Start],
    device: torch.device,
    free: Sequence[str] = (),
) -> Start | None:
    """Load the model to fine-tune, None if training begins with new weights.

    ``free`` are the parts of its configuration that ``config``, read from ``table``, may change.

    Raises
    ------
    InputError
        If the model is of another family, or the configuration describes another model.
    """
    from backmap.models.shipped import load_model

    if not arguments.start:
        return None
    start = load_model(arguments.start, device)
    if not isinstance(start, kind):
        raise InputError(f"--from {arguments.start}: not a {arguments.family} model")
    for name in table.get("model", {}).keys() - set(free):
        if getattr(start.config, name) != getattr(config, name):
            raise InputError(
                f"{arguments.config}: [model] {name} is not that of {arguments.start}; leave it out"
            )
    return start


def describe_training(
    training: Any, data: Dataset, held_out: Dataset, history: Any, start: str | None = None
) -> dict[str, Any]:
    """Say how weights came to be, for their checkpoint; ``start`` is the model they were fine-tuned from."""
    import torch

    provenance = {
        "training": asdict(training),
        "data_sha256": data.data_hash,
        "validation_sha256": held_out.data_hash,
        "seed": training.seed,
        "torch": torch.__version__,
        "history": history,
    }
    if start:
        from backmap.io import describe_file

        provenance["fine_tuned_from"] = describe_file(require_model(start))
    return provenance


def describe_gain(history: list[dict[str, float]]) -> str:
    """Say how the loss on data held out changed, for stages that validate before they train."""
    losses = [entry["validation_loss"] for entry in history if "validation_loss" in entry]
    before = history[0].get("validation_loss_before") if history else None
    if before is None or not losses:
        return ""
    return f"{before:.4g} before, {min([before, *losses]):.4g} after"


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
