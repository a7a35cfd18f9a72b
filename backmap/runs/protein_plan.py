"""From the options for a protein to a plan: the job, its atoms, and the atoms that keep their positions."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from backmap.chemistry import RESIDUE_INDEX, SIDE_CHAIN, Topology
from backmap.chemistry.bead_mapping import BeadMapping, shipped_mappings
from backmap.chemistry.modified_residues import Modifications, read_modifications
from backmap.chemistry.sites import Sites
from backmap.cluster import Workers
from backmap.errors import InputError, InputWarning, OptionError
from backmap.inference.coherence import State
from backmap.inference.protein_job import Finishing, NucleicPart, ProteinJob
from backmap.io import AtomList, FrameChunk, Source
from backmap.io.reader import ANY_BEADS
from backmap.io.selection.disulfide_records import disulfides_of_frame
from backmap.io.selection.other_molecules import OtherMolecules
from backmap.models import shipped
from backmap.models.model_file import ModelFile
from backmap.options import defaults_of
from backmap.postprocessing.modified_residues import ModifiedResidues
from backmap.postprocessing.program_names import named_for

from .protein_frames import (
    BuiltFrames,
    Clock,
    KeptAtoms,
    atom_places,
    build_first_frames,
    build_frames,
    build_in_sequence,
    listed_atoms,
)
from .request import Building

_FRAMES_TO_DECIDE = 8
"""Frames from the start of a trajectory that decide about the disulfides of coherent frames."""

_BACKBONE = ("N", "CA", "C", "O", "CB", "OXT")
"""Atoms of the models, and of the generators, that have no side chains."""


@dataclass(frozen=True)
class ProteinPlan:
    """Plan for building the frames of a protein.

    Attributes
    ----------
    job : ProteinJob
        Job for the workers.
    atoms : AtomList
        Atoms that the workers return, in order.
    kept : KeptAtoms
        Atoms that the workers are given, and those that keep exactly their positions.
    clock : Clock, optional
        Times of coherent frames.
    """

    job: ProteinJob
    atoms: AtomList
    kept: KeptAtoms
    clock: Clock | None = None

    @classmethod
    def make(cls, source: Source, model: ModelFile, asked: Building) -> ProteinPlan:
        """Plan the building of a protein.

        If hydrogens are requested, the first frame is built here to determine which there are, and the
        segments between chain breaks are chains with ends of their own.

        Raises
        ------
        InputError
            If a request cannot be fulfilled for this protein or model.
        """
        topology, modifications = source.topology, read_modifications(asked.residues)
        if asked.hydrogens:
            topology = topology.divided_at_breaks(source.linked)
        if source.nucleic is not None:
            _check_options_of_nucleic(source, asked)
        _check_rings(source, model)
        estimator = _estimator(source, model, asked)
        read = np.arange(source.sites.n_sites)
        if source.beads is None and not asked.keep_given and asked.beads == ANY_BEADS:
            _warn_of_unused_atoms(source, model)
        if source.beads is None:
            read = np.arange(source.given.n_sites) if asked.keep_given else source.sites.leaders
        hands = _Hands.of(topology, modifications, source.sites.select(read) if asked.keep_given else None)
        job = ProteinJob(
            name=source.name,
            model=model,
            topology=topology,
            linked=source.linked,
            samples=asked.samples,
            seed=asked.seed,
            ddim_steps=asked.ddim_steps,
            redraws=asked.redraws,
            sites=source.sites.select(read),
            keep_given=asked.keep_given,
            beads=source.beads,
            estimator=estimator,
            nucleic=_nucleic_part(source),
            obstacle_radii=source.others.radii_nm if source.others.n_sites else None,
            c_alphas=asked.c_alpha_rule,
            coherence=asked.coherence_rule,
            best=asked.best,
            disulfides=_with_modified(source.disulfides, topology, modifications, hands),
            mirrored=hands.mirrored,
            backbone_only=hands.others if hands.others.any() and source.beads is None else None,
        )
        job, atoms, nucleic = _with_finishing(job, source, asked, read, modifications, hands)
        stays = read[:0] if source.beads is not None else read
        kept = KeptAtoms.find(atoms, source, read, stays, modifications)
        clock = _clock(source, asked) if asked.coherent else None
        return cls(job, _with_others(atoms.followed_by(nucleic), source.others), kept, clock)

    def build(self, workers: Workers, chunks: Iterable[FrameChunk], state: State) -> Iterator[BuiltFrames]:
        """Build chunks of frames: several at once, or each after the one before it if frames are coherent.

        Coherent frames need the state after the frames before, which is empty at the beginning.
        """
        if self.clock is None:
            return build_frames(workers, chunks, self.kept, self.job.samples)
        return build_in_sequence(workers, chunks, self.kept, self.clock, self.job.samples, state)


def _estimator(source: Source, model: ModelFile, asked: Building) -> ModelFile | None:
    """Read the model that estimates C-alphas, if the input's beads need one.

    Raises
    ------
    InputError
        If no such model exists, or if the options or the model to build with do not apply to these beads.
    """
    if source.mapping is None:
        if asked.bead_model is not None:
            raise OptionError("bead_model", "applies only to beads, but the input has C-alphas")
        return None
    name = source.mapping.name
    if model.family != "protein":
        raise InputError(
            f"{source.name}: has beads of the mapping {name}, but {model.family} models build from C-alphas; "
            "use a protein model"
        )
    if asked.keep_given:
        raise OptionError("keep_given", f"applies only to atoms; the input has beads of the mapping {name}")
    if not source.mapping.main_is_c_alpha:
        return shipped.read_estimator(source.mapping, asked.bead_model)
    if asked.bead_model is not None:
        raise OptionError("bead_model", f"is not needed: beads {name} include the C-alphas; leave it out")
    return None


def _check_rings(source: Source, model: ModelFile) -> None:
    """Refuse to build cyclic chains where chains can only be open."""
    if not source.topology.rings:
        return
    chain = source.topology.chain_ids[source.topology.rings[0]].strip()
    which = f"chain {chain}" if chain else "a chain"
    if model.family != "protein":
        raise InputError(
            f"{source.name}: {which} is cyclic, but {model.family} models build open chains; "
            "use a protein model"
        )


def _clock(source: Source, asked: Building) -> Clock:
    """Find out when frames were taken.

    Raises
    ------
    InputError
        If neither the input nor the options say it.
    """
    if asked.frame_interval is not None:
        return Clock(asked.frame_interval)
    if source.tells_times:
        return Clock(None)
    interval = source.frame_interval_ps
    if interval is None and source.n_frames > 1:
        raise OptionError(
            "frame_interval",
            f"{source.name} does not say how much time passes between frames, which coherent frames need; "
            "give it in ps",
        )
    return Clock((interval or 0.0) / source.frame_range.stride)


def _warn_of_unused_atoms(source: Source, model: ModelFile) -> None:
    """Say which atoms of the backbone are not used, and which option uses them."""
    names = set(source.sites.names)
    unused = [name for name in _BACKBONE if name in names - {"CA"}]
    if not unused or not names <= set(_BACKBONE) or model.family != "protein":
        return
    mapping = _largest_mapping(source)
    option = "" if mapping is None else f"--beads {mapping.name} or "
    warnings.warn(
        f"{source.name}: its atoms {', '.join(unused)} are not used, as only C-alphas are by default; "
        f"{option}--keep-given uses them",
        InputWarning,
        stacklevel=2,
    )


def _largest_mapping(source: Source) -> BeadMapping | None:
    """Return the shipped mapping with the most beads, all of them atoms that the source contains, if any."""
    found = []
    for mapping in shipped_mappings().values():
        if (
            mapping.main_is_c_alpha
            and not mapping.only_c_alphas
            and all(len(b.atoms) == 1 for beads in mapping.beads.values() for b in beads)
        ):
            layout = mapping.layout(source.topology.residue_types)
            if source.sites.present[layout.residues, layout.weights.argmax(axis=1)].all():
                found.append((layout.n_beads, mapping))
    return max(found, key=lambda entry: entry[0])[1] if found else None


_OF_PROTEINS = (
    "beads",
    "bead_model",
    "residues",
    "link",
    "keep_given",
    "c_alphas",
    "bead_noise",
    "best",
    "coherent",
    "minimise",
)
"""Options that do nothing for nucleic acids."""


def _check_options_of_nucleic(source: Source, asked: Building) -> None:
    """Refuse what cannot be done for nucleic acids alone, and say what is done for proteins only."""
    if not source.topology.n_residues:
        defaults = defaults_of(Building)
        for name in _OF_PROTEINS:
            if getattr(asked, name) != defaults[name]:
                raise OptionError(name, f"applies to proteins, but {source.name} has only nucleic acids")
        return
    asked_for = {"a best guess": asked.best, "coherent": asked.coherent, "minimised": asked.minimise}
    if any(asked_for.values()):
        done = " and ".join(word for word, given in asked_for.items() if given)
        warnings.warn(
            f"{source.name}: only the protein is {done}; nucleic acids are drawn in each frame on their own",
            InputWarning,
            stacklevel=2,
        )


def _nucleic_part(source: Source) -> NucleicPart | None:
    """Return the nucleic acids to build."""
    if source.nucleic is None:
        return None
    return NucleicPart(shipped.read_nucleic_library(), source.nucleic.topology, source.nucleic.layout)


def _with_others(atoms: AtomList, others: OtherMolecules) -> AtomList:
    """Add molecules beside the protein at the end of a list of atoms."""
    return atoms.followed_by(AtomList(others.residues, others.chain_ids, ()))


@dataclass(frozen=True)
class _Hands:
    """Whether most residues are D-amino acids, and which residues, (residues,) bool, are of the other hand.

    Glycine does not count, and residues with given side chains are as they are.
    """

    mirrored: bool
    others: np.ndarray

    @classmethod
    def of(cls, topology: Topology, modifications: Modifications, given: Sites | None) -> _Hands:
        named = [bool(name) and modifications[name].mirrored for name in topology.names]
        mirrored = np.array(named, dtype=bool)
        chiral = topology.residue_types != RESIDUE_INDEX["GLY"]
        mostly = 2 * int((mirrored & chiral).sum()) > int(chiral.sum())
        others = chiral & (mirrored != mostly)
        if given is not None:
            others &= ~given.present[:, SIDE_CHAIN].any(axis=1)
        return cls(mostly, others)


def _with_modified(
    bonds: np.ndarray, topology: Topology, modifications: Modifications, hands: _Hands
) -> np.ndarray:
    """Change known disulfides (n, 2): modified cysteines are paired with themselves, as known to be free.

    Cysteines of the other hand are in no bond, as the model builds only their backbone.
    """
    cysteine = topology.residue_types == RESIDUE_INDEX["CYS"]
    named = [bool(name) and bool(modifications[name].atoms) for name in topology.names]
    own = np.array(named, dtype=bool)
    modified = np.flatnonzero(cysteine & own & ~hands.others)
    kept = bonds[~np.isin(bonds, np.flatnonzero(own | hands.others)).any(axis=1)]
    return np.concatenate([kept, np.repeat(modified, 2).reshape(-1, 2).astype(np.int64)])


def _with_finishing(
    job: ProteinJob,
    source: Source,
    asked: Building,
    read: np.ndarray,
    modifications: Modifications,
    hands: _Hands,
) -> tuple[ProteinJob, AtomList, AtomList]:
    """Add the finishing of built frames, and list the resulting atoms of protein and of nucleic acids."""
    nucleic = AtomList((), (), ()) if job.nucleic is None else AtomList.of_nucleic(job.nucleic.topology)
    built, topology = listed_atoms(job.topology), job.topology
    atoms, finishing, modified = built, list[Finishing](), None
    if any(topology.names) or topology.caps:
        modified = ModifiedResidues(built, topology, modifications, given=job.given, other_hand=hands.others)
        finishing.append(modified)
        atoms = modified.atoms
    if asked.hydrogens or asked.coherent:
        read_atoms = KeptAtoms.find(built, source, read, read)
        n_frames = _FRAMES_TO_DECIDE if asked.coherent else 1
        structures = build_first_frames(replace(job, coherence=None, samples=1), source, read_atoms, n_frames)
        beside = structures[0, built.n_atoms :]
        structures = structures[:, : built.n_atoms]
        reference, known = structures[0], job.disulfides
        assert known is not None  # the plan has looked for them
        deciding = structures if asked.coherent else structures[:1]
        job = replace(job, disulfides=_decided(built, deciding, hands, known))
    if asked.hydrogens and job.nucleic is not None:
        from backmap.postprocessing import Hydrogens
        from backmap.postprocessing.minimisation import explicit_radii

        with_hydrogens = Hydrogens(nucleic, beside, ph=asked.ph)
        radii = explicit_radii(with_hydrogens.atoms)
        part = replace(job.nucleic, finishing=(with_hydrogens,), finished_radii=radii)
        job = replace(job, nucleic=part)
        nucleic = with_hydrogens.atoms
    if asked.hydrogens and topology.n_residues:
        from backmap.postprocessing import Hydrogens

        hydrogens = Hydrogens(built, reference, ph=asked.ph, modified=modified)
        finishing.append(hydrogens)
        atoms = hydrogens.atoms
    if asked.minimise and topology.n_residues:
        from backmap.postprocessing.minimisation import RestrainedMinimisation

        given = None
        if asked.keep_given:
            given = KeptAtoms.find(atoms, source, read, read, modifications).numbers
        finishing.append(RestrainedMinimisation(atoms, iterations=asked.minimise, given=given))
    places = None
    if finishing and job.beads is not None:
        places = atom_places(atoms, topology, modifications)
    job = replace(job, finishing=finishing, finished_places=places)
    return job, named_for(atoms, asked.names_for), nucleic


def _decided(atoms: AtomList, structures: np.ndarray, hands: _Hands, known: np.ndarray) -> np.ndarray:
    """Return disulfides (n, 2), and every other cysteine paired with itself, for all frames.

    Known bonds (n, 2) stay. Others are those that a quarter of the structures (structures, atoms, 3) have.
    Hydrogens are chosen once, and a bonded cysteine has none at its sulfur; coherent frames keep their bonds.
    Cysteines of the other hand are left out, as the model builds only their backbone.
    """
    absent = set(np.flatnonzero(hands.others).tolist())
    bonds = [(int(first), int(second)) for first, second in known]
    taken = absent.union(*bonds) if bonds else absent
    votes = Counter(
        (first, second)
        for structure in structures
        for first, second, _ in disulfides_of_frame(atoms, structure)
    )
    for bond, number in votes.most_common():
        if 4 * number >= len(structures) and taken.isdisjoint(bond):
            bonds.append(bond)
            taken = taken.union(bond)
    free = [
        index for index, residue in enumerate(atoms.residues) if residue.name == "CYS" and index not in taken
    ]
    return np.array(sorted(bonds + [(index, index) for index in free]), dtype=np.int64).reshape(-1, 2)
