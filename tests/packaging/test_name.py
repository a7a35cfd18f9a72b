"""The package is `backmap`, but the distribution is not: another project has that name."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import backmap
from backmap import _distribution

ROOT = Path(__file__).parents[2]


def pretend_installed(folder: Path, name: str, version: str = "0.1.7") -> Path:
    """Leave what pip leaves of a distribution."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return folder


def test_one_name_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == backmap.DISTRIBUTION
    assert backmap.__version__ == importlib.metadata.version(backmap.DISTRIBUTION) == project["version"]


def test_one_version_everywhere():
    assert f"\nversion: {backmap.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {backmap.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("name", ["backmap", "Backmap", "BACKMAP"])
def test_the_other_project_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(pretend_installed(tmp_path, name))
    with pytest.raises(
        ImportError, match=r"`backmap` 0\.1\.7 is installed.*`pip uninstall backmap`"
    ) as refused:
        _distribution.refuse_other()
    assert "\n" not in str(refused.value)
    assert f"pip install --force-reinstall --no-deps {backmap.DISTRIBUTION}" in str(refused.value)


@pytest.mark.parametrize("name", ["backmap_md", "backmap_plugin", "my_backmap", "backmaps"])
def test_other_names_are_let_be(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(pretend_installed(tmp_path, name))
    _distribution.refuse_other()


def test_import_says_so_in_one_sentence(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(pretend_installed(tmp_path, "backmap"))}
    code = "import backmap"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "ImportError: the distribution `backmap` 0.1.7 is installed"
    )


def texts() -> list[Path]:
    """What a user reads: pages, examples, and the messages in the code."""
    listed = [*ROOT.glob("*.md"), ROOT / "pyproject.toml"]
    for folder, suffixes in (("docs", "md"), ("examples", "md py sh"), ("backmap", "py md")):
        listed += [path for suffix in suffixes.split() for path in (ROOT / folder).rglob(f"*.{suffix}")]
    return sorted(listed)


def test_nobody_is_told_to_install_the_other_project():
    wrong = re.compile(r"pip install [^`\n]*(?<![\w/.-])backmap(?![\w-]|\.DISTRIBUTION)")
    told = [
        f"{path.relative_to(ROOT)}: {line}" for path in texts() for line in wrong.findall(path.read_text())
    ]
    assert not told
