"""The temporal model: the next frame from its beads and the previous frames."""

import math
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from backmap.chemistry import LinearMapping, Molecule
from backmap.errors import InputError
from backmap.models.checkpoint import Checkpoint
from backmap.models.configuration import config_from_dict
from backmap.models.normals import normals_from_uniforms
from backmap.models.temporal.config import Representation, TemporalConfig, TemporalDescription
from backmap.models.temporal.internal_autoencoder import InternalAutoencoder
from backmap.models.temporal.latent_mixture import LatentMixture
from backmap.models.temporal.superposition import RigidMotion, move, root_mean_square_distance, superpose
from backmap.models.temporal.voxel_autoencoder import VoxelAutoencoder
from backmap.physics.force_field import ForceField

_FORCE_FIELD_PREFIX = "force_field."


def make_autoencoder(
    config: TemporalConfig, molecule: Molecule, mapping: LinearMapping
) -> VoxelAutoencoder | InternalAutoencoder:
    """Create untrained networks.

    Raises
    ------
    ValueError
        If the representation cannot describe the molecule.
    """
    if config.representation == Representation.VOXELS:
        return VoxelAutoencoder(config.voxels, mapping, config.previous_frames)
    return InternalAutoencoder(config.internal, molecule, mapping, config.previous_frames)


