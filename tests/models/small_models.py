"""A small model of each family with random weights, as checkpoint and as file; and frames built with it."""

from __future__ import annotations

import numpy as np
import torch
from safetensors.torch import save

from backmap.chemistry import Topology
from backmap.inference.protein_job import ProteinJob
from backmap.inference.temporal_job import TemporalJob
from backmap.models.checkpoint import Checkpoint, metadata_of, to_checkpoint
from backmap.models.model_file import ModelFile
from backmap.models.protein.config import PackingConfig, PeptidePlaneConfig, ProteinConfig, SideChainConfig
from backmap.models.protein.model import ProteinModel
from backmap.models.temporal.config import InternalConfig, TemporalConfig, VoxelConfig
from backmap.models.temporal.model import TemporalModel
from backmap.physics.force_field import ForceField
from tests.models.conftest import helix
from tests.models.diamondback.small import make_model
from tests.models.temporal.dipeptide import dipeptide, following_frames
from tests.proteins import c_alpha_sites

SMALL_PROTEIN = ProteinConfig(
    PeptidePlaneConfig(neighbours=3, neighbour_width=8, queries=1, trunk_width=8, head_width=8),
    SideChainConfig(neighbours=3, neighbour_width=8, queries=1, trunk_width=8, head_width=8),
    PackingConfig(candidates=2, sweeps=1),
)
SMALL_TEMPORAL = {
    "internal": TemporalConfig(
        "internal-coordinates", internal=InternalConfig(hidden=8, layers=1, latent=4, regression=True)
    ),
    "voxels": TemporalConfig("voxels", voxels=VoxelConfig(grid_points=4, channels=2, latent=8)),
    "separable": TemporalConfig(
        "voxels",
        voxels=VoxelConfig(
            grid_points=4,
            sigma_nm=0.22,
            channels=4,
            latent=4,
            network="separable",
            orientation="beads",
            hidden=8,
            layers=1,
        ),
    ),
}
NAMES = ("protein", "compact", "unet", "internal", "voxels", "separable")


def small_checkpoint(name: str) -> Checkpoint:
    """A model of one kind, with random weights."""
    torch.manual_seed(1)
    if name == "protein":
        return to_checkpoint("protein", SMALL_PROTEIN, ProteinModel(SMALL_PROTEIN), {})
    if name in SMALL_TEMPORAL:
        return _temporal(SMALL_TEMPORAL[name]).to_checkpoint({})
    model = make_model(name)
    return to_checkpoint("diamondback", model.config, model, {})


def _temporal(config: TemporalConfig) -> TemporalModel:
    molecule, mapping, _ = dipeptide()
    model = TemporalModel(config, molecule, mapping).eval()
    frame, previous = following_frames(9)
    if config is not SMALL_TEMPORAL["voxels"]:
        model.autoencoder.fit(frame, previous)
    if config.representation == "internal-coordinates":
        model.force_field = _force_field(molecule.n_atoms)
    model.library = torch.cat([previous, frame.unsqueeze(1)], dim=1)
    return model


def _force_field(atoms: int) -> ForceField:
    """One term of each kind."""
    shapes = {"bonds": 2, "angles": 3, "torsions": 4, "harmonic_torsions": 4, "correction_torsions": 8}
    arrays = {name: np.arange(size)[None] for name, size in shapes.items()}
    arrays |= {name: np.arange(2)[None] for name in ("exceptions", "constraints")}
    arrays |= {"correction_index": np.zeros(1, np.int64), "kinds": np.zeros(atoms, np.int64)}
    parameters = {"bond": 2, "angle": 2, "torsion": 3, "harmonic_torsion": 2, "exception": 3}
    arrays |= {f"{name}_parameters": np.ones((1, size)) for name, size in parameters.items()}
    arrays |= {"correction_maps": np.zeros((1, 4, 4)), "constraint_lengths": np.ones(1)}
    arrays |= {name: np.ones((1, 1)) for name in ("repulsion", "attraction")}
    return ForceField.from_arrays(arrays | {"masses": np.ones(atoms), "charges": np.zeros(atoms)})


def to_bytes(checkpoint: Checkpoint, **metadata: str) -> bytes:
    """The content of a model file, some of its metadata changed."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in checkpoint.tensors.items()}
    return save(tensors, metadata_of(checkpoint) | metadata)


def build(data: bytes) -> np.ndarray:
    """All atoms that the model in a file builds of two short frames."""
    file = ModelFile("small", data)
    if file.family == "temporal":
        return _roll_out(file)
    topology = Topology.from_sequences("ACFGK")
    job = ProteinJob("short", file, topology, topology.linked(), c_alpha_sites(topology))
    c_alpha = (helix(5) - helix(5).mean(0)).expand(2, -1, -1).numpy()
    return job.open("cpu")(c_alpha, np.arange(2)).atoms


def _roll_out(file: ModelFile) -> np.ndarray:
    roller = TemporalJob(file).open("cpu")
    frames, _ = following_frames(2)
    beads = roller.model.mapping.apply(frames.numpy())
    if len(beads[0]) != 6:
        return np.zeros(1)
    rolled, _ = roller((0,), None, [beads], [np.arange(2)])
    return rolled[0].coordinates
