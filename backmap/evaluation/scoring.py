"""Score opened files or trajectories in memory: the implementation of ``backmap evaluate``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from backmap.chemistry.periodic_box import has_box, reduced_boxes
from backmap.errors import InputError
from backmap.evaluation.measurement import Measurement, join_frames, measure
from backmap.evaluation.scorecard import Part, Scorecard
from backmap.io import FrameChunk, Source, source_from_mdtraj
from backmap.io.mdtraj_objects import require_trajectories
from backmap.limits import Flag
from backmap.usual_settings import usual_settings

if TYPE_CHECKING:
    import mdtraj

RESIDUES_AT_A_TIME = 50_000
"""Approximate number of residues scored together, over all samples."""


def evaluate(
    reference: mdtraj.Trajectory | None,
    samples: mdtraj.Trajectory | Sequence[mdtraj.Trajectory],
    *,
    skip_unknown: bool = False,
) -> Scorecard:
    """Score all-atom trajectories, against a reference if there is one.

    Parameters
    ----------
    reference : mdtraj.Trajectory, or None
        The true atoms. With only C-alphas, or None, only measures that do not need true atoms are computed.
    samples : mdtraj.Trajectory or sequence of them
        Samples of the same residues, each with the same number of frames as the reference; or the reference
        has one frame, with which every frame is compared.
    skip_unknown : bool
        Leave out unknown residues with a warning instead of refusing them.

    Returns
    -------
    Scorecard
        ``print(scores.to_table())`` prints it; ``scores.measures["clash"]["interior"].value`` is one number.

    Raises
    ------
    InputError
        If residues or frames differ; the message names the first difference.
    """
    listed = require_trajectories(samples, "samples")
    skip = Flag().check(skip_unknown, "skip_unknown")

    def opened(trajectory: mdtraj.Trajectory) -> Source:
        return source_from_mdtraj(trajectory, skip_unknown=skip)

    known = None
    if reference is not None:
        (trajectory,) = require_trajectories([reference], "reference")
        known = "the reference", opened(trajectory)
    sources = {f"sample {number}": opened(sample) for number, sample in enumerate(listed, 1)}
    with usual_settings():
        return score_sources(known, sources)


def score_sources(
    reference: tuple[str, Source] | None, samples: dict[str, Source], *, title: str = "structure"
) -> Scorecard:
    """Score samples frame by frame in constant memory.

    Parameters
    ----------
    reference : tuple of (str, Source), or None
        Name for messages, and the true atoms or only the C-alphas; a single frame is compared with
        all frames of the samples.
    samples : dict of str to Source
        Samples of one trace, by name.
    title : str
        Name of the structure in the scorecard.

    Returns
    -------
    Scorecard

    Raises
    ------
    InputError
        If residues or frames differ; the message names the first difference.
    """
    if not samples:
        raise InputError("there are no samples to score; give at least one")
    base_name, base = reference or next(iter(samples.items()))
    base.require_atoms()
    for name, source in samples.items():
        source.require_atoms()
        if source.sites.n_sites == source.topology.n_residues:
            raise InputError(
                f"{name}: contains only C-alphas; build its atoms first, with backmap reconstruct"
            )
        _require_same_residues(base_name, base, name, source)
        if reference is None or base.n_frames > 1:
            _require_same_frames(base_name, base, name, source)
    first_name, first = next(iter(samples.items()))
    for name, source in samples.items():
        _require_same_frames(first_name, first, name, source)
    true_atoms = None if reference is None else base
    parts = list(_measurements(base, true_atoms, list(samples.values())))
    return Scorecard((Part(title, join_frames(parts)),))


def _measurements(base: Source, reference: Source | None, samples: list[Source]) -> Iterator[Measurement]:
    """Measure successive parts of all files in parallel."""
    present = np.logical_and.reduce([source.sites.present for source in samples])
    frames = max(1, RESIDUES_AT_A_TIME // (base.topology.n_residues * len(samples)))
    streams = [source.chunks(frames) for source in samples]
    true_chunks = None if reference is None else reference.chunks(frames)
    known = None if reference is None else reference.sites.present
    true_atoms = true_box = None
    for chunks in zip(*streams, strict=True):
        stretches = [
            file.sites.in_slots(chunk.coordinates) for file, chunk in zip(samples, chunks, strict=True)
        ]
        boxes = [_boxes(chunk, file.name) for chunk, file in zip(chunks, samples, strict=True)]
        if reference is not None and true_chunks is not None:
            true_chunk = next(true_chunks, None)
            if true_chunk is not None:
                true_atoms = reference.sites.in_slots(true_chunk.coordinates)
                true_box = _boxes(true_chunk, reference.name)
            if reference.n_frames == 1:
                true_atoms, true_box = (
                    _repeated(true_atoms, len(chunks[0])),
                    _repeated(true_box, len(chunks[0])),
                )
        sample_boxes = [box for box in boxes if box is not None]
        yield measure(
            base.topology,
            true_atoms,
            np.stack(stretches),
            known,
            present,
            linked=base.linked,
            reference_box=true_box,
            sample_box=np.stack(sample_boxes) if len(sample_boxes) == len(boxes) else None,
        )


def _repeated(values: np.ndarray | None, n_frames: int) -> np.ndarray | None:
    """Repeat the first frame."""
    return None if values is None else np.repeat(values[:1], n_frames, axis=0)


def _boxes(chunk: FrameChunk, name: str) -> np.ndarray | None:
    """Return the periodic boxes of all frames, or None if a frame has none."""
    box = chunk.periodic_box
    if box is None or not has_box(box).all():
        return None
    return reduced_boxes(box, chunk.numbers, name)


def _require_same_residues(base_name: str, base: Source, name: str, source: Source) -> None:
    expected, found = base.topology, source.topology
    shared = min(expected.n_residues, found.n_residues)
    differing = np.flatnonzero(expected.residue_types[:shared] != found.residue_types[:shared])
    if len(differing):
        first = int(differing[0])
        raise InputError(
            f"{name}: has {found.describe(first)} where {base_name} has {expected.describe(first)}; "
            "the residues must be the same, in the same order"
        )
    if expected.n_residues != found.n_residues:
        longer = (base_name, expected) if expected.n_residues > found.n_residues else (name, found)
        raise InputError(
            f"{name}: has {found.n_residues} residues, but {base_name} has {expected.n_residues}; "
            f"{longer[1].describe(shared)} occurs only in {longer[0]}"
        )


def _require_same_frames(base_name: str, base: Source, name: str, source: Source) -> None:
    if source.n_frames != base.n_frames:
        raise InputError(
            f"{name}: has {source.n_frames} frames, but {base_name} has {base.n_frames}; give the same frames"
        )
