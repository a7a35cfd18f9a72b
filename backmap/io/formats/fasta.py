"""FASTA files: the sequence of a file that does not identify its residues."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backmap.chemistry.residues import THREE_LETTERS
from backmap.errors import InputError

from ..naming import require_file
from .text_file import held, open_text


@dataclass(frozen=True)
class FastaFile:
    """The sequences of a file.

    Parameters
    ----------
    path : Path
        The file.
    records : tuple of str
        One-letter sequences of the chains, in order.
    """

    path: Path
    records: tuple[str, ...]

    @classmethod
    def read(cls, path: str | Path) -> FastaFile:
        """Read a file, plain or gzipped.

        Raises
        ------
        InputError
            If it contains no sequence, or a letter that does not stand for one of the twenty amino acids.
        """
        path = require_file(path)
        with open_text(path, "FASTA", "utf-8-sig") as found:
            lines = list(held(found, path))
        records: list[str] = []
        for line in lines:
            if line.startswith((">", ";")):
                records.append("")
            elif line.strip():
                records[-1:] = [(records[-1] if records else "") + "".join(line.split()).upper()]
        records = [record.rstrip("*") for record in records if record.rstrip("*")]
        if not records:
            raise InputError(
                f"{path}: contains no sequence; give one in FASTA format, with one record per chain"
            )
        for number, record in enumerate(records, 1):
            for place, letter in enumerate(record, 1):
                if letter not in THREE_LETTERS:
                    raise InputError(
                        f"{path}: letter {place} of record {number} is {letter}, not one of the twenty amino "
                        "acids; give the letter of the amino acid to build"
                    )
        return cls(path, tuple(records))