class TemporalModel(nn.Module):
    """Draws all atoms of a frame from its beads and the previous frames.

    Parameters
    ----------
    config : TemporalConfig
        Representation and sizes.
    molecule : Molecule
        Atoms and bonds, in the order of the coordinates.
    mapping : LinearMapping
        Mapping from atoms to beads.
    autoencoder : VoxelAutoencoder or InternalAutoencoder, optional
        Trained networks; new ones by default.

    Attributes
    ----------
    force_field : ForceField or None
        Force field of the training data, if known. Stored in the checkpoint, but not used by the model.
    """

    mapping_weights: Tensor
    bonds: Tensor
    bond_range: Tensor
    residual_limit: Tensor
    library: Tensor

    __jit_unused_properties__ = ["previous_frames", "frame_interval_ps", "reach_nm", "uniforms_per_frame"]
    """For TorchScript: properties that use the configuration."""

    def __init__(
        self,
        config: TemporalConfig,
        molecule: Molecule,
        mapping: LinearMapping,
        autoencoder: VoxelAutoencoder | InternalAutoencoder | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.molecule = molecule
        self.mapping = mapping
        self.autoencoder = autoencoder or make_autoencoder(config, molecule, mapping)
        self.mixture = LatentMixture.standard_normal(config.latent)
        self.force_field: ForceField | None = None
        self.register_buffer(
            "mapping_weights", torch.from_numpy(mapping.weights).to(torch.float32), persistent=False
        )
        bonds = torch.tensor(molecule.bonds, dtype=torch.int64).reshape(-1, 2)
        self.register_buffer("bonds", bonds, persistent=False)
        self.register_buffer("bond_range", torch.tensor([[0.0, torch.inf]]).repeat(len(bonds), 1))
        self.register_buffer("residual_limit", torch.tensor(torch.inf))
        self.register_buffer("library", torch.zeros(0, self.previous_frames + 1, molecule.n_atoms, 3))

    # ---- Properties for users of the model -----------------------------------------------------

    @property
    def previous_frames(self) -> int:
        """Number of previous frames that the model sees."""
        return self.config.previous_frames

    @property
    def frame_interval_ps(self) -> float:
        """Time between the frames of the training data."""
        return self.config.frame_interval_ps

    @property
    def reach_nm(self) -> float:
        """Maximum distance of beads from their centre: half the grid's width, or infinity without a grid."""
        voxels = self.config.representation == Representation.VOXELS
        return self.config.voxels.width_nm / 2 if voxels else math.inf

    @property
    def uniforms_per_frame(self) -> int:
        """Number of uniform random numbers per frame."""
        normals = self.autoencoder.normals_per_frame
        return self.mixture.uniforms_per_code + normals + normals % 2

    # ---- Checkpoints ---------------------------------------------------------------------------

    def to_checkpoint(self, provenance: dict[str, Any]) -> Checkpoint:
        """Return everything needed to run: weights, mixture, library, molecule, mapping, configuration."""
        config = {
            "model": asdict(self.config),
            "molecule": self.molecule.to_dict(),
            "mapping": self.mapping.to_dict(),
        }
        tensors = dict(self.state_dict())
        if self.force_field is not None:
            arrays = self.force_field.to_arrays()
            tensors |= {_FORCE_FIELD_PREFIX + n: torch.from_numpy(array) for n, array in arrays.items()}
        return Checkpoint("temporal", config, tensors, provenance)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint) -> "TemporalModel":
        """Create the model of a checkpoint.

        Raises
        ------
        InputError
            If weights and configuration do not match.
        """
        described = config_from_dict(TemporalDescription, checkpoint.config)
        arrays, tensors = {}, {}
        for name, tensor in checkpoint.tensors.items():
            if name.startswith(_FORCE_FIELD_PREFIX):
                arrays[name.removeprefix(_FORCE_FIELD_PREFIX)] = _as_array(name, tensor)
            else:
                tensors[name] = tensor
        weights = replace(checkpoint, tensors=tensors)
        rows = {name: len(tensor) if tensor.dim() else 0 for name, tensor in tensors.items()}

        def make() -> TemporalModel:
            mapping = LinearMapping.from_dict(asdict(described.mapping))
            model = cls(described.model, described.molecule, mapping)
            components, latent = rows.get("mixture.weights", 0), model.config.latent
            model.mixture = LatentMixture(
                torch.empty(components),
                torch.empty(components, latent),
                torch.empty(components, latent, latent),
            )
            model.library = torch.empty(rows.get("library", 0), *model.library.shape[1:])
            model.force_field = ForceField.from_arrays(arrays) if arrays else None
            if model.force_field is not None and model.force_field.n_atoms != model.molecule.n_atoms:
                raise ValueError("the force field belongs to another molecule")
            return model

        model = weights.build(make)
        weights.load_weights(model, unbounded=("bond_range", "residual_limit"))
        if not (model.mixture.weights.sum() > 0 and (model.mixture.weights >= 0).all()):
            raise InputError("the weights mixture.weights are not probabilities")
        return model

    # ---- Drawing frames ------------------------------------------------------------------------

    def beads_of(self, atoms: Tensor) -> Tensor:
        """Return the beads (..., beads, 3) of atoms (..., atoms, 3)."""
        return torch.matmul(self.mapping_weights.to(atoms.dtype), atoms)

    def seed_frames(self, beads: Tensor) -> Tensor:
        """Return frames to start from: those before the library frame with the most similar beads.

        Parameters
        ----------
        beads : Tensor, (batch, beads, 3)
            Beads of the first frame in nm.

        Returns
        -------
        Tensor, (batch, previous_frames, atoms, 3)
            The newest last, with the library's beads superposed on the given ones.

        Raises
        ------
        InputError
            If the model has no library.
        """
        if len(self.library) == 0:
            raise InputError("the model contains no frames to start from; give some with --seed-from")
        with torch.no_grad():
            known = self.beads_of(self.library[:, -1])
            motion = superpose(known.unsqueeze(0), beads.unsqueeze(1))
            apart = root_mean_square_distance(move(motion, known.unsqueeze(0)), beads.unsqueeze(1))
            nearest = apart.argmin(dim=1, keepdim=True)
            rows = torch.arange(len(beads), device=beads.device).unsqueeze(1)
            onto = RigidMotion(motion.rotation[rows, nearest], motion.translation[rows, nearest])
            return move(onto, self.library[nearest.squeeze(1), :-1])

    def step(self, beads: Tensor, previous: Tensor, uniforms: Tensor, noise: float = 1.0) -> Tensor:
        """Draw the next frame.

        Parameters
        ----------
        beads : Tensor, (batch, beads, 3)
            Beads of the frame in nm, at any position and orientation.
        previous : Tensor, (batch, previous_frames, atoms, 3)
            Previous frames in nm, the newest last.
        uniforms : Tensor, (batch, uniforms_per_frame)
            Random numbers in [0, 1).
        noise : float
            Fraction of the decoder's own noise that is added.

        Returns
        -------
        Tensor, (batch, atoms, 3)
            In nm; its beads have the same centre as the given ones.
        """
        with torch.no_grad():
            codes = self.mixture.uniforms_per_code
            code = self.mixture.draw(uniforms[:, :codes])
            normals = normals_from_uniforms(uniforms[:, codes:])[:, : self.autoencoder.normals_per_frame]
            return self.decode(code, beads, previous, noise * normals)

    def decode(self, code: Tensor, beads: Tensor, previous: Tensor, normals: Tensor | None = None) -> Tensor:
        """Return the frame (batch, atoms, 3) of a latent code (batch, latent); see :meth:`step`."""
        condition = self.autoencoder.condition(beads, previous)
        atoms = self.autoencoder.decode(code, condition, beads, normals).coordinates
        shift = beads.mean(dim=1, keepdim=True) - self.beads_of(atoms).mean(dim=1, keepdim=True)
        return atoms + shift

    @torch.no_grad()
    def encode(self, frame: Tensor, previous: Tensor) -> Tensor:
        """Return mean latent codes (batch, latent) of frames (batch, atoms, 3) given previous ones."""
        return self.autoencoder.encode(self.autoencoder.observe(frame, self.beads_of(frame), previous)).mean

    # ---- Monitoring ----------------------------------------------------------------------------

    def residual(self, atoms: Tensor, beads: Tensor) -> Tensor:
        """Return the root-mean-square distance (batch,) in nm of the atoms' beads from given beads."""
        with torch.no_grad():
            return root_mean_square_distance(self.beads_of(atoms), beads)

    def is_physical(self, atoms: Tensor, beads: Tensor) -> Tensor:
        """Return which frames (batch,) have bonds as in the training data and match their beads."""
        with torch.no_grad():
            first, second = self.bonds.unbind(1)
            length = torch.linalg.vector_norm(atoms[:, first] - atoms[:, second], dim=-1)
            bonded = ((length >= self.bond_range[:, 0]) & (length <= self.bond_range[:, 1])).all(dim=-1)
            return bonded & (self.residual(atoms, beads) <= self.residual_limit)


def _as_array(name: str, tensor: Tensor) -> np.ndarray:
    """Convert a tensor of a force field to an array; numpy does not support all dtypes of torch."""
    if tensor.dtype not in (torch.float64, torch.int64):
        raise InputError(
            f"{name} has dtype {str(tensor.dtype).removeprefix('torch.')}; it must be float64 or int64"
        )
    return tensor.numpy()
