"""A potential from the force-field files of OpenMM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from backmap.chemistry.force_field import ForceField
from backmap.errors import InputError
from backmap.physics.potential import Potential

if TYPE_CHECKING:
    import mdtraj


def potential_from_files(
    topology: mdtraj.Topology, files: Sequence[str], dtype: torch.dtype = torch.float32
) -> Potential:
    """Make the potential of a molecule, without cutoff and without constraints, so that it holds every bond.

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms, hydrogens included, with names the force field knows.
    files : sequence of str
        Files of OpenMM's, ``amber99sbildn.xml`` and ``amber99_obc.xml`` say.
    dtype : torch.dtype
        Of positions and energies.

    Raises
    ------
    InputError
        If OpenMM is missing, or it cannot make a system of these atoms.
    """
    try:
        import openmm.app
    except ImportError as error:
        raise InputError("energies need OpenMM; pip install openmm") from error
    try:
        system = openmm.app.ForceField(*files).createSystem(topology.to_openmm())
        return Potential(ForceField.from_openmm(system), dtype)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the force field {' '.join(files)} cannot be used: {reason}") from error
