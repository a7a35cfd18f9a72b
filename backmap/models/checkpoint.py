"""Trained models in one file: weights, configuration and card together; never a pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import typing
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file

FORMAT_VERSION = 1

Config = TypeVar("Config")


@dataclass(frozen=True)
class Checkpoint:
    """What a model file holds.

    Attributes
    ----------
    family : str
        Which kind of model: ``protein``, ``diamondback`` or ``temporal``.
    config : dict
        The model's configuration.
    tensors : dict of Tensor
        Its weights.
    provenance : dict
        Training configuration, data hash, seed, history and whatever else tells how the weights came to be.
    """

    family: str
    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)

    def load_weights(self, module: torch.nn.Module) -> None:
        """Put the weights into a module.

        Raises
        ------
        ValueError
            If they do not fit it.
        """
        try:
            module.load_state_dict(self.tensors)
        except RuntimeError as error:
            raise ValueError(f"weights do not fit the configuration: {error}") from None


def config_from_dict(kind: type[Config], values: dict[str, Any]) -> Config:
    """Make a (nested) configuration dataclass from plain values.

    Raises
    ------
    ValueError
        If a key is unknown or a value has the wrong type; the message names it.
    """
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    arguments = {}
    for name, value in values.items():
        if name not in known:
            raise ValueError(f"unknown key {name!r}: {kind.__name__} has {', '.join(known)}")
        default = known[name].default
        if isinstance(value, dict):
            arguments[name] = config_from_dict(_nested_type(kind, name), value)
        elif isinstance(default, float) and isinstance(value, int):
            arguments[name] = float(value)
        elif default is not dataclasses.MISSING and not isinstance(value, type(default)):
            raise ValueError(f"{name} is {value!r}, but {type(default).__name__} is wanted")
        else:
            arguments[name] = value
    return kind(**arguments)


def _nested_type(kind: type, name: str) -> type:
    hint = typing.get_type_hints(kind)[name]
    if not dataclasses.is_dataclass(hint):
        raise ValueError(f"{name} is a single value, not a table")
    return hint  # type: ignore[return-value]


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a model file."""
    metadata = {
        "format": str(FORMAT_VERSION),
        "family": checkpoint.family,
        "config": json.dumps(checkpoint.config),
        "provenance": json.dumps(checkpoint.provenance),
    }
    save_file({n: t.detach().cpu().contiguous() for n, t in checkpoint.tensors.items()}, path, metadata)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a model file.

    Raises
    ------
    ValueError
        With one sentence for the user, if the file is not a model.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} is not a model file ({error}): give a .safetensors file") from None
    return parse_checkpoint(data, path)


def parse_checkpoint(data: bytes, path: str | Path) -> Checkpoint:
    """Read the content of a model file; ``path`` is its name in messages.

    Raises
    ------
    ValueError
        With one sentence for the user, if the file is not a model.
    """
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a model file ({error}): give a .safetensors file") from None
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    if "family" not in metadata or "config" not in metadata:
        raise ValueError(f"{path} is not a backmap model: it holds tensors but no model configuration")
    if int(metadata["format"]) > FORMAT_VERSION:
        raise ValueError(f"{path} has format {metadata['format']}, newer than this backmap reads: update it")
    provenance = json.loads(metadata.get("provenance", "{}"))
    return Checkpoint(metadata["family"], json.loads(metadata["config"]), tensors, provenance)


def load_model(path: str | Path, device: torch.device | str = "cpu") -> torch.nn.Module:
    """Load a model ready for inference.

    Raises
    ------
    ValueError
        With one sentence for the user, if there is no such file or it is no model that backmap knows.
    """
    return make_model(load_checkpoint(path), path).to(device)


def make_model(checkpoint: Checkpoint, path: str | Path) -> torch.nn.Module:
    """Make the model that a checkpoint holds, ready for inference; ``path`` is its name in messages.

    Raises
    ------
    ValueError
        With one sentence for the user, if it is no model that backmap knows.
    """
    from backmap.models.diamondback.model import DiamondbackModel
    from backmap.models.protein.model import ProteinModel
    from backmap.models.temporal.model import TemporalModel

    families = {"protein": ProteinModel, "diamondback": DiamondbackModel, "temporal": TemporalModel}
    if checkpoint.family not in families:
        raise ValueError(f"{path} is a {checkpoint.family!r} model, which this backmap does not know")
    return families[checkpoint.family].from_checkpoint(checkpoint).eval()


@dataclass(frozen=True)
class ModelFile:
    """A model file held in memory, so that it is read once and can be sent to other processes.

    Attributes
    ----------
    name : str
        What the user calls it, for messages.
    data : bytes
        Its content.
    """

    name: str
    data: bytes

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """What it holds. Raises ValueError with one sentence for the user if that is no model."""
        return parse_checkpoint(self.data, self.name)

    @property
    def family(self) -> str:
        """Which kind of model: ``protein``, ``diamondback`` or ``temporal``."""
        return self.checkpoint.family

    @cached_property
    def sha256(self) -> str:
        """Hash of the content, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def load(self, device: torch.device | str = "cpu") -> torch.nn.Module:
        """Make the model, ready for inference. Raises ValueError as :func:`make_model`."""
        return make_model(self.checkpoint, self.name).to(device)

    def __getstate__(self) -> dict[str, Any]:
        """Give what is sent to other processes: not what was made of it."""
        return {"name": self.name, "data": self.data}


def to_checkpoint(
    family: str, config: Any, module: torch.nn.Module, provenance: dict[str, Any]
) -> Checkpoint:
    """Gather a trained module into a checkpoint."""
    return Checkpoint(family, asdict(config), dict(module.named_parameters()), provenance)
