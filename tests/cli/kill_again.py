"""Start ``backmap reconstruct --resume`` again and again, killing it at random moments, until it is through.

A script of its own that builds nothing itself: every run is a fork of it, which costs no start of Python.
Arguments: folder of the tests, number of kills, ``temporal`` or ``protein``, file in the place of the model,
arguments of the command.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path


def start(arguments: list[str]) -> int:
    """Run the command in a process of its own and give its number."""
    child = os.fork()
    if not child:
        os._exit(toy.main(arguments))
    return child


def look_at(folder: Path) -> list[tuple[str, int]]:
    """Give the files of a folder with the moments they were changed."""
    found = []
    for path in folder.glob("*"):
        try:
            found.append((path.name, path.stat().st_mtime_ns))
        except FileNotFoundError:  # renamed meanwhile
            continue
    return sorted(found)


def kill_in_the_middle(arguments: list[str], generator: random.Random) -> bool:
    """Kill a run some time after it has begun to write; say whether it was still going."""
    unfinished = Path(arguments[arguments.index("-o") + 1] + ".partial")
    before = look_at(unfinished)
    child = start(arguments)
    until = time.monotonic() + 20
    while look_at(unfinished) == before and time.monotonic() < until:
        time.sleep(0.001)
    time.sleep(generator.uniform(0, 0.15))
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    import mdtraj  # noqa: F401

    import backmap.runs.pipeline  # noqa: F401
    import backmap.runs.temporal_frames  # noqa: F401
    from backmap.inference import temporal as along_time
    from tests import toy_protein, toy_temporal

    toy = {"temporal": toy_temporal, "protein": toy_protein}[sys.argv[3]]
    along_time.POSITIONS_PER_CHUNK = 22 * 16
    generator = random.Random(0)
    kills = sum(kill_in_the_middle(sys.argv[4:], generator) for _ in range(int(sys.argv[2])))
    code = os.waitstatus_to_exitcode(os.waitpid(start(sys.argv[4:]), 0)[1])
    print(kills)
    sys.exit(code)
