"""A corpus of protein structures as flat arrays: read once, cached, the same for every run."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

import gemmi
import numpy as np

from backmap.chemistry import ATOM_SLOTS, HEAVY_ATOMS, RESIDUE_INDEX, SLOT_CA, SLOT_OXT
from backmap.errors import InputError
from backmap.io import FrameRange, Source, open_source
from backmap.io.naming import require_file

NM_PER_ANGSTROM = 0.1
BOND_LEARNT_FROM_NM = (0.27, 0.41)
"""C-alpha distances of sound peptide bonds, cis and trans; what lies outside is nothing to learn from."""

_CACHE_FORMAT = 2


@dataclass(frozen=True)
class Corpus:
    """All residues of one split, structure after structure.

    Attributes
    ----------
    coordinates : ndarray, (residues, 15, 3) float32
        Positions in nm in the slots of :mod:`backmap.chemistry`; meaningless where ``present`` is False.
    present : ndarray, (residues, 15) bool
        Which atoms the deposited structure holds.
    residue_types, chain_index : ndarray, (residues,) int64
        Type; chain, counted through the corpus.
    linked : ndarray, (residues,) bool
        Residue i is bonded to i + 1.
    trusted : ndarray, (residues,) bool
        Complete, occupied and of sound geometry: a residue to learn from.
    offsets : ndarray, (structures + 1,) int64
        Where each structure begins.
    weights : ndarray, (structures,) float64
        Sampling weight, one over the square root of the size of the structure's sequence cluster.
    data_hash : str
        SHA-256 of the manifest, the masks and every structure file of the split.
    """

    coordinates: np.ndarray
    present: np.ndarray
    residue_types: np.ndarray
    chain_index: np.ndarray
    linked: np.ndarray
    trusted: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray
    data_hash: str

    @property
    def n_structures(self) -> int:
        """Number of structures."""
        return len(self.offsets) - 1


def load_corpus(folder: str | Path, split: str, cache: str | Path | None = None) -> Corpus:
    """Read one split of a structure corpus, from a cache when it is still true to the files.

    Parameters
    ----------
    folder : path
        Holds ``manifest.csv``, ``masks.jsonl.gz`` and a folder of ``*.pdb.gz`` for each split.
    split : str
        ``train``, ``validation`` or ``test-dev``.
    cache : path, optional
        Folder for the cached arrays, by default ``~/.cache/backmap``.

    Raises
    ------
    InputError
        If the folder is not such a corpus or a file disagrees with its mask.
    """
    folder = Path(folder)
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise InputError(f"{folder} is not a structure corpus: it contains no manifest.csv")
    with _explained(manifest), open(manifest, newline="") as file:
        rows = [
            {name: row[name] for name in ("id", "split", "cluster")}
            for row in csv.DictReader(file)
            if row["split"] == split
        ]
    if not rows:
        raise InputError(f"{manifest} names no structure of split {split!r}")
    data_hash = _hash_files(folder, split, rows)
    cache_folder = Path(cache) if cache else Path.home() / ".cache" / "backmap"
    path = cache_folder / f"corpus-{split}-{data_hash[:16]}-{_CACHE_FORMAT}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as arrays:
            return Corpus(data_hash=data_hash, **{name: arrays[name] for name in arrays.files})
    corpus = _read_corpus(folder, split, rows, data_hash)
    cache_folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.npz")
    np.savez(temporary, **{f.name: getattr(corpus, f.name) for f in fields(corpus) if f.name != "data_hash"})
    temporary.replace(path)
    return corpus


def corpora_of_trajectory(
    trajectory: str | Path, topology: str | Path | None = None, stride: int = 1, train_share: float = 0.8
) -> tuple[Corpus, Corpus]:
    """Make frames of an all-atom trajectory into structures: the first for training, the others held out.

    Parameters
    ----------
    trajectory : path
        With all heavy atoms of a protein.
    topology : path, optional
        Of a trajectory file that contains only coordinates.
    stride : int
        Take every ``stride``-th frame.
    train_share : float
        Share of the frames, from the start, that is for training; frames that follow each other are alike, so
        the two parts are whole stretches.

    Raises
    ------
    InputError
        If the file cannot be used, there are fewer than two frames, or one of the parts would be empty.
    """
    source = open_source(trajectory, topology, frames=FrameRange(stride=stride))
    source.require_atoms()
    sites = np.concatenate([chunk.coordinates for chunk in source.chunks(1000)]).astype(np.float32)
    frames = source.sites.in_slots(sites)
    first_held_out = round(train_share * len(frames))
    if not 0 < first_held_out < len(frames):
        raise InputError(
            f"{trajectory}: {len(frames)} frames cannot be parted with train_share {train_share}"
        )
    digest = hashlib.sha256()
    for path in source.files:
        digest.update(path.read_bytes())
    shown, kept = frames[:first_held_out], frames[first_held_out:]
    data_hash = digest.hexdigest()
    return _corpus_of_frames(source, shown, data_hash), _corpus_of_frames(source, kept, data_hash)


def _corpus_of_frames(source: Source, frames: np.ndarray, data_hash: str) -> Corpus:
    """Structures of frames (frames, residues, 15, 3) of one protein."""
    count, residues = frames.shape[:2]
    topology, inside = source.topology, slice(0, SLOT_OXT)
    present = source.sites.present
    complete = (present | ~topology.atom_mask)[:, inside].all(axis=1)
    chains = int(topology.chain_index.max()) + 1
    return Corpus(
        coordinates=frames.reshape(-1, ATOM_SLOTS, 3),
        present=np.tile(present, (count, 1)),
        residue_types=np.tile(topology.residue_types, count),
        chain_index=(np.arange(count)[:, None] * chains + topology.chain_index).ravel(),
        linked=np.tile(source.linked & ~topology.chain_ends, count),  # rings count as open
        trusted=np.tile(complete, count),
        offsets=np.arange(count + 1) * residues,
        weights=np.ones(count),
        data_hash=data_hash,
    )


def _hash_files(folder: Path, split: str, rows: list[dict[str, str]]) -> str:
    digest = hashlib.sha256()
    names = ["manifest.csv", "masks.jsonl.gz", *(f"{split}/{row['id']}.pdb.gz" for row in rows)]
    for name in names:
        digest.update(name.encode())
        digest.update(require_file(folder / name).read_bytes())
    return digest.hexdigest()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say of a file of a corpus that it is not what it should be, whatever shows it."""
    try:
        yield
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: cannot be used in a structure corpus ({error!r})") from None
    except (OSError, EOFError, ValueError, RuntimeError, csv.Error, zlib.error) as error:
        raise InputError(f"{path}: cannot be used in a structure corpus ({error})") from None


