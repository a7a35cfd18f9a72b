"""How fast do temporal models roll 64 trajectories at once: the shipped ones, the published networks?

The published networks run on plain PyTorch densities, each voxel of each particle an exponential of its own,
and on backmap's operators; the shares of voxelization and reduction are measured by themselves.
"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report
from torch import Tensor

from backmap.models.checkpoint import load_model
from backmap.models.shipped import require_model
from backmap.models.temporal import voxel_autoencoder
from backmap.models.temporal.config import TemporalConfig
from backmap.models.temporal.model import TemporalModel
from backmap.ops import reference

TRAJECTORIES = 64


def published(shipped: TemporalModel) -> TemporalModel:
    """The published networks for the same molecule, untrained: as fast as trained ones."""
    model = TemporalModel(TemporalConfig(), shipped.molecule, shipped.mapping).eval()
    return model.to(shipped.mapping_weights.device)


def naive_densities(coordinates: Tensor, out: Tensor, width: float, sigma: float) -> None:
    """Densities as most would write them, then copied to where they belong."""
    out.copy_(reference.voxelize(coordinates, out.shape[-1], width, sigma))


def naive_positions(logits: Tensor, width: float) -> Tensor:
    """First moments on the full grid."""
    return reference.density_to_coordinates(logits, width, True)[0]


def step(model: TemporalModel, beads: Tensor, previous: Tensor) -> Tensor:
    """One frame of all trajectories."""
    uniforms = torch.rand(len(beads), model.uniforms_per_frame, device=beads.device)
    return model.step(beads, previous, uniforms)


def step_naively(model: TemporalModel, beads: Tensor, previous: Tensor) -> Tensor:
    """The same with densities in plain PyTorch."""
    operators = voxel_autoencoder.write_densities, voxel_autoencoder.positions_of
    voxel_autoencoder.write_densities, voxel_autoencoder.positions_of = naive_densities, naive_positions
    try:
        return step(model, beads, previous)
    finally:
        voxel_autoencoder.write_densities, voxel_autoencoder.positions_of = operators


def compare(options: Namespace) -> None:
    shipped = load_model(require_model("alanine-dipeptide"), options.device)
    frames = shipped.library[:TRAJECTORIES]
    beads, previous = shipped.beads_of(frames[:, -1]), frames[:, :-1]
    voxels = load_model(require_model("alanine-dipeptide-voxels"), options.device)
    networks = published(shipped)
    condition = networks.autoencoder.condition(beads, previous)
    logits = torch.randn(TRAJECTORIES, shipped.molecule.n_atoms, *condition.shape[-3:], device=options.device)
    calls = {
        "shipped model": partial(step, shipped, beads, previous),
        "shipped voxel model": partial(step, voxels, beads, previous),
        "published, plain PyTorch densities": partial(step_naively, networks, beads, previous),
        "published, backmap's operators": partial(step, networks, beads, previous),
        "  of it voxelization": partial(networks.autoencoder.condition, beads, previous),
        "  of it reduction": partial(voxel_autoencoder.positions_of, logits, 1.8),
    }
    with torch.inference_mode():
        timings = [measure(name, call, TRAJECTORIES, options) for name, call in calls.items()]
    report("rollout of alanine dipeptide, 64 trajectories", timings, "frames", options)


def main() -> None:
    for options in every(arguments(__doc__)):
        compare(options)


if __name__ == "__main__":
    main()
