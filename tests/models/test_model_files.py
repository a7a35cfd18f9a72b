"""Model files that someone else wrote, damaged or hostile: they load, or one sentence says what is wrong."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import typing
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from backmap.errors import InputError
from backmap.limits import Real, Whole
from backmap.models.checkpoint import Checkpoint, load_checkpoint
from backmap.models.configuration import config_from_dict
from backmap.models.diamondback.config import DiamondbackConfig
from backmap.models.model_file import ModelFile
from backmap.models.protein.config import ProteinConfig
from backmap.models.temporal.config import TemporalConfig
from backmap.training.diamondback import DiamondbackTrainingConfig
from backmap.training.protein import ProteinTrainingConfig
from backmap.training.temporal import TemporalTrainingConfig
from tests.fuzzing import tries
from tests.models.small_models import NAMES, build, small_checkpoint, to_bytes

CONFIGS = (
    (DiamondbackConfig, ProteinConfig, TemporalConfig)
    + (DiamondbackTrainingConfig, ProteinTrainingConfig, TemporalTrainingConfig)
)  # fmt: skip
BAD_VALUES: list[Any] = [
    None,
    [],
    {},
    "x",
    -1,
    0,
    0.5,
    -2.5,
    1e30,
    10**12,
    10**400,
    True,
    [[1]],
    {"a": 1},
    "",
]
BAD_VALUES += [float("nan"), float("inf"), -float("inf"), 2, 7, 100, 4096]
DEEP = "[" * 100_000


@pytest.fixture(scope="module", params=NAMES)
def checkpoint(request) -> Checkpoint:
    return small_checkpoint(request.param)


def load(checkpoint: Checkpoint, **metadata: str) -> torch.nn.Module:
    return ModelFile("small", to_bytes(checkpoint, **metadata)).load()


def with_tensor(checkpoint: Checkpoint, name: str, tensor: torch.Tensor) -> Checkpoint:
    return replace(checkpoint, tensors=checkpoint.tensors | {name: tensor})


def some_tensors(checkpoint: Checkpoint) -> list[tuple[str, torch.Tensor]]:
    """Six of the tensors, from the first to the last."""
    tensors = sorted(checkpoint.tensors.items())
    return tensors[:: len(tensors) // 5]


def test_the_small_models_build_atoms(checkpoint):
    assert np.isfinite(build(to_bytes(checkpoint))).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(checkpoint, value):
    names = [name for name, t in checkpoint.tensors.items() if t.is_floating_point() and t.numel()]
    for name in names[:: max(1, len(names) // 5)]:
        tensor = checkpoint.tensors[name].detach().clone()
        tensor.view(-1)[-1] = value
        if name in ("bond_range", "residual_limit") and value > 0:
            continue
        with pytest.raises(InputError, match=name.removeprefix("force_field.")):
            load(with_tensor(checkpoint, name, tensor))


@pytest.mark.parametrize("dtype", [torch.int64, torch.float64, torch.bool, torch.float16, torch.uint8])
def test_weights_of_another_kind_are_refused_by_name(checkpoint, dtype):
    for name, tensor in some_tensors(checkpoint):
        if tensor.dtype != dtype:
            with pytest.raises(InputError, match=name.removeprefix("force_field.")):
                load(with_tensor(checkpoint, name, tensor.detach().to(dtype)))


def test_weights_that_are_missing_or_too_many_or_empty_are_refused(checkpoint):
    for name, tensor in some_tensors(checkpoint):
        if name != "library" and tensor.numel():
            with pytest.raises(InputError):
                load(with_tensor(checkpoint, name, tensor.flatten()[:0]))
        rest = {key: tensor for key, tensor in checkpoint.tensors.items() if key != name}
        with pytest.raises(InputError, match=name.removeprefix("force_field.")):
            load(replace(checkpoint, tensors=rest))
    with pytest.raises(InputError, match="surplus"):
        load(with_tensor(checkpoint, "surplus", torch.zeros(2)))


def test_sizes_are_compared_with_the_weights_before_anything_is_made(checkpoint, monkeypatch):
    """The largest values that are allowed one by one would together take terabytes."""
    largest = to_largest(checkpoint.config)
    made: list[int] = []
    original = torch.Tensor.uniform_
    monkeypatch.setattr(
        torch.Tensor, "uniform_", lambda t, *a, **k: (made.append(t.numel()), original(t, *a, **k))[1]
    )
    with pytest.raises(InputError):
        load(replace(checkpoint, config=largest))
    assert sum(made) < 50_000_000


def to_largest(config: dict[str, Any]) -> dict[str, Any]:
    sizes = {"width": 16_384, "hidden": 16_384, "channels": 16_384, "trunk_width": 16_384, "layers": 64}
    sizes |= {"neighbour_width": 16_384, "head_width": 16_384, "trunk_layers": 64}
    return {
        name: to_largest(value) if isinstance(value, dict) else sizes.get(name, value)
        for name, value in config.items()
    }


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
def test_every_number_of_a_configuration_has_limits(kind):
    for name, hint in numbers_of(kind):
        assert typing.get_origin(hint) is typing.Annotated, f"{name} has no limits"
        assert isinstance(typing.get_args(hint)[1], Whole | Real)


def is_table(hint: Any) -> bool:
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def fields_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Names and hints of fields; those of tables that may be left out are those of the tables."""
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        inner = [option for option in typing.get_args(hint) if is_table(option)]
        yield name, inner[0] if inner else hint


