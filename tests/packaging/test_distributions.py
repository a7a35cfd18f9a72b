"""A wheel that works in an environment of its own, and a source distribution that is complete."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel, built as `pip wheel` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run([*command, "-w", folder, ROOT], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr
    (found,) = folder.glob("backmap_md-*.whl")
    return found


def test_wheel_holds_what_programs_link(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = ["libbackmap.so", "libbackmap_c.so", "include/backmap.h", "_built_with.py", "py.typed"]
    wanted += ["share/cmake/backmap/backmap-config.cmake", "weights/protein.safetensors", "cli/export.py"]
    wanted += [
        f"chemistry/{name}{end}" for name in ("ramachandran", "rotamers") for end in (".npz", ".LICENSE.txt")
    ]
    assert {f"backmap/{name}" for name in wanted} <= names
    licences = {name.split("/", 1)[1] for name in names if name.split("/")[0].endswith(".dist-info")}
    assert {"licenses/LICENSE", "licenses/NOTICE.md"} <= licences
    assert not any(name.startswith(("tests", "csrc", "cmake", "shared")) for name in names)


def test_wheel_works_in_a_fresh_environment(wheel, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    packages = Path(found.stdout.strip())
    zipfile.ZipFile(wheel).extractall(packages)
    # The other packages, as they are: what a .pth file of theirs adds, an editable backmap, is not followed.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = "import backmap.ops, torch; print(backmap.__file__, torch.ops.backmap.canonical_placement)"
    for command in (["-c", code], ["-m", "backmap", "--cmake-prefix"], ["-m", "backmap", "info"]):
        said = subprocess.run([python, *command], capture_output=True, text=True, cwd=tmp_path)
        assert said.returncode == 0, said.stderr
        if "info" not in command:
            assert said.stdout.startswith(str(packages / "backmap"))


def test_source_distribution_is_complete(tmp_path):
    code = f"from scikit_build_core.build import build_sdist; print(build_sdist({str(tmp_path)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
    (archive,) = tmp_path.glob("backmap_md-*.tar.gz")
    names = {name.split("/", 1)[1] for name in tarfile.open(archive).getnames() if "/" in name}
    wanted = [
        "CMakeLists.txt",
        "pyproject.toml",
        "README.md",
        "cmake/backmap-config.cmake.in",
        "csrc/kernels/launchers.h",
    ]
    wanted += ["cmake/built_with.py.in", "csrc/capi/backmap.h", "backmap/weights/protein.safetensors"]
    wanted += [
        f"backmap/chemistry/{name}{end}"
        for name in ("ramachandran", "rotamers")
        for end in (".npz", ".LICENSE.txt")
    ]
    wanted += ["LICENSE", "NOTICE.md"]
    assert set(wanted) <= names
    assert not any(name.startswith(("shared", "build", ".venv")) for name in names)


def test_configuration_of_cibuildwheel():
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    settings = configuration["tool"]["cibuildwheel"]
    release = next(line for line in settings["before-build"] if "torch==" in line)
    assert settings["before-test"] == release
    for library in ("libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1"):
        assert f"--exclude {library}" in settings["repair-wheel-command"]
