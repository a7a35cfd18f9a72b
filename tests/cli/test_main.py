"""The command line as a whole: verbs, messages and exit codes."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import backmap
from backmap import _native
from backmap.cli import info
from backmap.cli import main as command
from backmap.errors import InputError, InputWarning
from backmap.models.shipped import ShippedModel


@pytest.fixture
def verb(monkeypatch):
    """Replace the verb ``info`` by a function of the test."""

    def replace(run) -> None:
        module = SimpleNamespace(add_arguments=lambda parser: None, run=run)
        monkeypatch.setattr(command, "import_module", lambda name: module)

    return replace


def raising(error: BaseException):
    def run(arguments):
        raise error

    return run


def test_help_lists_the_verbs(capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in command.VERBS)


def test_only_the_verb_in_use_is_imported(verb, monkeypatch):
    imported = []
    verb(lambda arguments: 0)
    module = command.import_module("any")
    monkeypatch.setattr(command, "import_module", lambda name: imported.append(name) or module)
    assert command.main(["info"]) == 0
    assert imported == ["backmap.cli.info"]


@pytest.mark.parametrize("arguments", [[], ["fly"], ["info", "--fly"]])
def test_usage_errors_are_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        command.main(arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("backmap: error: ") and error.count("\n") == 1


def test_bad_input_is_one_line(verb, capsys):
    verb(raising(InputError("in.pdb: is empty")))
    assert command.main(["info"]) == 2
    assert capsys.readouterr().err == "backmap: error: in.pdb: is empty\n"


def test_interrupt(verb, capsys):
    verb(raising(KeyboardInterrupt()))
    assert command.main(["info"]) == 130
    assert capsys.readouterr().err == "backmap: interrupted\n"


def test_only_warnings_about_the_input_are_shown(verb, capsys):
    import warnings

    def run(arguments):
        warnings.warn("a chain break", InputWarning, stacklevel=1)
        warnings.warn("a library speaks", UserWarning, stacklevel=1)
        return 0

    verb(run)
    assert command.main(["info"]) == 0
    assert capsys.readouterr().err == "backmap: warning: a chain break\n"


def test_info(capsys):
    assert command.main(["info"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("python", "torch", "native", "cuda", "processors"))
    assert f"compiler {_native.build_description()['compiler']}" in text


class Driver:
    """Stands for the driver of CUDA; returns 0 where that does."""

    def __init__(self, names, status=0):
        self.names, self.status = names, status

    def cuInit(self, flags):  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGetName(self, name, length, index):  # noqa: N802
        name.value = self.names[index][: length - 1]
        return 0


@pytest.mark.parametrize(
    ("driver", "with_cuda", "expected"),
    [
        (Driver([b"NVIDIA A", b"NVIDIA B"]), True, "NVIDIA A, NVIDIA B"),
        (Driver([b"NVIDIA A"]), False, "NVIDIA A (this PyTorch was built without CUDA and does not use it)"),
        (Driver([]), True, "no device"),
        (Driver([b"NVIDIA A"], status=100), True, "no device"),
    ],
)
def test_info_names_gpus(driver, with_cuda, expected, monkeypatch, capsys):
    monkeypatch.setattr("ctypes.CDLL", lambda name: driver)
    monkeypatch.setattr("backmap.cli.info._torch_uses_cuda", lambda: with_cuda)
    assert command.main(["info"]) == 0
    assert f"cuda         {expected}\n" in capsys.readouterr().out


def test_info_knows_whether_torch_uses_cuda():
    assert info._torch_uses_cuda() == (torch.version.cuda is not None)


def test_info_without_a_library_that_fits(monkeypatch, capsys):
    monkeypatch.setattr("importlib.metadata.version", lambda package: "1.0.0")
    assert command.main(["info"]) == 0
    assert "native       missing: backmap was built with PyTorch" in capsys.readouterr().out


def test_models(monkeypatch, capsys, tmp_path):
    weights = tmp_path / "protein.safetensors"
    weights.write_bytes(b"0" * 1_500_000)
    weights.with_suffix(".md").write_text("# protein\n\nBuilds any\nprotein.\n\nMore.\n")
    monkeypatch.setattr(
        "backmap.cli.models.shipped_models", lambda: {"protein": ShippedModel("protein", weights)}
    )
    assert command.main(["models"]) == 0
    assert capsys.readouterr().out == "protein (1.5 MB, default)\n  Builds any protein.\n"
    assert command.main(["models", "protein"]) == 0
    assert "More." in capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "18")
    assert command.main(["models"]) == 0
    assert capsys.readouterr().out == "protein (1.5 MB, default)\n  Builds any\n  protein.\n"
    assert command.main(["models", "other"]) == 2
    assert "model other: not shipped; available models: protein" in capsys.readouterr().err


def test_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "backmap.cli.main", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_unknown_options_are_answered_with_what_was_meant(capsys):
    with pytest.raises(SystemExit) as refused:
        command.main(["reconstruct", "in.pdb", "-o", "out.pdb", "--smaples", "3"])
    assert refused.value.code == 2
    assert capsys.readouterr().err == (
        "backmap: error: unrecognized arguments: --smaples 3; did you mean --samples? "
        "(see `backmap reconstruct --help`)\n"
    )
    with pytest.raises(TypeError, match=r"reconstruct\(\) got .* 'smaples'; did you mean 'samples'\?"):
        backmap.reconstruct("in.pdb", smaples=3)


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        command.main(["--version"])
    assert capsys.readouterr().out == f"backmap {backmap.__version__}\n"