def _read_corpus(folder: Path, split: str, rows: list[dict[str, str]], data_hash: str) -> Corpus:
    masks_path = folder / "masks.jsonl.gz"
    with _explained(masks_path), gzip.open(masks_path, "rt") as file:
        masks = {entry["id"]: _Mask.of(entry) for entry in map(json.loads, file)}
    missing = next((row["id"] for row in rows if row["id"] not in masks), None)
    if missing is not None:
        raise InputError(f"{masks_path}: has no mask of {missing}, which manifest.csv names")
    cluster_size: dict[str, int] = {}
    for row in rows:
        cluster_size[row["cluster"]] = cluster_size.get(row["cluster"], 0) + 1

    with ThreadPoolExecutor() as pool:
        paths = [folder / split / f"{row['id']}.pdb.gz" for row in rows]
        structures = list(pool.map(_read_structure, paths, [masks[row["id"]] for row in rows]))

    chains_before = np.cumsum([0, *(structure["chains"] for structure in structures)])
    lengths = [len(structure["residue_types"]) for structure in structures]

    def concatenate(name: str) -> np.ndarray:
        return np.concatenate([structure[name] for structure in structures])

    return Corpus(
        coordinates=concatenate("coordinates"),
        present=concatenate("present"),
        residue_types=concatenate("residue_types"),
        chain_index=concatenate("chain_index") + np.repeat(chains_before[:-1], lengths),
        linked=concatenate("linked"),
        trusted=concatenate("trusted"),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        weights=np.array([cluster_size[row["cluster"]] ** -0.5 for row in rows]),
        data_hash=data_hash,
    )


@dataclass(frozen=True)
class _Mask:
    """Residues of each chain of a structure, and which of all are trusted."""

    lengths: list[int]
    trusted: np.ndarray

    @classmethod
    def of(cls, entry: dict) -> _Mask:
        """Take a line of the file of masks."""
        chains = [(len(chain["seq"]), chain["mask"]) for chain in entry["chains"]]
        if any(len(mask) != length for length, mask in chains):
            raise ValueError(f"sequence and mask of {entry['id']} differ in length")
        flags = [flag == "1" for _, mask in chains for flag in mask]
        return cls([length for length, _ in chains], np.array(flags, dtype=bool))


def _read_structure(path: Path, mask: _Mask) -> dict:
    with _explained(path):
        return _parse_structure(path, mask)


def _parse_structure(path: Path, mask: _Mask) -> dict:
    model = gemmi.read_structure(str(path))[0]
    residues = sum(mask.lengths)
    coordinates = np.zeros((residues, ATOM_SLOTS, 3), dtype=np.float32)
    present = np.zeros((residues, ATOM_SLOTS), dtype=bool)
    types = np.zeros(residues, dtype=np.int64)
    read = [residue for chain in model for residue in chain]
    if len(read) != residues:
        raise ValueError(f"it holds {len(read)} residues but its mask {residues}")
    for row, residue in enumerate(read):
        types[row] = RESIDUE_INDEX[residue.name]
        slots = {name: slot for slot, name in enumerate(HEAVY_ATOMS[residue.name])} | {"OXT": SLOT_OXT}
        for atom in residue:
            slot = slots[atom.name]
            coordinates[row, slot] = atom.pos.tolist()
            present[row, slot] = True
    coordinates *= NM_PER_ANGSTROM
    chain_index = np.repeat(np.arange(len(mask.lengths)), mask.lengths)
    return {
        "coordinates": coordinates,
        "present": present,
        "residue_types": types,
        "chain_index": chain_index,
        "chains": len(mask.lengths),
        "linked": _linked(coordinates[:, SLOT_CA], chain_index),
        "trusted": mask.trusted,
    }


def _linked(c_alpha: np.ndarray, chain_index: np.ndarray) -> np.ndarray:
    distance = np.linalg.norm(c_alpha[1:] - c_alpha[:-1], axis=-1)
    near = (distance > BOND_LEARNT_FROM_NM[0]) & (distance < BOND_LEARNT_FROM_NM[1])
    return np.append(near & (chain_index[1:] == chain_index[:-1]), False)
