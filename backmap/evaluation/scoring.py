"""Score opened files or trajectories in memory: the implementation of ``backmap evaluate``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from backmap.chemistry import SLOT_CA
from backmap.chemistry.periodic_box import has_box, reduced_boxes
from backmap.errors import InputError
from backmap.evaluation.all_atoms import AllAtoms, Contacts, with_hydrogens
from backmap.evaluation.measurement import Extras, Measurement, join_frames, measure
from backmap.evaluation.scorecard import Part, Scorecard
from backmap.evaluation.strain import StrainEnergies, strain_of
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
    energies: bool = False,
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
    energies : bool
        Measure the strain of residues, which needs OpenMM and takes a minimisation per frame.

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
    skip, strain = Flag().check(skip_unknown, "skip_unknown"), Flag().check(energies, "energies")

    def opened(trajectory: mdtraj.Trajectory) -> Source:
        return source_from_mdtraj(trajectory, skip_unknown=skip, hydrogens=True)

    known = None
    if reference is not None:
        (trajectory,) = require_trajectories([reference], "reference")
        known = "the reference", opened(trajectory)
    sources = {f"sample {number}": opened(sample) for number, sample in enumerate(listed, 1)}
    with usual_settings():
        return score_sources(known, sources, energies=strain)


def score_sources(
    reference: tuple[str, Source] | None,
    samples: dict[str, Source],
    *,
    energies: bool = False,
    title: str = "structure",
) -> Scorecard:
    """Score samples frame by frame in constant memory.

    Parameters
    ----------
    reference : tuple of (str, Source), or None
        Name for messages, and the true atoms or only the C-alphas; a single frame is compared with
        all frames of the samples.
    samples : dict of str to Source
        Samples of one trace, by name.
    energies : bool
        Measure the strain of residues, which needs OpenMM and takes a minimisation per frame.
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
    parts = list(_measurements(base, true_atoms, samples, energies=energies))
    return Scorecard((Part(title, join_frames(parts)),))


def _measurements(
    base: Source, reference: Source | None, samples: dict[str, Source], *, energies: bool
) -> Iterator[Measurement]:
    """Measure successive parts of all files in parallel."""
    present = np.logical_and.reduce([source.sites.present for source in samples.values()])
    frames = max(1, RESIDUES_AT_A_TIME // (base.topology.n_residues * len(samples)))
    known = None if reference is None else reference.sites.present
    has_atoms = known is not None and np.delete(known, SLOT_CA, axis=1).any()
    common = present & known if known is not None and has_atoms else present
    given = common, base.linked
    readers = [_Reader(name, source, *given, energies=energies) for name, source in samples.items()]
    true_reader = None if reference is None else _Reader(reference.name, reference, *given, energies=energies)
    true_parts = None if true_reader is None else true_reader.parts(frames, all_atoms=bool(has_atoms))
    true: _Stretch | None = None
    for stretches in zip(*(reader.parts(frames) for reader in readers), strict=True):
        if true_parts is not None and reference is not None:
            true = next(true_parts, true)
            if reference.n_frames == 1 and true is not None:
                true = true.repeated(len(stretches[0].atoms))
        boxes = [stretch.box for stretch in stretches if stretch.box is not None]
        yield measure(
            base.topology,
            None if true is None else true.atoms,
            np.stack([stretch.atoms for stretch in stretches]),
            known,
            present,
            linked=base.linked,
            reference_box=None if true is None else true.box,
            sample_box=np.stack(boxes) if len(boxes) == len(stretches) else None,
            reference_extras=None if true is None else _joined([true.extras]),
            sample_extras=_joined([stretch.extras for stretch in stretches]),
        )


def _joined(each: list[Extras]) -> Extras:
    """Join what was found in each sample; None for what one of them lacks."""
    contacts = [extras.contacts for extras in each if extras.contacts is not None]
    strain = [extras.strain for extras in each if extras.strain is not None]
    joined = Extras()
    if len(contacts) == len(each):
        counts, n_atoms = zip(*contacts, strict=True)
        joined = joined._replace(contacts=Contacts(np.concatenate(counts), np.concatenate(n_atoms)))
    if len(strain) == len(each):
        joined = joined._replace(strain=np.concatenate(strain, axis=1))
    return joined


@dataclass(frozen=True)
class _Stretch:
    """Successive frames of a file: atoms (frames, residues, 15, 3), boxes (frames, 3, 3) and extras."""

    atoms: np.ndarray
    box: np.ndarray | None
    extras: Extras

    def repeated(self, n_frames: int) -> _Stretch:
        """Repeat the first frame."""
        contacts, strain = self.extras
        if contacts is not None:
            contacts = contacts._replace(counts=np.repeat(contacts.counts[:, :1], n_frames, axis=1))
        if strain is not None:
            strain = np.repeat(strain[:, :, :1], n_frames, axis=2)
        box = None if self.box is None else np.repeat(self.box[:1], n_frames, axis=0)
        return _Stretch(np.repeat(self.atoms[:1], n_frames, axis=0), box, Extras(contacts, strain))


class _Reader:
    """Reads a file, and measures what needs hydrogens.

    Parameters
    ----------
    name : str
        Name for messages.
    source : Source
    common : ndarray, (residues, 15) bool
        Atoms that all files have, between which contacts are counted.
    linked : ndarray, (residues,) bool
    energies : bool
        Measure strain.
    """

    def __init__(
        self, name: str, source: Source, common: np.ndarray, linked: np.ndarray, *, energies: bool
    ) -> None:
        self.name, self.source, self.common, self.linked = name, source, common, linked
        self.energies = energies

    def parts(self, frames: int, *, all_atoms: bool = True) -> Iterator[_Stretch]:
        """Read frames in parts; without ``all_atoms``, measure nothing."""
        source = self.source
        protein, strain = None, None
        for place, chunk in enumerate(source.chunks(frames)):
            atoms = source.sites.in_slots(chunk.coordinates[:, : source.sites.n_sites])
            hydrogens = chunk.coordinates[:, source.sites.n_sites :]
            if all_atoms and place == 0 and len(chunk):
                protein = self._with_hydrogens(atoms[0], hydrogens[0])
                strain = self._strain(atoms[0]) if self.energies else None
            box, contacts = _boxes(chunk, source.name), None
            if protein is not None:
                counts = protein.contacts(atoms, hydrogens, box)
                contacts = Contacts(counts[None], protein.counter.n_atoms[None])
            energies = None if strain is None else strain(atoms)[:, None]
            yield _Stretch(atoms, box, Extras(contacts, energies))

    def _with_hydrogens(self, frame: np.ndarray, hydrogens: np.ndarray) -> AllAtoms | None:
        owner = self.source.hydrogens.residues
        given = self.source.topology, self.common, self.linked, frame
        return with_hydrogens(*given, hydrogens, owner, name=self.name)

    def _strain(self, frame: np.ndarray) -> StrainEnergies | None:
        return strain_of(self.source.topology, self.source.sites.present, frame, self.name)


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
