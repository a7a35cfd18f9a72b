"""From what a user asks for of a protein to what is done: the job, its atoms, and those that stay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from backmap.errors import InputError
from backmap.inference.c_alphas import CAlphaMode, CAlphaRule
from backmap.inference.protein_job import Finishing, ProteinJob
from backmap.io import AtomList, Source
from backmap.io.disulfide_records import disulfides_of_frame
from backmap.models.checkpoint import ModelFile

from .frames import Kept, build_reference, listed_atoms


@dataclass(frozen=True)
class ProteinOptions:
    """How the frames of a protein are built and finished.

    Parameters
    ----------
    samples : int
        Independent structures for each frame.
    seed : int
        Seed of the random numbers.
    keep_given : bool
        Leave all atoms that the input has where they are, and build those that are missing.
    ddim_steps : int
        Steps of the DDIM sampler, for DiAMoNDBack models; 0 for the published sampler.
    redraws : int, optional
        How often DiAMoNDBack draws a residue that overlaps again; by default what the model says.
    c_alphas : str
        What becomes of C-alphas: ``auto``, ``keep`` or ``relax``, as for :func:`backmap.reconstruct`.
    bead_noise : float, optional
        Standard deviation in nm of a coordinate of a bead; estimated by default.
    hydrogens : bool
        Add the hydrogens there are at a pH.
    ph : float
        That pH.
    minimise : int
        Iterations of a minimisation of every frame, with hydrogens, while its C-alphas stay; 0 for none.
    """

    samples: int = 1
    seed: int = 0
    keep_given: bool = False
    ddim_steps: int = 0
    redraws: int | None = None
    c_alphas: CAlphaMode = "auto"
    bead_noise: float | None = None
    hydrogens: bool = False
    ph: float = 7.0
    minimise: int = 0

    @property
    def c_alpha_rule(self) -> CAlphaRule:
        """What becomes of C-alphas.

        Raises
        ------
        InputError
            If the options contradict each other.
        """
        rule = CAlphaRule(self.c_alphas, self.bead_noise)
        if self.keep_given and rule.asks_to_move:
            name = "bead-noise" if self.bead_noise is not None else "c-alphas relax"
            raise InputError(f"{name}: keep-given leaves C-alphas where they are; leave out one of the two")
        return rule


@dataclass(frozen=True)
class ProteinPlan:
    """What is done with the frames of a protein.

    Attributes
    ----------
    job : ProteinJob
        For the workers.
    atoms : AtomList
        What they give, one after another.
    kept : Kept
        What they are given, and what of it stays exactly where it is.
    """

    job: ProteinJob
    atoms: AtomList
    kept: Kept

    @classmethod
    def make(cls, source: Source, model: ModelFile, options: ProteinOptions) -> ProteinPlan:
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
            samples=options.samples,
            seed=options.seed,
            ddim_steps=options.ddim_steps,
            redraws=options.redraws,
            given=source.given if options.keep_given else None,
            c_alphas=options.c_alpha_rule,
            disulfides=source.disulfides,
        )
        job, atoms = _with_finishing(job, source, options)
        stays = job.c_alpha_atoms if options.minimise else None
        return cls(job, atoms, Kept.find(atoms, topology, job.read, stays))


def _with_finishing(job: ProteinJob, source: Source, options: ProteinOptions) -> tuple[ProteinJob, AtomList]:
    """Add what is done to built frames, and list the atoms there are then."""
    atoms, finishing = listed_atoms(source.topology), list[Finishing]()
    if options.hydrogens:
        from backmap.postprocessing import Hydrogens

        reference = build_reference(job, source, atoms)
        job = replace(job, disulfides=_decided(atoms, reference))
        finishing.append(Hydrogens(atoms, reference, ph=options.ph))
        atoms = finishing[0].atoms
    if options.minimise:
        from backmap.postprocessing import RestrainedMinimisation

        finishing.append(RestrainedMinimisation(atoms, iterations=options.minimise))
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
