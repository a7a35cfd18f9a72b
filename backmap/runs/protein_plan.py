"""From the options for a protein to a plan: the job, its atoms, and the atoms that keep their positions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backmap.chemistry import RESIDUE_INDEX, Topology
from backmap.chemistry.modified_residues import Modifications, read_modifications
from backmap.errors import InputError, OptionError
from backmap.inference.protein_job import Finishing, ProteinJob
from backmap.io import AtomList, Source
from backmap.io.selection.disulfide_records import disulfides_of_frame, named_by_link
from backmap.io.selection.other_molecules import OtherMolecules
from backmap.models import shipped
from backmap.models.checkpoint import ModelFile
from backmap.postprocessing.modified_residues import ModifiedResidues

from .protein_frames import KeptAtoms, build_reference, listed_atoms
from .request import Building


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
    """

    job: ProteinJob
    atoms: AtomList
    kept: KeptAtoms

    @classmethod
    def make(cls, source: Source, model: ModelFile, asked: Building) -> ProteinPlan:
        """Plan the building of a protein.

        If hydrogens are requested, the first frame is built here to determine which there are.

        Raises
        ------
        InputError
            If a request cannot be fulfilled for this protein or model.
        """
        topology, modifications = source.topology, read_modifications(asked.residues)
        links = [named_by_link(link) for link in asked.link or ()]
        read = np.arange(source.sites.n_sites)
        if source.beads is None:
            read = np.arange(source.given.n_sites) if asked.keep_given else source.sites.leaders
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
            estimator=_estimator(source, model, asked),
            obstacle_radii=source.others.radii_nm if source.others.n_sites else None,
            c_alphas=asked.c_alpha_rule,
            disulfides=_with_modified(source.disulfides_with(links), topology, modifications),
            mirrored=_is_mostly_mirrored(topology, modifications),
        )
        job, atoms = _with_finishing(job, source, asked, read, modifications)
        stays = source.sites.leaders if asked.minimise else read
        if source.beads is not None:
            stays = read[:0]
        kept = KeptAtoms.find(atoms, source, read, stays, modifications)
        return cls(job, _with_others(atoms, source.others), kept)


def _estimator(source: Source, model: ModelFile, asked: Building) -> ModelFile | None:
    """Read the model that estimates C-alphas, if the input's beads need one.

    Raises
    ------
    InputError
        If there is none, or the options or the model to build with do not fit such beads.
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
    return None if source.mapping.main_is_c_alpha else shipped.read_estimator(name, asked.bead_model)


def _with_others(atoms: AtomList, others: OtherMolecules) -> AtomList:
    """Add molecules beside the protein at the end of a list of atoms."""
    n_chains = len(atoms.chain_ids)
    moved = tuple(replace(residue, chain=residue.chain + n_chains) for residue in others.residues)
    return replace(atoms, residues=atoms.residues + moved, chain_ids=atoms.chain_ids + others.chain_ids)


def _with_modified(bonds: np.ndarray, topology: Topology, modifications: Modifications) -> np.ndarray:
    """Add every modified cysteine to known disulfides (n, 2), paired with itself: its sulfur is not free."""
    modified = [
        row
        for row in np.flatnonzero(topology.residue_types == RESIDUE_INDEX["CYS"])
        if topology.names[row] and modifications[topology.names[row]].atoms
    ]
    kept = bonds[~np.isin(bonds, modified).any(axis=1)]
    return np.concatenate([kept, np.repeat(modified, 2).reshape(-1, 2).astype(np.int64)])


def _is_mostly_mirrored(topology: Topology, modifications: Modifications) -> bool:
    """Return whether most residues are D-amino acids, not counting glycine."""
    chiral = np.flatnonzero(topology.residue_types != RESIDUE_INDEX["GLY"])
    names = (topology.names[row] for row in chiral)
    return 2 * sum(bool(name) and modifications[name].mirrored for name in names) > len(chiral)


def _with_finishing(
    job: ProteinJob, source: Source, asked: Building, read: np.ndarray, modifications: Modifications
) -> tuple[ProteinJob, AtomList]:
    """Add the finishing of built frames, and list the resulting atoms."""
    built, topology = listed_atoms(source.topology), source.topology
    atoms, finishing, modified = built, list[Finishing](), None
    if any(topology.names) or topology.caps or job.mirrored:
        modified = ModifiedResidues(built, topology, modifications, given=job.given, mirrored=job.mirrored)
        finishing.append(modified)
        atoms = modified.atoms
    if asked.hydrogens:
        from backmap.postprocessing import Hydrogens

        reference = build_reference(job, source, KeptAtoms.find(built, source, read, read))
        job = replace(job, disulfides=_decided(built, reference))
        hydrogens = Hydrogens(built, reference, ph=asked.ph, modified=modified)
        finishing.append(hydrogens)
        atoms = hydrogens.atoms
    if asked.minimise:
        from backmap.postprocessing import RestrainedMinimisation

        finishing.append(RestrainedMinimisation(atoms, iterations=asked.minimise))
    return replace(job, finishing=finishing), atoms


def _decided(atoms: AtomList, reference: np.ndarray) -> np.ndarray:
    """Return the disulfides (n, 2) of a frame, and every other cysteine paired with itself, for all frames.

    Hydrogens are chosen once, and a bonded cysteine has none at its sulfur.
    """
    bonds = [(first, second) for first, second, _ in disulfides_of_frame(atoms, reference)]
    joined = {residue for bond in bonds for residue in bond}
    free = [index for index, residue in enumerate(atoms.residues) if residue.name == "CYS"]
    alone = [(index, index) for index in free if index not in joined]
    return np.array(sorted(bonds + alone), dtype=np.int64).reshape(-1, 2)
