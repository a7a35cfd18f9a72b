"""A request is a value: what follows from its fields."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import Any

import pytest

import backmap
from backmap.cli.main import build_parser
from backmap.cli.reconstruct import GROUPS
from backmap.errors import InputError, OptionError
from backmap.limits import Flag, Name, OneOf, Real, Several, Whole
from backmap.options import Option, defaults_of, options_of
from backmap.runs.request import Building, Request
from tests.cli.test_long_runs import run

GIVEN = {"input": ("in.pdb",), "output": "out.pdb"}
OPTIONS = options_of(Request)
FILES = {"model", "input", "top", "sequence", "residues", "seed_from", "bead_model", "coherence"}
"""Their content decides, by its hash."""
ON_THE_WAY = {"output", "overwrite", "log", "quiet", "resume"} | {
    "device", "threads", "workers", "scheduler", "batch", "chunk", "on_bad_frame"
}  # fmt: skip
"""How a run is carried out: it may go on with another value."""


NEEDED: dict[str, dict[str, Any]] = {
    "burn_in": {"segments": 2},
    "minimise": {"hydrogens": True},
    "names_for": {"hydrogens": True},
    "confidence": {"best": True},
}
"""What an option needs beside it."""


def other_value(name: str, known: Option) -> Any:
    """A value that is not the default."""
    default = defaults_of(Request).get(name)
    values = known.values
    if isinstance(values, Flag):
        return not default
    if isinstance(values, OneOf):
        return next(word for word in values.words if word != default)
    if isinstance(values, Whole):
        return next(n for n in (values.lowest, values.lowest + 1, 2, 3) if n != default)
    if isinstance(values, Real):
        return values.lowest if default != values.lowest else values.highest
    return ("other",) if isinstance(values, Several) else "other"


def with_other(name: str) -> Request:
    return Request(**{**GIVEN, **NEEDED.get(name, {}), name: other_value(name, OPTIONS[name])})


@pytest.mark.parametrize("name", OPTIONS)
def test_what_a_run_can_not_go_on_with_follows_from_the_options(name):
    """An option that is new decides, unless its declaration says that it does not."""
    before = Request(**GIVEN, **NEEDED.get(name, {}))
    assert (with_other(name).deciding != before.deciding) == OPTIONS[name].decides
    assert OPTIONS[name].decides == (name not in FILES | ON_THE_WAY)


@pytest.mark.parametrize("family", ["protein", "diamondback", "temporal"])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_refused_for_other_families(name, family):
    asked, known = with_other(name), OPTIONS[name]
    if known.families and family not in known.families:
        with pytest.raises(OptionError, match=f"applies only to .* models; protein is a {family} model"):
            dataclasses.replace(asked, model="protein").require_family(family)
    elif not known.families:
        asked.require_family(family)


def test_the_command_line_has_every_option():
    (subparsers,) = (action for action in build_parser("reconstruct")._actions if action.choices)
    actions = {action.dest: action for action in subparsers.choices["reconstruct"]._actions}
    assert set(actions) - {"help"} == set(OPTIONS)
    assert {known.group for known in OPTIONS.values()} == set(GROUPS)
    for name, default in defaults_of(Request).items():
        assert actions[name].default == default


@pytest.mark.parametrize(
    ("function", "kind", "own"),
    [
        (backmap.reconstruct, Building, {"trajectory", "top"}),
        (backmap.reconstruct_stream, Building, {"frames", "top"}),
        (backmap.reconstruct_files, Request, {"input", "output"}),
    ],
)
def test_functions_take_and_document_every_option(function, kind, own):
    parameters = inspect.signature(function).parameters
    assert set(parameters) == own | set(options_of(kind))
    for name, default in defaults_of(kind).items():
        assert parameters[name].default == default
        assert f"\n    {name} : " in function.__doc__


def test_limits_hold_wherever_a_request_is_made():
    for name, known in OPTIONS.items():
        bad = {Flag: 1, Name: 3, Several: [3]}.get(type(known.values), "no such value")
        with pytest.raises(InputError, match=name):
            Request(**{**GIVEN, name: bad})
    with pytest.raises(OptionError, match="end: empty frame range 3 to 2: end must not precede begin"):
        Request(**GIVEN, begin=3, end=2)
    assert Request(**{**GIVEN, "input": Path("in.pdb")}).input == ("in.pdb",)


def test_files_from_python(toy, given, tmp_path):
    """What the command does, with the same words in Python."""
    assert run(given, tmp_path / "command.xtc", "--samples", 2, "--one-file", "--end", 5) == 0
    outcome = backmap.reconstruct_files(
        given,
        tmp_path / "python.xtc",
        top=given.with_suffix(".pdb"),
        model="toy",
        samples=2,
        one_file=True,
        end=5,
    )
    assert outcome.outputs == [tmp_path / "python.xtc"]
    assert outcome.summary.startswith("reconstructed 5 frames x 7 residues x 2 samples in ")
    assert outcome.record["samples"] == 2 and outcome.record["skipped_frames"] == []
    assert (tmp_path / "python.xtc").read_bytes() == (tmp_path / "command.xtc").read_bytes()


def test_what_stops_a_run_in_python_says_what_is_kept(toy, given, tmp_path, monkeypatch):
    monkeypatch.setattr("backmap.runs.outputs.Outputs.finish", stop)
    with pytest.raises(KeyboardInterrupt) as stopped:
        backmap.reconstruct_files(given, tmp_path / "out.xtc", top=given.with_suffix(".pdb"), model="toy")
    assert stopped.value.__notes__ == [
        f"{tmp_path}/out.xtc.partial keeps 12 of 12 frames; continue with --resume"
    ]


def stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
