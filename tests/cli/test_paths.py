"""Names that outputs cannot have, places that cannot be written, and standard streams that are gone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from backmap.errors import InputError
from backmap.io import Journal
from backmap.io.durable.growing_file import is_part_of_output
from backmap.io.durable.staging import LONGEST_ENDING, require_free
from backmap.io.naming import manifest_path, unfinished_path
from tests import toy_protein
from tests.cli.test_long_runs import run

PROGRAM = [sys.executable, "-m", "backmap"]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    (path.parent / "target").write_text("precious")
    path.symlink_to(path.parent / "target")


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=["plain", "overwrite"])
@pytest.mark.parametrize("name", ["out.xtc", "out.pdb", "out.xtc.backmap.json"])
@pytest.mark.parametrize(
    "make, message",
    [
        (make_pipe, "is a device or a pipe, which cannot be replaced; give another name"),
        (make_device, "is a device or a pipe, which cannot be replaced; give another name"),
        (make_link, "is a symbolic link; give the name of the file it points to"),
        (make_dangling_link, "is a symbolic link; give the name of the file it points to"),
    ],
)
def test_only_plain_files_are_replaced(
    toy, given, tmp_path, capsys, make: Callable[[Path], None], message, name, options
):
    make(tmp_path / name)
    before = sorted((path.name, path.lstat().st_mode) for path in tmp_path.iterdir())
    assert run(given, tmp_path / "out.xtc", *options) == 2
    assert f"{tmp_path / name}: {message}" in capsys.readouterr().err
    assert sorted((path.name, path.lstat().st_mode) for path in tmp_path.iterdir()) == before
    assert not (tmp_path / "target").exists() or (tmp_path / "target").read_text() == "precious"


def test_long_names_are_refused_before_anything_is_built(toy, given, tmp_path, capsys):
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    for length in (longest - 30, longest, longest + 1, 5000):
        assert run(given, tmp_path / ("x" * (length - 4) + ".xtc")) == 2
        assert "name is too long; give" in capsys.readouterr().err
    assert not toy.calls
    name = "x" * (longest - LONGEST_ENDING - len(".xtc.backmap.json"))
    assert run(given, tmp_path / f"{name}.xtc") == 0


def test_room_is_left_for_every_ending():
    endings = [f".from-{2**63}.growing.alone", ".piece.netcdf", *(make(Path("x")).name[1:] for make in
               (manifest_path, unfinished_path))]  # fmt: skip
    assert max(map(len, endings)) <= LONGEST_ENDING
    assert is_part_of_output(f"x{endings[0]}", ["x"]) and is_part_of_output(f"x{endings[1]}", ["x"])


def test_folders_that_may_not_be_searched(tmp_path):
    if os.geteuid():
        pytest.skip("only root can become a user without permission")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        for path in (closed / "out.xtc", closed / "deeper" / "out.xtc"):
            with pytest.raises(InputError, match="there is no permission to write there; write elsewhere"):
                require_free(path)
            with pytest.raises(InputError, match="there is no permission to write there; write elsewhere"):
                Journal(unfinished_path(path), {})
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("log", ["out.xtc", "in/ca.xtc", "out.pdb", "out.xtc.backmap.json"])
def test_a_log_is_no_input_or_output(toy, given, tmp_path, capsys, log):
    before = given.read_bytes()
    assert run(given, tmp_path / "out.xtc", "--log", tmp_path / log) == 2
    assert (
        f"{log}: is an input or output of this run; choose another name for the log"
        in capsys.readouterr().err
    )
    assert given.read_bytes() == before and not list(tmp_path.glob("out*"))


def test_logs_that_take_nothing(toy, given, tmp_path, capsys):
    assert run(given, tmp_path / "out.xtc", "--log", "/dev/full") == 2
    assert "/dev/full: the log cannot be written: No space left" in capsys.readouterr().err
    os.mkfifo(tmp_path / "pipe")
    assert run(given, tmp_path / "out.xtc", "--log", tmp_path / "pipe") == 2
    assert "pipe: the log cannot be written: No such device" in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))
    assert run(given, tmp_path / "out.xtc", "--log", "/dev/null") == 0


def shell(command: str, *arguments: object, **how: object) -> subprocess.CompletedProcess:
    line = command.replace("BACKMAP", "".join(f'"{part}" ' for part in (*PROGRAM, *arguments)))
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, **how)


@pytest.mark.parametrize(
    "redirection, code",
    [
        (">&-", 0),
        ("2>&-", 0),
        (">&- 2>&- <&-", 0),
        ("> /dev/full", 2),
        ("| true; exit ${PIPESTATUS[0]}", 141),
        ("--help | true; exit ${PIPESTATUS[0]}", 141),
        ("2>&1 > /dev/full | true; exit ${PIPESTATUS[0]}", 2),
    ],
)
def test_standard_streams_that_are_gone(redirection, code):
    done = shell(f"BACKMAP {redirection}", "models")
    assert done.returncode == code and "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert ("standard output: cannot be written" in done.stderr) == (redirection == "> /dev/full")


@pytest.mark.parametrize("redirection", [">&- 2>&- <&-", "2> /dev/full", "2>&1 | true"])
def test_a_run_goes_on_without_its_streams(tmp_path, toy, given, redirection):
    """Nothing that is printed ends up in the output, whose descriptor it may have."""
    script = tmp_path / "run.py"
    script.write_text("import sys\nfrom tests.toy_protein import main\nsys.exit(main(sys.argv[1:]))\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(toy_protein.__file__).parents[1])}
    arguments = [tmp_path / "toy.safetensors", "reconstruct", given, "--top", given.with_suffix(".pdb")]
    command = [sys.executable, script, *arguments, "-o", tmp_path / "out.pdb"]
    line = " ".join(f'"{part}"' for part in command)
    done = subprocess.run(
        ["bash", "-c", f"{line} {redirection}; exit ${{PIPESTATUS[0]}}"], env=environment, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert run(given, tmp_path / "whole.pdb") == 0
    assert (tmp_path / "out.pdb").read_bytes() == (tmp_path / "whole.pdb").read_bytes()
