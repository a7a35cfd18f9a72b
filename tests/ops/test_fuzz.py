import os
import subprocess
import sys
from pathlib import Path


def test_bad_calls_raise_and_never_crash():
    """In a process of its own, so that a crash fails this test alone, with the call that caused it."""
    folder = Path(__file__).parent
    result = subprocess.run(
        [sys.executable, "-X", "faulthandler", folder / "fuzz.py"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    last = "\n".join(result.stdout.splitlines()[-3:])
    assert result.returncode == 0, f"exit code {result.returncode} after\n{last}\n{result.stderr[-5000:]}"
