"""Trained models in one file: weights, configuration and provenance, without pickles."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from safetensors.torch import load, save_file
from torch.overrides import TorchFunctionMode

from backmap.errors import InputError
from backmap.limits import shown

from .model_file import FORMAT_VERSION, one_line, read_header, read_model_file

_ENTRIES_OF_CONSTANTS = 20_000_000
"""Tensor entries that models create besides their weights, such as tables and masks."""

_FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
"""Functions that create tensors of a size given by the configuration."""

_FAMILIES = {
    "protein": ("backmap.models.protein.model", "ProteinModel"),
    "diamondback": ("backmap.models.diamondback.model", "DiamondbackModel"),
    "temporal": ("backmap.models.temporal.model", "TemporalModel"),
    "beads": ("backmap.models.beads.estimator", "CAlphaEstimator"),
    "nucleic": ("backmap.models.nucleic.library", "NucleicLibrary"),
}
"""Modules and classes of the families of models; only those in use are imported."""

Model = TypeVar("Model", bound=torch.nn.Module)


class _Family(Protocol):
    """A class of models."""

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> torch.nn.Module:
        """Create the model of a checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """The content of a model file.

    Attributes
    ----------
    family : str
        Kind of model, as in :class:`backmap.models.model_file.ModelHeader`.
    config : dict
        The model's configuration.
    tensors : dict of Tensor
        The model's weights.
    provenance : dict
        Training configuration, data hash, seed, history and further information on the training.
    """

    family: str
    config: dict[str, Any]
    tensors: dict[str, torch.Tensor]
    provenance: dict[str, Any] = field(default_factory=dict)

    def build(self, make: Callable[[], Model]) -> Model:
        """Create an untrained model without allocating more than its weights need.

        Raises
        ------
        InputError
            If the configuration is invalid or describes a larger model.
        """
        with _Allowance(sum(tensor.numel() for tensor in self.tensors.values())):
            try:
                return make()
            except (ValueError, RuntimeError) as error:
                raise InputError(f"the configuration is not valid: {one_line(error)}") from None

    def load_weights(self, module: torch.nn.Module, unbounded: Sequence[str] = ()) -> None:
        """Load the weights into a module; those named ``unbounded`` may be infinite.

        Raises
        ------
        InputError
            If a tensor does not match the module or is not finite; the message names it.
        """
        if problem := misfit(self.tensors, module.state_dict(), unbounded):
            raise InputError(f"weights do not match the configuration: {problem}")
        module.load_state_dict(self.tensors)


class _Allowance(TorchFunctionMode):
    """Refuses to create many more tensor entries than the file contains."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self._left = 2 * entries + _ENTRIES_OF_CONSTANTS

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function in _FACTORIES:
            sizes = (kwargs or {}).get("size", args)
            self._left -= math.prod(sizes[0] if sizes and not isinstance(sizes[0], int) else sizes)
            if self._left < 0:
                raise InputError("the configuration describes a larger model than the file has weights for")
        return function(*args, **(kwargs or {}))


def misfit(
    tensors: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], unbounded: Sequence[str] = ()
) -> str | None:
    """Describe the first tensor of a file that does not match a module, or is not finite; None if all match.

    Parameters
    ----------
    tensors : mapping
        Tensors of the file, by name.
    wanted : mapping
        Tensors with the names, shapes and dtypes that the file must have.
    unbounded : sequence of str
        Names of tensors that may contain infinity.
    """
    if odd := sorted(wanted.keys() ^ tensors.keys()):
        return f"the tensor {shown(odd[0])} is {'missing' if odd[0] in wanted else 'unexpected'}"
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape or tensor.dtype != wanted[name].dtype:
            return f"{name} is {_describe(tensor)}; it must be {_describe(wanted[name])}"
        finite = tensor.isfinite() | tensor.isposinf() if name in unbounded else tensor.isfinite()
        if not finite.all():
            return f"{name} contains values that are not finite"
    return None


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def metadata_of(checkpoint: Checkpoint) -> dict[str, str]:
    """Return everything except the tensors, as stored in the file."""
    return {
        "format": str(FORMAT_VERSION),
        "family": checkpoint.family,
        "config": json.dumps(checkpoint.config),
        "provenance": json.dumps(checkpoint.provenance),
    }


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a model file."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()}
    save_file(tensors, path, metadata_of(checkpoint))


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a model file.

    Raises
    ------
    InputError
        If the file is not a model.
    """
    return parse_checkpoint(read_model_file(path), path)


def parse_checkpoint(data: bytes, path: str | Path) -> Checkpoint:
    """Read the content of a model file; ``path`` is its name in messages.

    Raises
    ------
    InputError
        If the file is not a model.
    """
    header = read_header(data, path)
    try:
        tensors = load(data)
    except (KeyError, RuntimeError) as error:  # a dtype that PyTorch does not have, or too large a shape
        reason = one_line(error)
        raise InputError(f"{path} is not a model file ({reason}): give a .safetensors file") from None
    return Checkpoint(header.family, header.config, tensors, header.provenance)


def load_model(path: str | Path, device: torch.device | str = "cpu") -> torch.nn.Module:
    """Load a model ready for inference.

    Raises
    ------
    InputError
        If there is no such file or it is not a valid model.
    """
    return make_model(load_checkpoint(path), path).to(device)


def make_model(checkpoint: Checkpoint, path: str | Path) -> torch.nn.Module:
    """Create the model of a checkpoint, ready for inference; ``path`` is its name in messages.

    Raises
    ------
    InputError
        If it is not a valid model.
    """
    if checkpoint.family not in _FAMILIES:
        raise InputError(f"{path} is a {shown(checkpoint.family)} model, which is unknown to this backmap")
    module, name = _FAMILIES[checkpoint.family]
    family: type[_Family] = getattr(import_module(module), name)
    try:
        return family.from_checkpoint(checkpoint).eval()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def to_checkpoint(
    family: str, config: Any, module: torch.nn.Module, provenance: dict[str, Any]
) -> Checkpoint:
    """Gather a trained module into a checkpoint."""
    return Checkpoint(family, asdict(config), dict(module.state_dict()), provenance)
