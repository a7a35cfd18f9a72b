"""Coarse-grained force fields in OpenMM."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from backmap.cg.model import CgForceField

if TYPE_CHECKING:
    import openmm


class _AsFunctionOfPositions(torch.nn.Module):
    """The energy of one frame (beads, 3), as OpenMM-Torch asks for it."""

    def __init__(self, force_field: CgForceField) -> None:
        super().__init__()
        self.force_field = force_field

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return self.force_field(positions.float().unsqueeze(0))[0]


def make_openmm_system(force_field: CgForceField) -> openmm.System:
    """Make an OpenMM system of the beads, with their masses and one force.

    The force is a ``TorchForce`` where the package ``openmmtorch`` is installed and loads, which keeps
    positions on a GPU; otherwise it is OpenMM's own ``PythonForce``, which every platform supports.

    Parameters
    ----------
    force_field : CgForceField
        The force field; it holds at its own temperature only.

    Returns
    -------
    openmm.System

    Examples
    --------
    >>> force_field = load_force_field("cgschnet.safetensors")
    >>> system = make_openmm_system(force_field)
    >>> integrator = openmm.LangevinMiddleIntegrator(300, 1.0, 0.004)
    >>> context = openmm.Context(system, integrator)
    >>> context.setPositions(force_field.start[0].numpy())
    """
    import openmm

    system = openmm.System()
    for mass in force_field.graph.masses:
        system.addParticle(float(mass))
    system.addForce(_torch_force(force_field) if _has_openmmtorch() else _python_force(force_field))
    return system


def _has_openmmtorch() -> bool:
    """Whether OpenMM-Torch can be used: its wheels need the CUDA libraries they were built with."""
    if importlib.util.find_spec("openmmtorch") is None:
        return False
    try:
        import openmmtorch  # noqa: F401
    except ImportError:
        return False
    return True


def _torch_force(force_field: CgForceField) -> openmm.Force:
    import openmmtorch

    module = torch.jit.script(_AsFunctionOfPositions(force_field))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "force_field.pt"
        module.save(str(path))
        return openmmtorch.TorchForce(str(path))


def _python_force(force_field: CgForceField) -> openmm.Force:
    import openmm
    from openmm import unit

    def compute(state: openmm.State) -> tuple[float, np.ndarray]:
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        at = torch.from_numpy(np.ascontiguousarray(positions)).to(force_field.scale.dtype)
        energy, forces = force_field.energy_and_forces(at.unsqueeze(0))
        return float(energy[0]), forces[0].double().numpy()

    return openmm.PythonForce(compute)
