"""The models shipped with backmap, and model files named by the user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backmap.chemistry.bead_mapping import BeadMapping, shipped_mappings
from backmap.errors import InputError

from .model_file import ModelFile, read_model_file

if TYPE_CHECKING:
    import torch

DEFAULT_MODEL = "protein"
_WEIGHTS = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True)
class ShippedModel:
    """A model shipped with backmap: its name, weights and card."""

    name: str
    path: Path

    @property
    def card(self) -> str:
        """The model card, or an empty string if there is none."""
        card = self.path.with_suffix(".md")
        return card.read_text(encoding="utf-8") if card.exists() else ""

    @property
    def summary(self) -> str:
        """The first paragraph of the card after its title, on one line."""
        paragraphs = [text.strip() for text in self.card.split("\n\n")]
        first = next((text for text in paragraphs if text and not text.startswith("#")), "")
        return " ".join(first.split())


def shipped_models() -> dict[str, ShippedModel]:
    """Return the models shipped with backmap, by name."""
    return {path.stem: ShippedModel(path.stem, path) for path in sorted(_WEIGHTS.glob("*.safetensors"))}


def require_model(model: str | PathLike[str]) -> Path:
    """Return the file of a model named by the user. Raises InputError if there is none."""
    shipped = shipped_models()
    if str(model) in shipped:
        return shipped[str(model)].path
    path = Path(model)
    if path.is_file():
        return path
    names = ", ".join(shipped) or "none"
    raise InputError(f"model {model}: neither a shipped model ({names}) nor a file; see `backmap models`")


def fine_tuning_configuration(family: str) -> Path:
    """Return the file of the configuration by which models of a family are fine-tuned by default."""
    return _WEIGHTS / "fine_tuning" / f"{family}.toml"


def read_model(model: str | PathLike[str]) -> ModelFile:
    """Read a model named by the user, and check that it is a model that builds atoms."""
    file = ModelFile(str(model), read_model_file(require_model(model)))
    if file.family == "beads":
        raise InputError(f"model {model}: estimates C-alphas from beads; give it with --bead-model")
    if file.family == "nucleic":
        raise InputError(
            f"model {model}: is the library of nucleic acids, which is used wherever there are any"
        )
    if file.family == "cgschnet":
        raise InputError(
            f"model {model}: is a coarse-grained force field, which builds no atoms; use `backmap simulate`"
        )
    return file


def read_nucleic_library() -> ModelFile:
    """Read the library of nucleic acids."""
    path = _WEIGHTS / "nucleic" / "nucleic-acids.safetensors"
    return ModelFile(path.stem, read_model_file(path))


def read_estimator(mapping: BeadMapping, file: str | PathLike[str] | None = None) -> ModelFile:
    """Read the model that estimates C-alphas from the beads of a mapping.

    A model is for all mappings with the same atoms and weights, whatever they are called.

    Parameters
    ----------
    mapping : BeadMapping
        The mapping.
    file : path, optional
        A model file; by default the one shipped for such beads.

    Raises
    ------
    InputError
        If there is no such model, or it is for another mapping.
    """
    path = _shipped_estimator(mapping) if file is None else Path(file)
    model = ModelFile(str(path), read_model_file(path))
    if model.family != "beads":
        raise InputError(
            f"bead-model {path}: is for {model.family} models, but the input has beads {mapping.name}"
        )
    if (reason := _other_mapping(model.header.config, mapping)) is not None:
        raise InputError(
            f"bead-model {path}: {reason}; train a model for the input's beads with `backmap train beads`"
        )
    return model


def _other_mapping(config: Mapping[str, Any], mapping: BeadMapping) -> str | None:
    """Say why a model is not for a mapping; None if it is."""
    if config.get("mapping_digest") == mapping.digest:
        return None
    if "mapping_digest" not in config:
        return "does not say which atoms and weights its beads have"
    if config.get("mapping") == mapping.name:
        return f"is for a mapping {mapping.name} with other atoms or weights than that of the input"
    return f"is for beads {config.get('mapping')}, but the input has beads {mapping.name}"


def _shipped_estimator(mapping: BeadMapping) -> Path:
    """Return the file of the model shipped for the atoms and weights of a mapping."""
    alike = (name for name, shipped in shipped_mappings().items() if shipped.digest == mapping.digest)
    paths = (_WEIGHTS / "beads" / f"{name}.safetensors" for name in alike)
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise InputError(
            f"beads {mapping.name}: no model is shipped that estimates C-alphas from them; train one with "
            "`backmap train beads` and give it with --bead-model"
        )
    return found


def load_model(model: str | PathLike[str], device: torch.device) -> torch.nn.Module:
    """Load a model named by the user, ready for inference."""
    return read_model(model).load(device)
