"""The commands and programs of the tutorials work as they stand, on the files of the examples."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from backmap.cli.main import main

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(shell|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
"""What is run. Blocks of other languages compile, which tests/capi does, or need files of the reader."""

NEEDS = {"--hydrogens": "openmm", "openmm_live": "openmm", "run.dcd": "openmm", "--kinetics": "deeptime"}
"""Words of a block, and the optional package that it needs."""

PAGES = [
    *sorted((ROOT / "docs/tutorials").glob("*.md")),
    ROOT / "docs/quick_start.md",
    ROOT / "docs/corpus.md",
]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of each block that is run."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def run_command(line: str) -> None:
    """Run a line of a shell; what is Python runs in this process, which has imported everything."""
    words = shlex.split(line)
    if words[0] == "backmap":
        assert main([*words[1:], "--quiet"] if words[1] in ("reconstruct", "export") else words[1:]) == 0, (
            line
        )
    elif words[0] == "python":
        sys.argv[:] = words[1:]
        try:
            runpy.run_path(words[1], run_name="__main__")
        except SystemExit as end:
            assert not end.code, line
    else:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PATH": path})
        assert done.returncode == 0, done.stderr


def lines_of(script: str) -> list[str]:
    """The commands of a script, continued lines joined."""
    return [line for line in script.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
@pytest.mark.filterwarnings("ignore")
def test_blocks_run_one_after_another(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    names: dict[str, object] = {}
    for language, text in blocks(page):
        if any(word in text and find_spec(package) is None for word, package in NEEDS.items()):
            continue
        if language == "python":
            exec(compile(text, str(page), "exec"), names)
        for line in lines_of(text) if language == "shell" else []:
            run_command(line)


def test_every_tutorial_shows_something_that_runs():
    for page in PAGES:
        assert blocks(page), page
