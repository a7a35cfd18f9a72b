"""``backmap reconstruct`` and ``backmap simulate`` from Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from backmap.errors import InputError, InputWarning
from backmap.io import (
    BeadSource,
    Source,
    beads_from_mdtraj,
    join_chunks,
    open_beads,
    open_source,
    source_from_mdtraj,
    to_mdtraj,
)
from backmap.io.selection.links import read_links
from backmap.io.selection.other_molecules import OthersKept
from backmap.limits import Name, is_path, shown
from backmap.options import takes_options
from backmap.runs.follower import open_follower
from backmap.runs.pipeline import carry_out
from backmap.runs.request import Building, Request
from backmap.runs.run import Outcome
from backmap.runs.simulation import SimulationOutcome
from backmap.runs.simulation import simulate as run_simulation
from backmap.runs.simulation_request import Simulation
from backmap.usual_settings import usual_settings

if TYPE_CHECKING:
    import mdtraj

    from backmap.models.temporal.model import TemporalModel


@takes_options(Building)
def reconstruct(
    trajectory: mdtraj.Trajectory | str | PathLike[str],
    *,
    top: str | PathLike[str] | None = None,
    **options: Any,
) -> mdtraj.Trajectory | list[mdtraj.Trajectory]:
    """Build all atoms of a coarse-grained trajectory in memory.

    For files of any length, use :func:`reconstruct_files`.

    Parameters
    ----------
    trajectory : mdtraj.Trajectory or path
        Either only the beads of the model (C-alphas for proteins), or more atoms, from which the beads are
        taken.
    top : path, optional
        Topology for a trajectory file that contains only coordinates.
    {options}

    Returns
    -------
    mdtraj.Trajectory or list of mdtraj.Trajectory
        All atoms in nm; a list if more than one sample is requested.

    Raises
    ------
    backmap.errors.InputError
        If the input or an option cannot be used; the message says why and what to do.

    Examples
    --------
    >>> atoms = backmap.reconstruct("c_alphas.pdb")
    >>> several = backmap.reconstruct("ca.xtc", top="ca.pdb", samples=5, seed=1)
    """
    asked = Building(**options)
    given_trajectory = _GivenTrajectory(*_checked(trajectory, top))
    with usual_settings():
        follower = open_follower(asked, given_trajectory, side_by_side=True)
        built = list(follower.build(follower.source.chunks(follower.frames_per_batch)))
    if unusual := follower.describe():
        warnings.warn(f"{follower.source.name}: {unusual}", InputWarning, stacklevel=3)
    given = join_chunks([frames.chunk for frames in built])
    coordinates = np.concatenate([frames.coordinates for frames in built], axis=1)
    results = [to_mdtraj(follower.atoms, sample, given.time, given.box) for sample in coordinates]
    return results[0] if asked.samples == 1 else results


@takes_options(Request)
def reconstruct_files(
    input: str | PathLike[str] | Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    **options: Any,
) -> Outcome:
    """Build all atoms from files of any length to files, as ``backmap reconstruct`` does.

    Parameters
    ----------
    input : path or sequence of paths
        Structure or trajectory; for temporal models also several trajectories of the same molecule.
    output : path
        File to write, whose suffix selects the format; a folder if there are several inputs.
    {options}

    Returns
    -------
    Outcome
        The written files, how they were made, and a summary.

    Raises
    ------
    backmap.errors.InputEndsEarly
        After all outputs are written, if an input ends in the middle of a frame.
    backmap.errors.InputError
        If the input or an option cannot be used, or the output cannot be written; the message says why and
        what to do.

    Examples
    --------
    >>> backmap.reconstruct_files("ca.xtc", "atoms.xtc", top="ca.pdb", resume=True).summary
    """
    given: dict[str, Any] = {"input": input, "output": output, **options}
    outcome = carry_out(Request(**given))
    if outcome.early_end is not None:
        raise outcome.early_end
    return outcome


@takes_options(Simulation)
def simulate(
    force_field: str | PathLike[str], output: str | PathLike[str], **options: Any
) -> SimulationOutcome:
    """Simulate a coarse-grained molecule, as ``backmap simulate`` does.

    Parameters
    ----------
    force_field : str or path
        Name of a shipped force field, or a file from ``backmap train cgschnet``.
    output : path
        Trajectory of beads, whose suffix selects the format; each of several replicas gets a file with its
        number.
    {options}

    Returns
    -------
    SimulationOutcome
        The written files, the replicas that fell apart, and a summary.

    Raises
    ------
    backmap.errors.InputError
        If the force field, the start or an option cannot be used, the output cannot be written, or all
        replicas fall apart; the message says why and what to do.

    Examples
    --------
    >>> backmap.simulate("cgschnet.safetensors", "beads.dcd", replicas=100, frames=4000).summary
    """
    given: dict[str, Any] = {"force_field": force_field, "output": output, **options}
    return run_simulation(Simulation(**given))


def _checked(trajectory: Any, top: Any) -> tuple[mdtraj.Trajectory | str, str | None]:
    """Refuse anything but a trajectory or a file name, and a topology where one is already known."""
    import mdtraj

    if top is not None:
        top = Name().check(top, "top")
    if isinstance(trajectory, mdtraj.Trajectory):
        if top is not None:
            raise InputError(f"top {shown(top)}: an mdtraj.Trajectory already has a topology; leave top out")
        return trajectory, None
    if not is_path(trajectory):
        raise InputError(f"trajectory is {shown(trajectory)}; give an mdtraj.Trajectory or a file name")
    return os.fspath(trajectory), top


class _GivenTrajectory:
    """Opens the input of :func:`reconstruct`."""

    def __init__(self, trajectory: mdtraj.Trajectory | str, top: str | None) -> None:
        self._trajectory, self._top = trajectory, top

    def protein(self, asked: Building, others: OthersKept) -> Source:
        names: dict[str, Any] = {
            "skip_unknown": asked.skip_unknown,
            "sequence": asked.sequence,
            "beads": asked.beads,
            "residue_file": asked.residues,
            "others": others,
            "nucleic_beads": asked.nucleic_beads,
            "links": read_links(asked.link or ()),
        }
        if isinstance(self._trajectory, str):
            return open_source(self._trajectory, self._top, **names)
        return source_from_mdtraj(self._trajectory, **names)

    def beads(self, model: TemporalModel) -> BeadSource:
        if isinstance(self._trajectory, str):
            return open_beads(self._trajectory, model.molecule, model.mapping, self._top)
        return beads_from_mdtraj(self._trajectory, model.molecule, model.mapping)
