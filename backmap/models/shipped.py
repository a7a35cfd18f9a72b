"""The models that come with backmap, and model files that the user names."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch

from backmap.errors import InputError

from .checkpoint import ModelFile, read_model_file

DEFAULT_MODEL = "protein"
_WEIGHTS = Path(__file__).parents[1] / "weights"


@dataclass(frozen=True)
class ShippedModel:
    """A model that comes with backmap: its name, its weights and its card."""

    name: str
    path: Path

    @property
    def card(self) -> str:
        """The model card, or an empty text where there is none."""
        card = self.path.with_suffix(".md")
        return card.read_text(encoding="utf-8") if card.exists() else ""

    @property
    def summary(self) -> str:
        """The first paragraph of the card below its title, on one line."""
        paragraphs = [text.strip() for text in self.card.split("\n\n")]
        first = next((text for text in paragraphs if text and not text.startswith("#")), "")
        return " ".join(first.split())


def shipped_models() -> dict[str, ShippedModel]:
    """List the models that come with backmap, by name."""
    return {path.stem: ShippedModel(path.stem, path) for path in sorted(_WEIGHTS.glob("*.safetensors"))}


def require_model(model: str | PathLike[str]) -> Path:
    """Give the file of a model named by the user, or say which models there are."""
    shipped = shipped_models()
    if str(model) in shipped:
        return shipped[str(model)].path
    path = Path(model)
    if path.is_file():
        return path
    names = ", ".join(shipped) or "none"
    raise InputError(f"model {model}: neither a shipped model ({names}) nor a file; see `backmap models`")


def read_model(model: str | PathLike[str]) -> ModelFile:
    """Read the model the user named; its family is known then."""
    file = ModelFile(str(model), read_model_file(require_model(model)))
    _ = file.family
    return file


def load_model(model: str | PathLike[str], device: torch.device) -> torch.nn.Module:
    """Load the model the user named, ready for inference."""
    return read_model(model).load(device)