def numbers_of(kind: type) -> Iterator[tuple[str, Any]]:
    for name, hint in fields_of(kind):
        if dataclasses.is_dataclass(hint):
            yield from numbers_of(hint)
        elif hint not in (str, bool):
            yield f"{kind.__name__}.{name}", hint


@pytest.mark.parametrize("kind", CONFIGS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("value", BAD_VALUES[:15], ids=str)
def test_bad_values_of_a_configuration_are_named(kind, value):
    for path in paths_of(kind):
        table: dict[str, Any] = {}
        innermost = table
        for name in path[:-1]:
            innermost = innermost.setdefault(name, {})
        innermost[path[-1]] = value
        try:
            config_from_dict(kind, table)
        except InputError as error:
            assert path[-1] in str(error) or "is missing" in str(error)
            assert len(str(error)) < 400


def paths_of(kind: type) -> Iterator[tuple[str, ...]]:
    for name, hint in fields_of(kind):
        yield (name,)
        if dataclasses.is_dataclass(hint):
            yield from ((name, *rest) for rest in paths_of(hint))


@pytest.mark.parametrize(
    "metadata",
    [
        {"config": "{"},
        {"config": DEEP},
        {"config": "[]"},
        {"config": "null"},
        {"config": '{"a": ' + "9" * 5000 + "}"},
        {"provenance": DEEP},
        {"provenance": "3"},
        {"format": "one"},
        {"format": "9" * 5000},
        {"format": "-1"},
        {"format": "2"},
        {"family": "alchemy"},
        {"family": "\ud7ff" * 1000},
    ],
    ids=lambda metadata: str(metadata)[:30],
)
def test_bad_metadata_is_refused(checkpoint, metadata):
    with pytest.raises(InputError) as caught:
        load(checkpoint, **metadata)
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff" * 8,
        (2**63).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
        (100_000).to_bytes(8, "little") + b"[" * 100_000,
        (4).to_bytes(8, "little") + b"\xff\xfe{}",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_bytes_that_are_no_model_are_refused(data, tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match="m.safetensors is not a"):
        load_checkpoint(path)


def test_truncated_files_are_refused(checkpoint):
    data = to_bytes(checkpoint)
    for length in range(0, len(data), len(data) // 20):
        with pytest.raises(InputError):
            ModelFile("small", data[:length]).load()


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "none", tmp_path / "fifo", "\0", "x" * 10_000):
        with pytest.raises(InputError, match="not a model file"):
            load_checkpoint(path)


@pytest.mark.parametrize("name", ["bonds", "angles", "torsions", "exceptions", "constraints", "kinds"])
@pytest.mark.parametrize("index", [-1, 22, 2**62])
def test_force_fields_that_name_atoms_that_are_not_there_are_refused(name, index):
    checkpoint = small_checkpoint("internal")
    tensor = checkpoint.tensors[f"force_field.{name}"].clone()
    tensor.view(-1)[0] = index
    with pytest.raises(InputError, match=f"{name} of the force field ranges from"):
        load(with_tensor(checkpoint, f"force_field.{name}", tensor))


# ---- Fuzzing: each try loads and builds finite atoms, or gives one sentence ------------------------


@pytest.mark.fuzz
@pytest.mark.parametrize("name", NAMES)
def test_fuzzed_model_files(name):
    original = small_checkpoint(name)
    for seed in tries(30):
        generator = random.Random(f"{name} {seed}")
        damage = generator.choice((damage_config, damage_tensors, damage_metadata, damage_bytes))
        try:
            assert np.isfinite(build(damage(original, generator))).all(), f"seed {seed}"
        except InputError as error:
            assert len(str(error)) < 500 and "\n" not in str(error), f"seed {seed}: {error}"


def damage_config(checkpoint: Checkpoint, generator: random.Random) -> bytes:
    config = deepcopy(checkpoint.config)
    for _ in range(generator.randint(1, 2)):
        change_somewhere(config, generator)
    return to_bytes(checkpoint, config=json.dumps(config))


def change_somewhere(values: Any, generator: random.Random) -> None:
    """Change, remove or add one entry of nested tables and lists."""
    keys: list[Any] = list(values) if isinstance(values, dict) else list(range(len(values)))
    if not keys:
        return
    key = generator.choice(keys)
    if isinstance(values[key], dict | list) and generator.random() < 0.9:
        change_somewhere(values[key], generator)
    elif generator.random() < 0.1:
        del values[key]
    elif isinstance(values, dict) and generator.random() < 0.1:
        values[generator.choice(("", "x", "\ud800", "latent"))] = 1
    else:
        values[key] = generator.choice(BAD_VALUES)


def damage_tensors(checkpoint: Checkpoint, generator: random.Random) -> bytes:
    changes: list[Callable[[torch.Tensor], torch.Tensor]] = [
        lambda t: t * 1e30 if t.is_floating_point() else t + 1000,
        lambda t: t * 0,
        lambda t: -t if t.dtype != torch.bool else ~t,
        lambda t: t[:0] if t.dim() else t.reshape(1),
        lambda t: t.transpose(0, -1) if t.dim() else t,
        lambda t: torch.cat([t, t]) if t.dim() else t,
        lambda t: t.unsqueeze(0),
        lambda t: t.to(generator.choice((torch.int64, torch.float64, torch.bool, torch.bfloat16))),
        lambda t: torch.randint(0, 255, t.shape, dtype=torch.uint8).to(t.dtype),
        lambda t: t.sqrt() if t.is_floating_point() else t,
    ]
    tensors = {name: tensor.detach() for name, tensor in checkpoint.tensors.items()}
    for _ in range(generator.randint(1, 3)):
        name = generator.choice(list(tensors))
        tensors[name] = generator.choice(changes)(tensors[name])
    return to_bytes(replace(checkpoint, tensors=tensors))


def damage_metadata(checkpoint: Checkpoint, generator: random.Random) -> bytes:
    name = generator.choice(("format", "family", "config", "provenance"))
    values = ("", "1", "null", "{}", "[1]", '"x"', "NaN", "{" * 5000, "diamondback", "protein", "temporal")
    return to_bytes(checkpoint, **{name: generator.choice(values)})


def damage_bytes(checkpoint: Checkpoint, generator: random.Random) -> bytes:
    data = bytearray(to_bytes(checkpoint))
    header = 8 + int.from_bytes(data[:8], "little")
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(generator.choice((8, header, len(data))))
        data[place] = generator.choice((0, 255, data[place] ^ 1 << generator.randrange(8)))
    return bytes(data[: generator.randint(1, len(data))] if generator.random() < 0.1 else data)
