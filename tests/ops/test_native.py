import subprocess
import sys

import backmap
from backmap import _native


def test_import_without_the_library_says_what_to_do():
    code = "import sys; sys.modules['backmap._core'] = None; import backmap"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode != 0
    assert last.startswith("ImportError: backmap's native library")
    assert "pip install --no-build-isolation ." in last


def test_build_description():
    description = _native.build_description()
    assert description["version"] == backmap.__version__
    assert description["compiler"] and description["torch"]
    assert _native.library_path().is_file()
