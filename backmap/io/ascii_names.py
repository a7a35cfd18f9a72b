"""Names of files for libraries that take no other letters than ASCII."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ascii_name(path: Path) -> Iterator[str]:
    """Give a name of a file in ASCII: its own, or that of a link to it, which need not exist yet.

    mdtraj's XTC, TRR and DCD know no other names, not even of the folders that a file is in.
    """
    path = path.absolute()
    if str(path).isascii():
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="backmap-") as folder:
        link = Path(folder) / f"link{''.join(part for part in path.suffixes[-2:] if part.isascii())}"
        link.symlink_to(path)
        yield str(link)
