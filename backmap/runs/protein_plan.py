"""From what a user asks for of a protein to what is done: the job, its atoms, and those that stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backmap.inference.protein_job import Finishing, ProteinJob
from backmap.io import AtomList, Source
from backmap.io.disulfide_records import disulfides_of_frame
from backmap.models.checkpoint import ModelFile

from .protein_frames import KeptAtoms, build_reference, listed_atoms
from .request import Building


@dataclass(frozen=True)
class ProteinPlan:
    """What is done with the frames of a protein.

    Attributes
    ----------
    job : ProteinJob
        For the workers.
    atoms : AtomList
        What they give, one after another.
    kept : KeptAtoms
        What they are given, and what of it stays exactly where it is.
    """

    job: ProteinJob
    atoms: AtomList
    kept: KeptAtoms

    @classmethod
    def make(cls, source: Source, model: ModelFile, asked: Building) -> ProteinPlan:
        """Plan the building of a protein.

        The first frame is built here if hydrogens are asked for: it says which there are.

        Raises
        ------
        InputError
            If something that was asked for cannot be done with this protein or model.
        """
        topology = source.topology
        job = ProteinJob(
            name=source.name,
            model=model,
            topology=topology,
            linked=source.linked,
            samples=asked.samples,
            seed=asked.seed,
            ddim_steps=asked.ddim_steps,
            redraws=asked.redraws,
            given=source.given if asked.keep_given else None,
            c_alphas=asked.c_alpha_rule,
            disulfides=source.disulfides,
        )
        job, atoms = _with_finishing(job, source, asked)
        stays = job.c_alpha_atoms if asked.minimise else None
        return cls(job, atoms, KeptAtoms.find(atoms, topology, job.read, stays))


def _with_finishing(job: ProteinJob, source: Source, asked: Building) -> tuple[ProteinJob, AtomList]:
    """Add what is done to built frames, and list the atoms there are then."""
    atoms, finishing = listed_atoms(source.topology), list[Finishing]()
    if asked.hydrogens:
        from backmap.postprocessing import Hydrogens

        reference = build_reference(job, source, atoms)
        job = replace(job, disulfides=_decided(atoms, reference))
        hydrogens = Hydrogens(atoms, reference, ph=asked.ph)
        finishing.append(hydrogens)
        atoms = hydrogens.atoms
    if asked.minimise:
        from backmap.postprocessing import RestrainedMinimisation

        finishing.append(RestrainedMinimisation(atoms, iterations=asked.minimise))
    return replace(job, finishing=finishing), atoms


def _decided(atoms: AtomList, reference: np.ndarray) -> np.ndarray:
    """(n, 2) disulfides of a frame, and every other cysteine paired with itself: all frames get these bonds.

    For hydrogens are chosen once, and a bonded cysteine has none at its sulfur.
    """
    bonds = [(first, second) for first, second, _ in disulfides_of_frame(atoms, reference)]
    joined = {residue for bond in bonds for residue in bond}
    free = [index for index, residue in enumerate(atoms.residues) if residue.name == "CYS"]
    alone = [(index, index) for index in free if index not in joined]
    return np.array(sorted(bonds + alone), dtype=np.int64).reshape(-1, 2)
