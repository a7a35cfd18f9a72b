"""The reading process: it reads files with mdtraj and gsd for its parent, which asks on standard input.

It runs as a script that does not import backmap: see :mod:`backmap.io.formats.reading_process`.
"""

from __future__ import annotations

import gc
import os
import pickle
from typing import Any, BinaryIO

Answer = tuple[str, Any]

_OBJECTS_PER_COLLECTION = 100_000
"""Imports create many objects without reference cycles, which frequent garbage collections would traverse."""


class Files:
    """The actions that can be requested; files stay open, by number."""

    def __init__(self) -> None:
        self._files: dict[int, Any] = {}
        self._opened = 0

    def open(self, path: str, offsets: Any) -> int:
        """Open a trajectory and return its number."""
        import mdtraj

        file = mdtraj.open(path)
        if offsets is not None:
            file.offsets = offsets
        return self._numbered(file)

    def open_gsd(self, path: str) -> int:
        """Open a GSD file and return its number."""
        import gsd.hoomd

        return self._numbered(gsd.hoomd.open(path, "r"))

    def extent(self, number: int) -> tuple[int, int]:
        """Return the number of atoms in a frame and the number of frames."""
        file = self._files[number]
        file.seek(0)
        first = file.read(n_frames=1)
        return (first[0].shape[1] if len(first) and len(first[0]) else 0), len(file)

    def topology(self, number: int) -> Any:
        """Return the topology of an HDF5 file."""
        return self._files[number].topology

    def read(self, number: int, first: int, count: int) -> tuple[Any, ...]:
        """Read some frames."""
        import numpy as np

        file = self._files[number]
        if file.tell() != first:
            file.seek(first)
        data = file.read(n_frames=count)[:4]
        return tuple(None if part is None else np.array(part) for part in data)

    def snapshots(self, number: int) -> int:
        """Return the number of frames in a GSD file."""
        return len(self._files[number])

    def snapshot(self, number: int, frame: int) -> dict[str, Any]:
        """Read a frame of a GSD file."""
        found = self._files[number][frame]
        particles, configuration = found.particles, found.configuration
        return {
            "types": list(particles.types),
            "typeid": particles.typeid,
            "positions": particles.position,
            "bonds": found.bonds.group,
            "box": configuration.box,
            "step": int(configuration.step or 0),
        }

    def load(self, path: str, topology: Any) -> tuple[Any, ...]:
        """Read a whole file."""
        import mdtraj

        read = mdtraj.load(path) if topology is None else mdtraj.load(path, top=topology)
        return read.xyz, read.topology, read.time, read.unitcell_lengths, read.unitcell_angles

    def load_topology(self, path: str) -> Any:
        """Read a topology."""
        import mdtraj

        return mdtraj.load_topology(path)

    def close(self, numbers: list[int]) -> None:
        """Close files."""
        for number in numbers:
            self._files.pop(number).close()

    def _numbered(self, file: Any) -> int:
        self._opened += 1
        self._files[self._opened] = file
        return self._opened


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer questions until the parent ends."""
    files = Files()
    while True:
        try:
            unneeded, action, *details = pickle.load(questions)
        except EOFError:
            return
        pickle.dump(answer(files, unneeded, action, details), answers, protocol=5)
        answers.flush()


def answer(files: Files, unneeded: list[int], action: str, details: list[Any]) -> Answer:
    """Close unneeded files and do what was asked; report any exception that the library raises."""
    try:
        files.close(unneeded)
        return "done", None if action == "close_unneeded" else getattr(files, action)(*details)
    except ImportError as error:
        return "missing", error.name
    except Exception as error:
        return "failed", str(error) or type(error).__name__


def main() -> None:
    """Keep the pipes to the parent for questions and answers, and discard what libraries print."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    gc.set_threshold(_OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])
    serve(questions, answers)
    gc.freeze()  # or the interpreter would look through all objects of the libraries again before it ends


if __name__ == "__main__":
    main()
