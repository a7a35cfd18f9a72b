"""File names for libraries that accept only ASCII."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ascii_name(path: Path) -> Iterator[str]:
    """Yield an ASCII name of a file, which need not exist yet: its own, or that of a link to it.

    mdtraj's XTC, TRR and DCD readers and writers accept no other paths, folders included.
    """
    path = path.absolute()
    if str(path).isascii():
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="backmap-") as folder:
        link = Path(folder) / f"link{''.join(part for part in path.suffixes[-2:] if part.isascii())}"
        link.symlink_to(path)
        yield str(link)
