"""A potential and its parameters from the force-field files of OpenMM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from backmap.errors import InputError
from backmap.physics.force_field import ForceField
from backmap.physics.potential import Potential

if TYPE_CHECKING:
    import mdtraj
    import openmm


def potential_from_files(
    topology: mdtraj.Topology, files: Sequence[str], dtype: torch.dtype = torch.float32
) -> Potential:
    """Create the potential of a molecule, without a cutoff and without constraints: every bond contributes.

    Parameters
    ----------
    topology, files
        See :func:`force_field_from_files`.
    dtype : torch.dtype
        dtype of positions and energies.

    Raises
    ------
    InputError
        If OpenMM is missing or cannot parametrise these atoms.
    """
    return Potential(force_field_from_files(topology, files), dtype)


def force_field_from_files(
    topology: mdtraj.Topology, files: Sequence[str], *, constrain_hydrogens: bool = False
) -> ForceField:
    """Read the parameters of a molecule, without a cutoff.

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms including hydrogens, with names that the force field knows.
    files : sequence of str
        Force-field files of OpenMM, such as ``amber99sbildn.xml`` and ``amber99_obc.xml``.
    constrain_hydrogens : bool
        Whether bonds to hydrogen are constraints instead of energy terms.

    Raises
    ------
    InputError
        If OpenMM is missing or cannot parametrise these atoms.
    """
    try:
        import openmm.app
    except ImportError as error:
        raise InputError("energies need OpenMM; install it with `pip install openmm`") from error
    constraints = openmm.app.HBonds if constrain_hydrogens else None
    try:
        system = _make_system(topology, files, constraints)
        return ForceField.from_openmm(system)
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"the force field {' '.join(files)} cannot be used: {reason}") from error


def _make_system(topology: mdtraj.Topology, files: Sequence[str], constraints: object) -> openmm.System:
    """Let OpenMM read the files and parametrise a molecule; turn its exceptions into ValueError."""
    import openmm.app

    molecule = topology.to_openmm()
    try:
        return openmm.app.ForceField(*files).createSystem(molecule, constraints=constraints)
    except Exception as error:  # OpenMM raises plain Exception, and its parsers raise anything
        missing = f"an element lacks {error}" if isinstance(error, KeyError) else error
        raise ValueError(missing) from error
