"""How fast are forces of a coarse-grained force field, against automatic differentiation?

The force fields have random weights of the usual size. "One by one" is a loop over replicas.
"""

from argparse import Namespace
from functools import partial

import numpy as np
import torch
from compare import arguments, every, measure, report
from torch import Tensor

from backmap.cg.config import CgSchNetConfig, SchNetConfig
from backmap.cg.model import CgForceField
from backmap.cg.tabulated import TabulatedForces
from backmap.chemistry import LinearMapping, Molecule

BOND_NM = 0.38


def chain(n_beads: int) -> CgForceField:
    """A branched chain of beads, one atom each, with terms of every kind."""
    bonds = [(bead, bead + 1) for bead in range(n_beads - 2)] + [(2, n_beads - 1)]
    molecule = Molecule(
        atom_names=tuple(f"C{bead + 1}" for bead in range(n_beads)),
        elements=("C",) * n_beads,
        residue_names=("UNK",) * n_beads,
        residue_numbers=(1,) * n_beads,
        bonds=tuple(bonds),
    )
    config = CgSchNetConfig(network=SchNetConfig(features=32, blocks=2))
    force_field = CgForceField(config, molecule, LinearMapping(np.eye(n_beads), molecule.atom_names))
    prior = force_field.prior
    for parameters, usual in (
        (prior.bond_parameters, [BOND_NM, 1e4]),
        (prior.angle_parameters, [2.0, 50.0]),
        (prior.centre_parameters, [0.3, 50.0]),
    ):
        parameters[:] = torch.tensor(usual)
    prior.torsion_parameters.normal_()
    prior.pair_sigma.fill_(0.3)
    return force_field.eval()


def walks(replicas: int, n_beads: int) -> Tensor:
    """Crooked chains."""
    steps = torch.randn(replicas, n_beads, 3) + torch.tensor([1.5, 0.0, 0.0])
    return (BOND_NM * steps / steps.norm(dim=-1, keepdim=True)).cumsum(1)


def one_by_one(force_field: CgForceField, positions: Tensor) -> list[object]:
    return [force_field.energy_and_forces(replica) for replica in positions.split(1)]


def run(options: Namespace) -> None:
    for n_beads in (6, 10, 100):
        force_field = chain(n_beads).to(options.device)
        native = TabulatedForces(force_field)
        for replicas in (1, 100, 1000) if n_beads < 100 else (1, 10):
            positions = walks(replicas, n_beads).to(options.device)
            few = positions[: min(replicas, 10)]
            of_few = measure("PyTorch, one by one", partial(one_by_one, force_field, few), len(few), options)
            timings = [
                measure("backmap", partial(native.energy_and_forces, positions), replicas, options),
                measure("PyTorch", partial(force_field.energy_and_forces, positions), replicas, options),
                of_few.scaled(replicas // len(few)),
            ]
            title = f"{replicas} replica{'s' * (replicas > 1)} of {n_beads} beads"
            report(title, timings, "replicas", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
