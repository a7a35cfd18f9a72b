"""Arguments of the Python interface, and the settings of torch and numpy that its caller may have changed."""

from __future__ import annotations

import inspect
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch

import backmap
from backmap.errors import InputError
from backmap.evaluation.scoring import evaluate
from backmap.evaluation.trajectory_scoring import evaluate_trajectory
from backmap.limits import OneOf
from backmap.usual_settings import usual_settings
from tests.cli.test_bad_arguments import LIMITS, NUMBERS

CHAIN = mdtraj.load_pdb(str(Path(__file__).parent / "data/cases/beads/1ab1_A.calpha.pdb")).atom_slice(
    range(12)
)
DIPEPTIDE = str(Path(__file__).parents[1] / "examples/alanine_dipeptide/alanine_dipeptide.pdb")

BAD = [
    1.5,
    -1,
    True,
    "1",
    "",
    b"x",
    [],
    {},
    1j,
    10**30,
    float("nan"),
    np.array([1, 2]),
    object(),
    torch.device("cpu"),
]
BAD += [np.float64(0.5), np.bool_(True), None, "a\0b", float("inf")]


def build(**options: Any) -> mdtraj.Trajectory:
    return backmap.reconstruct(CHAIN, **{"device": "cpu"} | options)


def stream(**options: Any) -> mdtraj.Trajectory:
    (built,) = backmap.reconstruct_stream([CHAIN], **{"device": "cpu"} | options)
    return built


def options_of(function: Callable[..., Any]) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY]


def allowed(name: str, value: object) -> bool:
    """Whether a value makes sense, whatever the model."""
    if value is None:
        return True  # checked below, where it is refused
    if name in NUMBERS:
        number = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
        whole = isinstance(value, int) or isinstance(NUMBERS[name].lowest, float)
        return bool(number and whole and NUMBERS[name].lowest <= value <= NUMBERS[name].highest)
    return not isinstance(LIMITS.get(name), OneOf) and isinstance(value, bool | np.bool_)


@pytest.mark.parametrize("function", [build, stream], ids=["whole", "stream"])
@pytest.mark.parametrize("name", options_of(backmap.reconstruct))
def test_bad_arguments_are_named(function, name):
    if name == "top" and function is stream:
        return
    for value in BAD:
        if allowed(name, value):
            continue
        with pytest.raises(InputError) as refused:
            function(**{name: value})
        message = str(refused.value)
        said = name in message or (name == "sequence" and "no such file" in message)
        assert said and len(message) < 300 and "\n" not in message


@pytest.mark.parametrize(
    "name", ["samples", "seed", "device", "skip_unknown", "hydrogens", "ddim_steps", "refine", "ph", "model"]
)
def test_none_is_no_value_where_there_is_a_default(name):
    with pytest.raises(InputError, match=f"{name} is None"):
        build(**{name: None})


@pytest.mark.parametrize("name", [n for n in options_of(evaluate_trajectory) if n in NUMBERS] + ["lag_times"])
def test_bad_arguments_of_the_evaluation_are_named(name):
    for value in ["x", -1.0, [-1.0], float("nan"), True, 1j]:
        with pytest.raises(InputError, match=name):
            evaluate_trajectory(CHAIN, CHAIN, **{name: value})


@pytest.mark.parametrize(
    "given",
    ["in.pdb", None, 3, [1], [CHAIN, "in.pdb"], np.zeros((1, 3)), b"x"],
    ids=["path", "None", "number", "list of numbers", "mixed list", "array", "bytes"],
)
def test_what_is_no_trajectory_is_refused(given):
    calls: list[Callable[[], Any]] = [
        lambda: evaluate(None, given),
        lambda: evaluate_trajectory(CHAIN, given),
        lambda: evaluate_trajectory(given, CHAIN),
    ]
    if not isinstance(given, str):
        calls.append(lambda: backmap.reconstruct(given, device="cpu"))
    if given is not None:
        calls.append(lambda: evaluate(given, CHAIN))
    for call in calls:
        with pytest.raises(InputError, match=r"mdtraj\.Trajectory|sequence of"):
            call()


@pytest.mark.parametrize("given", ["in.pdb", None, 3, CHAIN], ids=["text", "None", "3", "trajectory"])
def test_streams_need_frames(given):
    with pytest.raises(InputError, match=r"give an iterable|give it as \[trajectory\]"):
        backmap.reconstruct_stream(given, device="cpu")


@pytest.mark.parametrize(
    "frame",
    [
        CHAIN.xyz[0] * 1j,
        CHAIN.xyz[0].astype(object),
        CHAIN.xyz[0].astype(str),
        CHAIN.xyz[0] > 0,
        [[1, 2, 3], [4, 5]],
        None,
        "x",
        CHAIN.xyz,
    ],
    ids=["complex", "object", "text", "bool", "ragged", "None", "word", "too deep"],
)
def test_frames_that_are_no_coordinates_are_refused(frame):
    with pytest.raises(InputError, match="frame 1: "):
        next(backmap.reconstruct_stream([frame], top=CHAIN.topology, device="cpu"))


def test_a_topology_beside_a_trajectory_is_refused():
    with pytest.raises(InputError, match="already has a topology"):
        build(top="other.pdb")


def test_integers_of_numpy_are_integers():
    expected = build(samples=2, seed=3)
    found = build(samples=np.int32(2), seed=np.uint8(3), skip_unknown=np.bool_(False))
    assert all(np.array_equal(a.xyz, b.xyz) for a, b in zip(expected, found, strict=True))


# ---- Settings of the caller --------------------------------------------------------------------------


@contextmanager
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def another_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic_algorithms() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS: dict[str, Callable[[], Any]] = {
    "double precision": double_precision,
    "another device": another_device,
    "deterministic algorithms": deterministic_algorithms,
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "numpy raises": lambda: np.errstate(all="raise"),
}


def everything() -> list[np.ndarray]:
    """Short results of each family of models, by both entry points."""
    return [
        build().xyz,
        stream().xyz,
        backmap.reconstruct(CHAIN.atom_slice(range(3)), model="diamondback", device="cpu", ddim_steps=2).xyz,
        backmap.reconstruct(DIPEPTIDE, model="alanine-dipeptide", device="cpu").xyz,
    ]


@pytest.fixture(scope="module")
def expected() -> list[np.ndarray]:
    return everything()


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_of_the_caller_change_nothing(name, expected):
    with SETTINGS[name]():
        found = everything()
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_settings_come_back_after_an_error():
    with double_precision(), pytest.raises(ZeroDivisionError), usual_settings():
        raise ZeroDivisionError


def _build_in_child(queue: multiprocessing.Queue[float]) -> None:
    queue.put(float(build().xyz.astype(np.float64).sum()))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_forked_process_builds_the_same():
    """The threads of OpenMP that torch has started here are not there in the child."""
    torch.rand(2000, 1000).add_(1).sum()
    expected = float(build().xyz.astype(np.float64).sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_build_in_child, args=(queue,), daemon=True)
    child.start()
    try:
        assert queue.get(timeout=120) == expected
    finally:
        child.kill()
        child.join()
