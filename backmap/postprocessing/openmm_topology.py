"""OpenMM topologies of listed atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backmap.errors import InputError
from backmap.io import AtomList
from backmap.io.mdtraj_objects import mdtraj_topology

if TYPE_CHECKING:
    import openmm.app


def openmm_topology(atoms: AtomList, purpose: str) -> openmm.app.Topology:
    """Make an OpenMM topology of listed atoms, with their bonds.

    Parameters
    ----------
    atoms : AtomList
        The atoms.
    purpose : str
        The feature that needs OpenMM: the subject of the message if OpenMM is missing.

    Raises
    ------
    InputError
        If OpenMM is not installed.
    """
    try:
        import openmm.app  # noqa: F401
    except ImportError as error:
        raise InputError(f"{purpose} needs OpenMM; pip install openmm") from error
    return mdtraj_topology(atoms).to_openmm()
