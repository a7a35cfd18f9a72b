"""Simulations with all atoms, to learn from how atoms move."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from backmap.chemistry import Topology
from backmap.io import open_source


@dataclass(frozen=True)
class Simulation:
    """A simulation to learn from.

    Parameters
    ----------
    trajectory, topology : str
        Files with all heavy atoms, or more.
    temperature : float
        In kelvin.
    frame_interval : float
        In ps.
    """

    trajectory: str
    topology: str
    temperature: float = 300.0
    frame_interval: float = 1.0


class Observed(NamedTuple):
    """The frames of a simulation.

    Attributes
    ----------
    atoms : Tensor, (frames, residues, 15, 3)
        In nm.
    present : Tensor, (residues, 15) bool
        Atoms that exist.
    topology : Topology
        The residues.
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    temperature_kelvin : float
        Temperature of the simulation.
    interval_ps : float
        Time between frames.
    """

    atoms: Tensor
    present: Tensor
    topology: Topology
    linked: np.ndarray
    temperature_kelvin: float
    interval_ps: float


def read_simulation(simulation: Simulation, folder: Path) -> Observed:
    """Read a simulation; paths are relative to a folder.

    Raises
    ------
    InputError
        If a file cannot be used, or does not have all heavy atoms.
    """
    source = open_source(folder / simulation.trajectory, folder / simulation.topology)
    source.require_atoms()
    sites = [torch.from_numpy(chunk.coordinates).float() for chunk in source.chunks(1000)]
    atoms = torch.from_numpy(source.sites.in_slots(torch.cat(sites).numpy()))
    present = torch.from_numpy(source.sites.present)
    topology = replace(source.topology, rings=())
    linked = source.linked & ~topology.chain_ends  # rings count as open
    return Observed(atoms, present, topology, linked, simulation.temperature, simulation.frame_interval)
