"""The frames of a protein's job, built by the models that it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, SLOT_CA
from backmap.chemistry.bead_mapping import BeadLayout
from backmap.chemistry.periodic_box import has_box, reduced_boxes
from backmap.errors import InputError
from backmap.inference.c_alpha_rule import CAlphaRule
from backmap.inference.c_alphas import CAlphaDrawer
from backmap.inference.coherence import Coherence, State
from backmap.inference.protein import ProteinBuilder
from backmap.inference.protein_job import (
    BuiltAtoms,
    Finishing,
    FinishingBeside,
    NucleicPart,
    Past,
    ProteinJob,
)
from backmap.models.chain import Chain
from backmap.models.protein.geometry import MAX_CIS_CA_DISTANCE_NM
from backmap.models.protein.model import ProteinModel
from backmap.models.protein.obstacles import Obstacles
from backmap.physics.minimisation import FixedSites

if TYPE_CHECKING:
    from backmap.inference.beads import BeadBuilder
    from backmap.inference.coherent import CoherentBuilder
    from backmap.inference.coherent_beads import CoherentBeadBuilder
    from backmap.inference.nucleic import NucleicBuilder


class Reconstructor(Protocol):
    """Builds all atoms on C-alphas near the origin."""

    def reconstruct(
        self,
        c_alpha: Tensor,
        *,
        numbers: Tensor,
        samples: int,
        seed: int,
        box: Tensor | None = None,
        given: Tensor | None = None,
        obstacles: Obstacles | None = None,
    ) -> Tensor:
        """Build atoms (samples, frames, residues, 15, 3) on C-alphas, both in nm.

        C-alphas have the shape (frames, residues, 3), or (samples, frames, residues, 3) where they differ.
        ``box`` holds the vectors (frames, 3, 3) of periodic boxes, and ``given`` the atoms
        (frames, residues, 15, 3) to keep.
        """


class _Given(NamedTuple):
    """Frames to build.

    Attributes
    ----------
    sites : Tensor, (frames, sites, 3) float32
        In nm.
    numbers : Tensor, (frames,) int64
        Numbers of the frames.
    box : Tensor, (frames, 3, 3), optional
        Vectors of periodic boxes in nm, as rows, in reduced form.
    obstacles : Obstacles, optional
        Sites of other molecules in the same frames.
    past : Past, optional
        For coherent frames.
    """

    sites: Tensor
    numbers: Tensor
    box: Tensor | None
    obstacles: Obstacles | None
    past: Past | None


class _Built(NamedTuple):
    """Built structures.

    Attributes
    ----------
    atoms : Tensor, (samples, frames, residues, 15, 3)
        In nm.
    noise : Tensor, (frames,)
        Standard deviation in nm of a coordinate of the sites; zero if it is not known.
    state : dict of str to ndarray
        For the next frames, if these are coherent.
    n_jumps : int
        Number of coherent frames that do not follow the one before them.
    deviation : Tensor, (frames, residues), optional
        Of best guesses, as in :class:`backmap.models.protein.best_guess.Guess`.
    """

    atoms: Tensor
    noise: Tensor
    state: State = {}
    n_jumps: int = 0
    deviation: Tensor | None = None


class _Structures(Protocol):
    """Builds structures on the sites of a job."""

    def __call__(self, given: _Given) -> _Built:
        """Build atoms."""

    def distance(self, atoms: Tensor, sites: Tensor) -> Tensor:
        """Return how far atoms (samples, frames, residues, 15, 3) are from the sites (frames, sites, 3).

        By residue, (samples, frames, residues); all in nm.
        """

    def strained(self, atoms: Tensor) -> Tensor:
        """Return which residues (samples, frames, residues) are strained; none if they stand on C-alphas."""


class _NoProtein:
    """Builds nothing, beside nucleic acids."""

    def __init__(self, job: ProteinJob) -> None:
        self._samples = job.samples

    def __call__(self, given: _Given) -> _Built:
        """Build no atoms."""
        frames = len(given.sites)
        return _Built(torch.zeros(self._samples, frames, 0, ATOM_SLOTS, 3), torch.zeros(frames))

    def distance(self, atoms: Tensor, sites: Tensor) -> Tensor:
        """Return no distances."""
        return atoms.new_zeros(atoms.shape[:3])

    def strained(self, atoms: Tensor) -> Tensor:
        """Return no residues."""
        return torch.zeros(atoms.shape[:3], dtype=torch.bool)


class _OnTrace:
    """What structures on C-alphas share: how C-alphas are drawn, and how they are judged."""

    def __init__(self, job: ProteinJob, device: torch.device) -> None:
        self._job, self._device = job, device
        rule = CAlphaRule("keep") if job.keep_given else job.c_alphas
        self._slots = job.sites.places if job.keep_given else None
        types, chain_index = job.model_topology.residue_types, job.topology.chain_index
        self._c_alphas = CAlphaDrawer(rule, Chain.from_arrays(types, chain_index, job.linked, device))

    def distance(self, atoms: Tensor, sites: Tensor) -> Tensor:
        """Return the displacement of C-alphas."""
        return torch.linalg.vector_norm(atoms[..., SLOT_CA, :] - self._beads(sites).to(atoms.device), dim=-1)

    def strained(self, atoms: Tensor) -> Tensor:
        """Return no residue."""
        return torch.zeros(atoms.shape[:3], dtype=torch.bool)

    def _beads(self, sites: Tensor) -> Tensor:
        """Return the C-alphas (frames, residues, 3) among sites (frames, sites, 3)."""
        atoms = self._atoms(sites)
        return sites if atoms is None else atoms[:, :, SLOT_CA]

    def _atoms(self, sites: Tensor) -> Tensor | None:
        """Return the given atoms (frames, residues, 15, 3), if atoms are kept."""
        if self._slots is None:
            return None
        atoms = torch.zeros(len(sites), self._job.topology.n_residues, ATOM_SLOTS, 3)
        atoms[:, self._slots[0], self._slots[1]] = sites
        return atoms

    def _draw(self, given: _Given) -> Tensor:
        """Draw C-alphas near the beads of frames, on the device."""
        box = None if given.box is None else given.box.to(self._device, torch.float32)
        beads = self._beads(given.sites).to(self._device)
        return self._c_alphas.draw(beads, samples=self._job.samples, seed=self._job.seed, box=box)


class _OnCAlphas(_OnTrace):
    """Builds structures on C-alphas, or around given atoms."""

    def __init__(self, job: ProteinJob, reconstructor: Reconstructor, device: torch.device) -> None:
        super().__init__(job, device)
        self._reconstructor = reconstructor

    def __call__(self, given: _Given) -> _Built:
        """Build atoms."""
        if isinstance(self._reconstructor, ProteinBuilder) and self._job.best:
            guess = self._reconstructor.guess(
                self._draw(given), given.box, self._atoms(given.sites), given.obstacles
            )
            zeros = guess.atoms.new_zeros(len(given.sites))
            return _Built(guess.atoms.unsqueeze(0), zeros, deviation=guess.deviation)
        built = self._reconstructor.reconstruct(
            self._draw(given),
            numbers=given.numbers,
            samples=self._job.samples,
            seed=self._job.seed,
            box=given.box,
            given=self._atoms(given.sites),
            obstacles=given.obstacles,
        )
        return _Built(built, built.new_zeros(len(given.sites)))


class _InSequence(_OnTrace):
    """Builds structures on C-alphas, or around given atoms, each given the frame before."""

    def __init__(self, job: ProteinJob, builder: CoherentBuilder) -> None:
        super().__init__(job, builder.device)
        self._builder = builder

    def __call__(self, given: _Given) -> _Built:
        """Build atoms."""
        assert given.past is not None  # the run gives it to coherent jobs
        built, state, n_jumps = self._builder.reconstruct(
            self._draw(given),
            numbers=given.numbers,
            times=given.past.times,
            state=given.past.state,
            samples=self._job.samples,
            seed=self._job.seed,
            box=given.box,
            obstacles=given.obstacles,
            given=self._atoms(given.sites),
        )
        return _Built(built, built.new_zeros(len(given.sites)), state, n_jumps)


class _OnBeads:
    """Builds structures on beads."""

    def __init__(self, job: ProteinJob, builder: BeadBuilder) -> None:
        self._job, self._builder = job, builder

    def __call__(self, given: _Given) -> _Built:
        """Build atoms."""
        built = self._builder.reconstruct(
            given.sites,
            numbers=given.numbers,
            samples=self._job.samples,
            seed=self._job.seed,
            box=given.box,
            obstacles=given.obstacles,
        )
        return _Built(built.atoms, built.noise_nm, deviation=built.deviation)

    def distance(self, atoms: Tensor, sites: Tensor) -> Tensor:
        """Return the distance of the beads from the image of atoms."""
        return self._builder.image_distance(atoms, sites)

    def strained(self, atoms: Tensor) -> Tensor:
        """Return which residues have strained bonds or wrong chirality."""
        return self._builder.strained(atoms)


class _OnBeadsInSequence(_OnBeads):
    """Builds structures on beads, each given the frame before."""

    def __init__(self, job: ProteinJob, builder: CoherentBeadBuilder) -> None:
        super().__init__(job, builder.beads)
        self._in_sequence = builder

    def __call__(self, given: _Given) -> _Built:
        """Build atoms."""
        assert given.past is not None  # the run gives it to coherent jobs
        built, state, n_jumps = self._in_sequence.reconstruct(
            given.sites,
            numbers=given.numbers,
            times=given.past.times,
            state=given.past.state,
            samples=self._job.samples,
            seed=self._job.seed,
            box=given.box,
            obstacles=given.obstacles,
        )
        return _Built(built.atoms, built.noise_nm, state, n_jumps)


def _open_in_sequence(job: ProteinJob, coherence: Coherence, device: torch.device) -> _InSequence:
    """Load the model of a job that builds coherent frames."""
    from backmap.inference.coherent import CoherentBuilder

    model = job.model.load(device)
    assert isinstance(model, ProteinModel)  # the plan refuses others
    builder = CoherentBuilder(
        model, job.model_topology, job.linked, coherence, device, job.given, job.disulfides
    )
    return _InSequence(job, builder)


def _open_beads(job: ProteinJob, layout: BeadLayout, device: torch.device) -> _OnBeads:
    """Load the models of a job that builds on beads."""
    from backmap.inference.beads import BeadBuilder
    from backmap.models.beads.estimator import CAlphaEstimator

    model = job.model.load(device)
    assert isinstance(model, ProteinModel)  # the plan refuses others
    estimator = None if job.estimator is None else job.estimator.load(device)
    assert estimator is None or isinstance(estimator, CAlphaEstimator)
    builder = BeadBuilder(
        model, job.topology, job.linked, layout, job.c_alphas, estimator, device, job.disulfides, job.best
    )
    if job.coherence is None:
        return _OnBeads(job, builder)
    from backmap.inference.coherent import CoherentBuilder
    from backmap.inference.coherent_beads import CoherentBeadBuilder

    coherent = CoherentBuilder(
        model, job.topology, job.linked, job.coherence, device, disulfides=job.disulfides
    )
    return _OnBeadsInSequence(job, CoherentBeadBuilder(builder, coherent))


def open_reconstructor(job: ProteinJob, device: torch.device) -> Reconstructor:
    """Load the model of a job and prepare it for its protein."""
    loaded, name = job.model.load(device), job.model.name
    if isinstance(loaded, ProteinModel):
        return ProteinBuilder(
            loaded, job.model_topology, job.linked, device, job.given, job.disulfides, job.best
        )
    from backmap.inference.diamondback import DiamondbackBuilder
    from backmap.models.diamondback.model import DiamondbackModel

    assert isinstance(loaded, DiamondbackModel)  # options choose the job by the model's family
    if job.ddim_steps > loaded.config.steps:
        raise InputError(
            f"ddim-steps {job.ddim_steps}: {name} has {loaded.config.steps} steps; ask for fewer"
        )
    try:
        return DiamondbackBuilder(loaded, job.model_topology, job.linked, device, job.ddim_steps, job.redraws)
    except ValueError as error:
        raise InputError(f"{job.name}: {error}") from None


def _open_nucleic(part: NucleicPart, device: torch.device) -> NucleicBuilder:
    """Load the library of a job with nucleic acids."""
    from backmap.inference.nucleic import NucleicBuilder
    from backmap.models.nucleic.library import NucleicLibrary

    library = part.library.load(device)
    assert isinstance(library, NucleicLibrary)  # it is the shipped one
    return NucleicBuilder(library, part.topology, part.layout, device)


def open_frame_builder(job: ProteinJob, device: torch.device | str) -> FrameBuilder:
    """Load the models of a job on a device.

    Raises
    ------
    InputError
        If the model cannot build this protein or is invalid, or an option does not apply to it.
    """
    device = torch.device(device)
    if not job.topology.n_residues:
        return FrameBuilder(job, _NoProtein(job), device)
    if job.beads is not None:
        return FrameBuilder(job, _open_beads(job, job.beads, device), device)
    if job.coherence is not None:
        return FrameBuilder(job, _open_in_sequence(job, job.coherence, device), device)
    return FrameBuilder(job, _OnCAlphas(job, open_reconstructor(job, device), device), device)


class FrameBuilder:
    """Builds the frames of a job. Can be used by several threads at once."""

    def __init__(self, job: ProteinJob, structures: _Structures, device: torch.device) -> None:
        self.job = job
        self._structures = structures
        self._nucleic = None if job.nucleic is None else _open_nucleic(job.nucleic, device)
        topology = job.topology
        self._listed = torch.from_numpy(topology.atom_mask)
        proline = topology.residue_types == RESIDUE_INDEX["PRO"]
        self._hardly_cis = torch.from_numpy(job.linked & ~proline[topology.next_in_chain])
        self._following = torch.from_numpy(topology.next_in_chain)

    @torch.inference_mode()
    def __call__(
        self,
        positions: np.ndarray,
        numbers: np.ndarray,
        box: np.ndarray | None = None,
        past: Past | None = None,
    ) -> BuiltAtoms:
        """Build frames.

        Parameters
        ----------
        positions : ndarray, (frames, sites, 3) float32
            The job's ``sites`` in nm, near the origin, then the beads of nucleic acids, and the obstacles.
        numbers : ndarray, (frames,) int64
            Number of each frame in its trajectory; it determines the random numbers.
        box : ndarray, (frames, 3, 3), optional
            Vectors of periodic boxes in nm, as rows.
        past : Past, optional
            Required for coherent frames.

        Raises
        ------
        InputError
            If a box is invalid, if only some of coherent frames have one, or the model predicts positions
            that are not finite.
        """
        periodic = np.zeros(len(numbers), dtype=bool) if box is None else has_box(box)
        if past is not None and past.state and bool(past.state["boxed"]) != periodic.any():
            self._refuse_mixed_boxes()
        if box is None or not periodic.any():
            reduced = None
        elif periodic.all():
            reduced = torch.from_numpy(reduced_boxes(box, numbers, self.job.name))
        elif past is not None:
            self._refuse_mixed_boxes()
        else:
            return self._build_separately(positions, numbers, box, periodic)
        if self.job.mirrored:
            positions = -positions  # at the origin: the box is its own mirror image
        n_sites = self.job.sites.n_sites
        sites, frames = torch.from_numpy(positions[:, :n_sites]), torch.from_numpy(numbers)
        beside = torch.from_numpy(positions[:, n_sites:])
        nucleic, strained_nucleotides = self._build_nucleic(beside, frames, reduced)
        obstacles = self._obstacles(beside, nucleic)
        built, noise, state, n_jumps, deviation = self._structures(
            _Given(sites, frames, reduced, obstacles, past)
        )
        if not bool(built.isfinite().all()):
            raise InputError(
                f"{self.job.model.name}: predicts positions that are not finite for {self.job.name}; its "
                "weights may be damaged, or it was not trained for such a chain"
            )
        cis = self._count_cis(built[..., SLOT_CA, :].cpu())
        hand = -1.0 if self.job.mirrored else 1.0
        listed = built[:, :, self._listed.to(built.device)] * hand
        finished, failed = None, 0
        if nucleic is not None and self.job.nucleic is not None:
            finished, failed = _finish(hand * nucleic.cpu().numpy(), self.job.nucleic.finishing)
        beside_it = self._fixed_sites(hand * beside.numpy(), finished)
        atoms, failures = _finish(listed.cpu().numpy(), self.job.finishing, beside_it)
        displacement = self._structures.distance(self._finished(built, hand * atoms), sites)
        strained = self._structures.strained(built).cpu().numpy()
        if finished is not None:
            atoms, failures = np.concatenate([atoms, finished], axis=2), failures + failed
        return BuiltAtoms(
            atoms,
            displacement.cpu().numpy(),
            noise.cpu().numpy(),
            strained,
            cis,
            failures,
            state,
            n_jumps,
            strained_nucleotides,
            None if deviation is None else deviation.cpu().numpy(),
        )

    def _build_nucleic(
        self, beside: Tensor, numbers: Tensor, box: Tensor | None
    ) -> tuple[Tensor | None, np.ndarray]:
        """Build the nucleic acids (samples, frames, atoms, 3), and find their strained nucleotides."""
        part = self.job.nucleic
        if self._nucleic is None or part is None:
            return None, np.zeros((self.job.samples, len(beside), 0), dtype=bool)
        beads = beside[:, : part.n_beads]
        if self.job.mirrored:  # nucleic acids have their natural hand
            beads = -beads
        atoms = self._nucleic.reconstruct(
            beads, numbers=numbers, samples=self.job.samples, seed=self.job.seed, box=box
        )
        strained = self._nucleic.strained(atoms).cpu().numpy()
        written = torch.from_numpy(part.topology.written).to(atoms.device)
        listed = atoms[:, :, written]
        return -listed if self.job.mirrored else listed, strained

    def _refuse_mixed_boxes(self) -> NoReturn:
        raise InputError(
            f"{self.job.name}: some frames have a periodic box and others have none; coherent frames need "
            "one in all frames or in none"
        )

    def _obstacles(self, beside: Tensor, nucleic: Tensor | None) -> Obstacles | None:
        """Return the atoms of nucleic acids and the sites of other molecules, if the job has any."""
        part, radii = self.job.nucleic, self.job.obstacle_radii
        if part is None or nucleic is None:
            return None if radii is None else Obstacles(beside.float(), torch.from_numpy(radii).float())
        all_radii = part.radii if radii is None else np.concatenate([part.radii, radii])
        others = beside[:, part.n_beads :].float().expand(self.job.samples, -1, -1, -1)
        positions = torch.cat([nucleic.cpu(), others], dim=2)
        return Obstacles(positions, torch.from_numpy(all_radii).float())

    def _fixed_sites(self, beside: np.ndarray, nucleic: np.ndarray | None) -> FixedSites | None:
        """Return what stays in place beside the protein while it is finished.

        Parameters
        ----------
        beside : ndarray, (frames, beads, 3)
            Beads of nucleic acids, and sites of other molecules.
        nucleic : ndarray, (samples, frames, atoms, 3), optional
            Finished nucleic acids.
        """
        part, radii, samples = self.job.nucleic, self.job.obstacle_radii, self.job.samples
        positions, every = [], []
        if part is not None and nucleic is not None:
            beside = beside[:, part.n_beads :]
            positions.append(nucleic.reshape(-1, *nucleic.shape[2:]))
            every.append(part.radii if part.finished_radii is None else part.finished_radii)
        if radii is not None:
            positions.append(np.tile(beside, (samples, 1, 1)))
            every.append(radii)
        if not positions:
            return None
        return FixedSites(np.concatenate(positions, axis=1), np.concatenate(every))

    def _finished(self, built: Tensor, atoms: np.ndarray) -> Tensor:
        """Return finished atoms in their slots; those that are gone, and without steps all, are as built."""
        places = self.job.finished_places
        if places is None:
            return built
        there = places >= 0
        slots = built.cpu().clone()
        slots[:, :, torch.from_numpy(there)] = torch.from_numpy(atoms[:, :, places[there]]).to(slots)
        return slots

    def _count_cis(self, c_alpha: Tensor) -> np.ndarray:
        """Count cis peptides (residues,) before residues other than proline.

        C-alphas have the shape (..., residues, 3).
        """
        counts = np.zeros(c_alpha.shape[-2], dtype=np.int64)
        distance = torch.linalg.vector_norm(c_alpha[..., self._following, :] - c_alpha, dim=-1)
        cis = (distance < MAX_CIS_CA_DISTANCE_NM) & self._hardly_cis
        counts[self._following.numpy()] = cis.flatten(0, -2).sum(dim=0).numpy()
        return counts

    def _build_separately(
        self, positions: np.ndarray, numbers: np.ndarray, box: np.ndarray, periodic: np.ndarray
    ) -> BuiltAtoms:
        """Build frames with and without a box separately."""
        groups = np.flatnonzero(periodic), np.flatnonzero(~periodic)
        built = [self(positions[group], numbers[group], box[group]) for group in groups]
        order = np.argsort(np.concatenate(groups))
        atoms = np.concatenate([part.atoms for part in built], axis=1)[:, order]
        displacement = np.concatenate([part.displacement for part in built], axis=1)[:, order]
        noise = np.concatenate([part.noise_nm for part in built])[order]
        strained = np.concatenate([part.strained for part in built], axis=1)[:, order]
        cis, failures = built[0].cis + built[1].cis, built[0].failures + built[1].failures
        nucleotides = np.concatenate([part.strained_nucleotides for part in built], axis=1)[:, order]
        known = [part.deviation for part in built if part.deviation is not None]
        return BuiltAtoms(
            atoms,
            displacement,
            noise,
            strained,
            cis,
            failures,
            strained_nucleotides=nucleotides,
            deviation=np.concatenate(known)[order] if known else None,
        )


def _finish(
    atoms: np.ndarray, finishing: Sequence[Finishing], beside: FixedSites | None = None
) -> tuple[np.ndarray, int]:
    """Apply steps to atoms (samples, frames, atoms, 3), beside other molecules, and count failures."""
    if not finishing:
        return atoms, 0
    frames, failures = atoms.reshape(-1, *atoms.shape[2:]).astype(np.float64), 0
    for step in finishing:
        if isinstance(step, FinishingBeside):
            finished = step.apply_beside(frames, beside)
        else:
            finished = step.apply(frames)
        failed = ~np.isfinite(finished).all(axis=(1, 2))
        if failed.any():
            finished[failed] = frames[failed]
            failures += int(failed.sum())
        frames = finished
    return frames.astype(np.float32).reshape(*atoms.shape[:2], *frames.shape[1:]), failures
