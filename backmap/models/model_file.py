"""Model files as bytes, and what they say about themselves; PyTorch is imported only to load a model."""

from __future__ import annotations

import hashlib
import json
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, deserialize

from backmap.errors import InputError
from backmap.limits import Whole, shown

if TYPE_CHECKING:
    import torch

FORMAT_VERSION = 1
LARGEST_FILE = 4 << 30
"""In bytes; model files are read as a whole."""


@dataclass(frozen=True)
class ModelHeader:
    """Everything in a model file but its weights.

    Attributes
    ----------
    family : str
        Kind of model: ``protein``, ``diamondback``, ``temporal``, ``beads`` or ``nucleic``.
    config : dict
        The model's configuration.
    provenance : dict
        Training configuration, data hash, seed, history and further information on the training.
    """

    family: str
    config: dict[str, Any]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class ModelFile:
    """A model file in memory, which is read once and can be sent to other processes.

    Attributes
    ----------
    name : str
        Name of the model, for messages.
    data : bytes
        Content of the file.
    """

    name: str
    data: bytes

    @cached_property
    def header(self) -> ModelHeader:
        """What the file says about its weights. Raises InputError if it is not a model."""
        return read_header(self.data, self.name)

    @property
    def family(self) -> str:
        """Kind of model, as in its header."""
        return self.header.family

    @cached_property
    def sha256(self) -> str:
        """Hash of the content, in hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def load(self, device: torch.device | str = "cpu") -> torch.nn.Module:
        """Create the model, ready for inference.

        Raises
        ------
        InputError
            If the file is not a valid model.
        """
        from backmap.models.checkpoint import make_model, parse_checkpoint

        return make_model(parse_checkpoint(self.data, self.name), self.name).to(device)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state sent to other processes, without cached values."""
        return {"name": self.name, "data": self.data}


def read_model_file(path: str | Path) -> bytes:
    """Read the content of a model file.

    Raises
    ------
    InputError
        If it cannot be read, is not a file, or is too large.
    """
    try:
        if not Path(path).is_file():
            raise InputError(f"{path} is not a model file: give a .safetensors file")
        if Path(path).stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is not a model file: it is larger than {LARGEST_FILE >> 30} GiB")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a model file ({error}): give a .safetensors file") from None


def read_header(data: bytes, path: str | Path) -> ModelHeader:
    """Read what a model file says about its weights; ``path`` is its name in messages.

    Raises
    ------
    InputError
        If the file is not a model.
    """
    try:
        deserialize(data)  # checks that all weights are there
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError) as error:
        reason = one_line(error)
        raise InputError(f"{path} is not a model file ({reason}): give a .safetensors file") from None
    if not {"format", "family", "config"} <= metadata.keys():
        raise InputError(f"{path} is not a backmap model: it contains tensors but no model configuration")
    _require_format(metadata["format"], path)
    config, provenance = (
        _parse_table(metadata.get(name, "{}"), f"{path}: its {name}") for name in ("config", "provenance")
    )
    return ModelHeader(metadata["family"], config, provenance)


def _require_format(text: str, path: str | Path) -> None:
    try:
        version = Whole(1, 10**9).parse(text)
    except ValueError as error:
        raise InputError(f"{path} is not a backmap model: its format {error}") from None
    if version > FORMAT_VERSION:
        raise InputError(f"{path} has format {version}, newer than this backmap supports: update backmap")


def _parse_table(text: str, what: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} is not valid JSON ({one_line(error)})") from None
    if not isinstance(table, dict):
        raise InputError(f"{what} is {shown(table)}; it must be a table")
    return table


def one_line(error: Exception) -> str:
    """Return the message of an error on one line, shortened if it is long."""
    return textwrap.shorten(str(error), 300, placeholder=" ...")
