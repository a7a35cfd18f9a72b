"""Everything that determines the atoms of a protein's frames, as a value to send to other processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import ATOM_SLOTS, RESIDUE_INDEX, SLOT_CA, Topology
from backmap.chemistry.periodic_box import has_box, reduced_boxes
from backmap.errors import InputError
from backmap.inference.c_alphas import CAlphaDrawer, CAlphaRule
from backmap.inference.diamondback import DiamondbackBuilder
from backmap.inference.protein import ProteinBuilder
from backmap.models.chain import Chain
from backmap.models.checkpoint import ModelFile
from backmap.models.diamondback.model import DiamondbackModel
from backmap.models.protein.geometry import MAX_CIS_CA_DISTANCE_NM
from backmap.models.protein.model import ProteinModel

POSITION_DECIMALS = 5
"""Decimals of positions in nm that models receive; files have 3 or 4."""


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
    ) -> Tensor:
        """Build atoms (samples, frames, residues, 15, 3) on C-alphas, both in nm.

        C-alphas have the shape (frames, residues, 3), or (samples, frames, residues, 3) where they differ.
        ``box`` holds the vectors (frames, 3, 3) of periodic boxes, and ``given`` the atoms
        (frames, residues, 15, 3) to keep.
        """


class Finishing(Protocol):
    """A step applied to built frames before they are returned."""

    def apply(self, coordinates: np.ndarray) -> np.ndarray:
        """Process atoms (frames, atoms, 3) in nm; frames for which this fails become NaN."""


@dataclass(frozen=True)
class ProteinJob:
    """How the frames of one protein are built.

    Parameters
    ----------
    name : str
        The protein's file, for messages.
    model : ModelFile
        Any model that builds frames independently.
    topology : Topology
        Residues of every frame.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    samples : int
        Independent structures per frame.
    seed : int
        Seed of the random numbers.
    ddim_steps : int
        Steps of the DDIM sampler, for DiAMoNDBack models; 0 for the published sampler.
    redraws : int, optional
        How often DiAMoNDBack redraws an overlapping residue; by default as the model says.
    given : ndarray, (residues, 15) bool, optional
        Atoms that are given in every frame and kept in place.
    c_alphas : CAlphaRule
        Treatment of C-alphas if no other atoms are given; with given atoms they are kept.
    disulfides : ndarray, (bonds, 2) int64, optional
        Known disulfide bonds, as for :meth:`ProteinModel.draw`; not used by DiAMoNDBack.
    mirrored : bool
        Build mirror images of the frames and mirror the result, which makes D-amino acids.
    finishing : sequence of Finishing
        Steps applied to built frames, in order.
    """

    name: str
    model: ModelFile
    topology: Topology
    linked: np.ndarray
    samples: int = 1
    seed: int = 0
    ddim_steps: int = 0
    redraws: int | None = None
    given: np.ndarray | None = None
    c_alphas: CAlphaRule = CAlphaRule()
    disulfides: np.ndarray | None = None
    mirrored: bool = False
    finishing: Sequence[Finishing] = ()

    @property
    def c_alpha_atoms(self) -> np.ndarray:
        """(residues, 15) bool: the C-alphas."""
        return np.tile(np.arange(ATOM_SLOTS) == SLOT_CA, (self.topology.n_residues, 1))

    @property
    def read(self) -> np.ndarray:
        """(residues, 15) bool: atoms of the input that the frames are built from."""
        return self.c_alpha_atoms if self.given is None else self.given

    def open(self, device: torch.device | str) -> FrameBuilder:
        """Load the model on a device.

        Raises
        ------
        InputError
            If the model cannot build this protein or is invalid, or an option does not apply to it.
        """
        return FrameBuilder(self, open_reconstructor(self, torch.device(device)), torch.device(device))


def open_reconstructor(job: ProteinJob, device: torch.device) -> Reconstructor:
    """Load the model of a job and prepare it for its protein."""
    loaded, name = job.model.load(device), job.model.name
    if isinstance(loaded, ProteinModel):
        return ProteinBuilder(loaded, job.topology, job.linked, device, job.given, job.disulfides)
    assert isinstance(loaded, DiamondbackModel)  # options choose the job by the model's family
    if job.ddim_steps > loaded.config.steps:
        raise InputError(
            f"ddim-steps {job.ddim_steps}: {name} has {loaded.config.steps} steps; ask for fewer"
        )
    try:
        return DiamondbackBuilder(loaded, job.topology, job.linked, device, job.ddim_steps, job.redraws)
    except ValueError as error:
        raise InputError(f"{job.name}: {error}") from None


class BuiltAtoms(NamedTuple):
    """The atoms built for some frames.

    Attributes
    ----------
    atoms : ndarray, (samples, frames, atoms, 3) float32
        In nm, after all finishing steps (hydrogens, minimisation); without steps, the topology's heavy atoms.
    displacement : ndarray, (samples, frames, residues) float32
        Distance by which the model moved each C-alpha, in nm.
    cis : ndarray, (residues,) int64
        Number of structures in which the peptide before a residue other than proline is cis.
    failures : int
        Number of finishing steps that failed and were skipped.
    """

    atoms: np.ndarray
    displacement: np.ndarray
    cis: np.ndarray
    failures: int


class FrameBuilder:
    """Builds the frames of a job. Can be used by several threads at once."""

    def __init__(self, job: ProteinJob, reconstructor: Reconstructor, device: torch.device) -> None:
        self.job = job
        self._reconstructor = reconstructor
        rule = CAlphaRule("keep") if job.given is not None else job.c_alphas
        topology = job.topology
        chain = Chain.from_arrays(topology.residue_types, topology.chain_index, job.linked, device)
        self._c_alphas = CAlphaDrawer(rule, chain)
        self._device = device
        self._listed = torch.from_numpy(topology.atom_mask)
        proline = topology.residue_types == RESIDUE_INDEX["PRO"]
        self._hardly_cis = torch.from_numpy(job.linked[:-1] & ~proline[1:])

    @torch.inference_mode()
    def __call__(
        self, positions: np.ndarray, numbers: np.ndarray, box: np.ndarray | None = None
    ) -> BuiltAtoms:
        """Build frames.

        Parameters
        ----------
        positions : ndarray, (frames, read, 3) float32
            Atoms of the job's ``read`` in nm, near the origin.
        numbers : ndarray, (frames,) int64
            Number of each frame in its trajectory; it determines the random numbers.
        box : ndarray, (frames, 3, 3), optional
            Vectors of periodic boxes in nm, as rows.

        Raises
        ------
        InputError
            If a box is invalid, or the model predicts positions that are not finite.
        """
        periodic = np.zeros(len(numbers), dtype=bool) if box is None else has_box(box)
        if box is None or not periodic.any():
            reduced = None
        elif periodic.all():
            reduced = torch.from_numpy(reduced_boxes(box, numbers, self.job.name))
        else:
            return self._build_separately(positions, numbers, box, periodic)
        if self.job.mirrored:
            positions = -positions  # at the origin: the box is its own mirror image
        c_alpha, given = torch.from_numpy(positions), None
        if self.job.given is not None:
            given = torch.zeros(len(positions), *self.job.given.shape, 3)
            given[:, torch.from_numpy(self.job.given)] = c_alpha
            c_alpha = given[:, :, SLOT_CA]
        beads = c_alpha.to(self._device)
        samples, seed = self.job.samples, self.job.seed
        cell = None if reduced is None else reduced.to(self._device, torch.float32)
        drawn = self._c_alphas.draw(beads, samples=samples, seed=seed, box=cell)
        built = self._reconstructor.reconstruct(
            drawn, numbers=torch.from_numpy(numbers), samples=samples, seed=seed, box=reduced, given=given
        )
        if not bool(built.isfinite().all()):
            raise InputError(
                f"{self.job.model.name}: predicts positions that are not finite for {self.job.name}; its "
                "weights may be damaged, or it was not trained for such a chain"
            )
        displacement = torch.linalg.vector_norm(built[..., SLOT_CA, :] - beads, dim=-1).cpu().numpy()
        cis = self._count_cis(built[..., SLOT_CA, :].cpu())
        if self.job.mirrored:
            built = -built
        atoms, failures = self._finish(built[:, :, self._listed.to(built.device)].cpu().numpy())
        return BuiltAtoms(atoms, displacement, cis, failures)

    def _finish(self, atoms: np.ndarray) -> tuple[np.ndarray, int]:
        """Apply the finishing steps to atoms (samples, frames, atoms, 3), and count failures."""
        if not self.job.finishing:
            return atoms, 0
        frames, failures = atoms.reshape(-1, *atoms.shape[2:]).astype(np.float64), 0
        for step in self.job.finishing:
            finished = step.apply(frames)
            failed = ~np.isfinite(finished).all(axis=(1, 2))
            if failed.any():
                finished[failed] = frames[failed]
                failures += int(failed.sum())
            frames = finished
        return frames.astype(np.float32).reshape(*atoms.shape[:2], *frames.shape[1:]), failures

    def _count_cis(self, c_alpha: Tensor) -> np.ndarray:
        """Count cis peptides (residues,) before residues other than proline.

        C-alphas have the shape (..., residues, 3).
        """
        counts = np.zeros(c_alpha.shape[-2], dtype=np.int64)
        distance = torch.linalg.vector_norm(c_alpha[..., 1:, :] - c_alpha[..., :-1, :], dim=-1)
        cis = (distance < MAX_CIS_CA_DISTANCE_NM) & self._hardly_cis
        counts[1:] = cis.flatten(0, -2).sum(dim=0).numpy()
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
        return BuiltAtoms(
            atoms, displacement, built[0].cis + built[1].cis, built[0].failures + built[1].failures
        )
