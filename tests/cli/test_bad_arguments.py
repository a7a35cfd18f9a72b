"""Bad values of every option of every verb: one sentence, exit code 2, and nothing is written."""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from backmap.cli.main import VERBS, build_parser, main
from backmap.evaluation.kinetics_options import KineticsOptions
from backmap.limits import Real, Several, Whole
from backmap.options import options_of
from backmap.runs.request import Request
from tests.fuzzing import tries

LIMITS = {
    name: known.values.kind if isinstance(known.values, Several) else known.values
    for kind in (Request, KineticsOptions)
    for name, known in options_of(kind).items()
}
NUMBERS = {name: values for name, values in LIMITS.items() if isinstance(values, Whole | Real)}
NO_NUMBERS = ("nan", "-3", "x", "0x10", "1e999", "-inf", "9" * 5000, "1_0", "٣", "1,5", "\udcff", " 1 2")
BAD_NAMES = ("", "\0", "a\0b", "missing/\udcff.pdb", "x" * 300, "/", "missing.pdb", "-", "\n")


def options_of(verb: str) -> list[argparse.Action]:
    (subparsers,) = (
        action for action in build_parser(verb)._actions if isinstance(action, argparse._SubParsersAction)
    )
    return [action for action in subparsers.choices[verb]._actions if "--help" not in action.option_strings]


def base_of(verb: str, folder: Path) -> list[str]:
    """A command without the option in question, which would end soon."""
    given, output = str(folder / "given.pdb"), str(folder / "written.pdb")
    return {
        "reconstruct": ["reconstruct", given, "-o", output],
        "evaluate": ["evaluate", given, "--reference", given, "--kinetics", "--json", output],
        "train": ["train", "temporal", given, "-o", str(folder / "written")],
        "export": ["export", given, "-o", output],
    }.get(verb, [verb])


def cases() -> Iterator[tuple[str, argparse.Action]]:
    for verb in VERBS:
        for action in options_of(verb):
            yield verb, action


def is_number(action: argparse.Action) -> bool:
    return bool(action.option_strings) and action.dest in NUMBERS


def refused(command: list[str], capsys) -> str:
    """What is said of a command that must end with exit code 2."""
    try:
        code = main(command)
    except SystemExit as end:
        code = end.code
    error = capsys.readouterr().err
    assert code == 2, error
    assert error.startswith("backmap: error: ") and error.count("\n") == 1, error[:500]
    return error


NUMBER_OPTIONS = [case for case in cases() if is_number(case[1])]
NAME_OPTIONS = [
    case for case in cases() if not is_number(case[1]) and case[1].nargs != 0 and not case[1].choices
]


def named(case: tuple[str, argparse.Action]) -> str:
    return f"{case[0]} {'/'.join(case[1].option_strings) or case[1].dest}"


def test_numbers_have_limits():
    """An option that takes a number reads it by the limits of its name."""
    for verb, action in cases():
        assert action.type not in (int, float), f"{verb} {action.option_strings} has no limits"
    assert len(NUMBER_OPTIONS) > 20 and len(NAME_OPTIONS) > 15


@pytest.mark.parametrize("case", NUMBER_OPTIONS, ids=named)
def test_bad_numbers(case, tmp_path, capsys):
    verb, action = case
    limit, option = NUMBERS[action.dest], action.option_strings[-1]
    outside = [f"{limit.highest * 2:.0f}", f"{limit.lowest - 1:.0f}", "100000000000000000000000"]
    for value in (*NO_NUMBERS, *outside):
        error = refused([*base_of(verb, tmp_path), f"{option}={value}"], capsys)
        assert option in error and "number from" in error and len(error) < 400
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", NAME_OPTIONS, ids=named)
def test_bad_names(case, tmp_path, capsys, monkeypatch):
    """The input is missing in the end, so that good names are refused too."""
    monkeypatch.chdir(tmp_path)
    verb, action = case
    for value in BAD_NAMES:
        if action.option_strings:
            command = [*base_of(verb, tmp_path), f"{action.option_strings[-1]}={value}"]
        else:
            command = [verb, *([value] if verb != "train" else ["temporal", value])]
            command += [] if verb == "models" else ["-o", "written.pdb"] if verb != "evaluate" else []
        assert len(refused(command, capsys)) < 1200
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fuzz
def test_fuzzed_command_lines(tmp_path, capsys, monkeypatch):
    """Any mixture of options and values, none of which names a file that is there."""
    monkeypatch.chdir(tmp_path)
    every = [(verb, action) for verb, action in cases() if verb not in ("models", "info", "beads")]
    for seed in tries(100):
        generator = random.Random(seed)
        verb = generator.choice([verb for verb, _ in every])
        command = base_of(verb, tmp_path)
        for action in generator.sample([action for owner, action in every if owner == verb], 3):
            option = action.option_strings[-1:]
            value = generator.choice((*NO_NUMBERS, *BAD_NAMES, "1", "auto", "0", "7.0"))
            command += option if action.nargs == 0 else [*option, value]
        refused(command, capsys)
        assert list(tmp_path.iterdir()) == [], (seed, command)
