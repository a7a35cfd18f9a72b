"""Frames of all-atom trajectories as structures to learn from, on their own or among those of a corpus."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from backmap.chemistry import ATOM_SLOTS, SLOT_OXT
from backmap.datasets.corpus import Corpus
from backmap.errors import InputError
from backmap.io import FrameRange, Source, describe_file, open_source

_FRAMES_AT_A_TIME = 1000


def corpora_of_trajectories(
    trajectories: Sequence[str | Path],
    topologies: Sequence[str | Path] = (),
    *,
    held_out: Sequence[str | Path] = (),
    stride: int = 1,
    most_frames: int = 2000,
    train_share: float = 0.8,
    gap_share: float = 0.05,
) -> tuple[Corpus, Corpus]:
    """Make frames of trajectories into structures: some for training, others held out.

    Parameters
    ----------
    trajectories : sequence of path
        With all heavy atoms of a protein; hydrogens and other molecules are left out.
    topologies : sequence of path, optional
        One for all trajectories or one for each, where these contain only coordinates.
    held_out : sequence of path, optional
        Those of the trajectories that are held out. By default, the last frames of each are.
    stride : int
        Take every ``stride``-th frame.
    most_frames : int
        Of a trajectory that is longer, take only every second, third ... of these frames.
    train_share : float
        Share of the frames of each trajectory, from the start, that is for training, where ``held_out`` is
        empty.
    gap_share : float
        Share of the frames after those that is left out. Frames that follow each other are alike: without a
        gap, the first frames held out would hardly differ from the last ones for training.

    Returns
    -------
    tuple of Corpus
        Structures for training, and structures held out.

    Raises
    ------
    InputError
        If a file cannot be used or lacks atoms, or there are too few frames for both parts.
    """
    if len(topologies) not in (0, 1, len(trajectories)):
        raise InputError(
            f"{len(topologies)} topologies for {len(trajectories)} trajectories: give one for all, or one "
            "for each"
        )
    if unknown := [str(path) for path in held_out if path not in trajectories]:
        raise InputError(f"{unknown[0]}: is listed as held out, but is not one of the trajectories")
    if held_out and set(held_out) == set(trajectories):
        raise InputError("all trajectories are held out: leave one to learn from")
    digest = hashlib.sha256()
    shown: list[Corpus] = []
    kept: list[Corpus] = []
    for number, trajectory in enumerate(trajectories):
        topology = None if not topologies else topologies[number if len(topologies) > 1 else 0]
        source = _open(trajectory, topology, stride, most_frames)
        sites = [chunk.coordinates for chunk in source.chunks(_FRAMES_AT_A_TIME)]
        frames = source.sites.in_slots(np.concatenate(sites).astype(np.float32))
        for path in source.files:
            digest.update(describe_file(path)["sha256"].encode())
        if held_out:
            (kept if trajectory in held_out else shown).append(_corpus_of_frames(source, frames))
            continue
        first, last = _parts(trajectory, len(frames), train_share, gap_share)
        shown.append(_corpus_of_frames(source, frames[:first]))
        kept.append(_corpus_of_frames(source, frames[last:]))
    data_hash = digest.hexdigest()
    return join_corpora(shown, data_hash), join_corpora(kept, data_hash)


def mix_corpora(frames: Corpus, structures: Corpus, structure_share: float) -> Corpus:
    """Put frames among the structures of a corpus.

    Parameters
    ----------
    frames, structures : Corpus
        What to mix.
    structure_share : float
        Share of the residues of a draw that belong to ``structures``, on average, while few of either part
        are drawn; 0 < ``structure_share`` < 1.
    """
    parts = [
        _with_residue_share(frames, 1.0 - structure_share),
        _with_residue_share(structures, structure_share),
    ]
    both = f"{frames.data_hash} {structures.data_hash}"
    return join_corpora(parts, hashlib.sha256(both.encode()).hexdigest())


def join_corpora(parts: Sequence[Corpus], data_hash: str) -> Corpus:
    """Join corpora one after another, with their weights; ``data_hash`` is that of all files."""
    chains = np.cumsum([0, *(int(part.chain_index.max()) + 1 for part in parts)])
    residues = np.cumsum([0, *(len(part.residue_types) for part in parts)])
    return Corpus(
        coordinates=np.concatenate([part.coordinates for part in parts]),
        present=np.concatenate([part.present for part in parts]),
        residue_types=np.concatenate([part.residue_types for part in parts]),
        chain_index=np.concatenate([part.chain_index + n for part, n in zip(parts, chains, strict=False)]),
        linked=np.concatenate([part.linked for part in parts]),
        trusted=np.concatenate([part.trusted for part in parts]),
        offsets=np.concatenate(
            [[0], *(part.offsets[1:] + n for part, n in zip(parts, residues, strict=False))]
        ).astype(np.int64),
        weights=np.concatenate([part.weights for part in parts]),
        data_hash=data_hash,
    )


def _open(trajectory: str | Path, topology: str | Path | None, stride: int, most_frames: int) -> Source:
    """Open a trajectory with the frames to take, and check that there is something to learn from."""
    source = open_source(trajectory, topology, frames=FrameRange(stride=stride))
    if source.n_frames > most_frames:
        thinner = stride * -(-source.n_frames // most_frames)
        source = open_source(trajectory, topology, frames=FrameRange(stride=thinner))
    source.require_atoms()
    if source.sites.n_sites == source.topology.n_residues:
        raise InputError(
            f"{trajectory}: contains only C-alphas; training needs all heavy atoms of the protein"
        )
    teaching = _teaching(source)
    if not (teaching[:-1] & teaching[1:] & source.linked[:-1]).any():
        raise InputError(
            f"{trajectory}: no two bonded residues of the twenty amino acids have all their heavy atoms, "
            "which training needs"
        )
    return source


def _parts(trajectory: str | Path, n_frames: int, train_share: float, gap_share: float) -> tuple[int, int]:
    """Return how many frames are for training, and the first that is held out."""
    first = round(train_share * n_frames)
    last = round((train_share + gap_share) * n_frames)
    if not 0 < first <= last < n_frames:
        counted = "1 frame" if n_frames == 1 else f"{n_frames} frames"
        raise InputError(
            f"{trajectory}: {counted} cannot be parted with train_share {train_share:g} and gap_share "
            f"{gap_share:g}: one part would be empty; give more frames or other shares"
        )
    return first, last


def _teaching(source: Source) -> np.ndarray:
    """Return which residues (residues,) bool to learn from: complete ones of the twenty amino acids."""
    topology, inside = source.topology, slice(0, SLOT_OXT)
    complete = (source.sites.present | ~topology.atom_mask)[:, inside].all(axis=1)
    return complete & np.array([not name for name in topology.names], dtype=bool)


def _corpus_of_frames(source: Source, frames: np.ndarray) -> Corpus:
    """Structures of frames (frames, residues, 15, 3) of one protein."""
    count, residues = frames.shape[:2]
    topology = source.topology
    chains = int(topology.chain_index.max()) + 1
    return Corpus(
        coordinates=frames.reshape(-1, ATOM_SLOTS, 3),
        present=np.tile(source.sites.present, (count, 1)),
        residue_types=np.tile(topology.residue_types, count),
        chain_index=(np.arange(count)[:, None] * chains + topology.chain_index).ravel(),
        linked=np.tile(source.linked & ~topology.chain_ends, count),  # rings count as open
        trusted=np.tile(_teaching(source), count),
        offsets=np.arange(count + 1) * residues,
        weights=np.ones(count),
        data_hash="",
    )


def _with_residue_share(corpus: Corpus, share: float) -> Corpus:
    """Scale weights so that the expected number of residues of one drawn structure is ``share``."""
    residues = float(corpus.weights @ np.diff(corpus.offsets))
    return replace(corpus, weights=corpus.weights * (share / residues))
