"""Compare how molecules move: the implementation of ``backmap evaluate --kinetics``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backmap.errors import InputError
from backmap.evaluation.bond_angle_histograms import bond_lengths, compare_bonds_and_angles
from backmap.evaluation.coherence import compare_coherence
from backmap.evaluation.distributions import SIDES, require_finite
from backmap.evaluation.energy import compare_energies
from backmap.evaluation.free_energy_surface import (
    backbone_torsions,
    compare_surfaces,
    frame_weights,
    periodic_features,
    spanning_edges,
    torsion_edges,
)
from backmap.evaluation.kinetics import NAMES, Kinetics, Lags, compare_kinetics
from backmap.evaluation.kinetics_options import KineticsOptions
from backmap.evaluation.latent_codes import CodeDiversity, correlate_with_energy, diversity_of_codes
from backmap.evaluation.markov_model import TooFewDataError
from backmap.evaluation.shared_atoms import restrict
from backmap.evaluation.side_chain_kinetics import compare_side_chains
from backmap.evaluation.tica import c_alpha_distances, project, thinned
from backmap.evaluation.trajectory_scorecard import System, TrajectoryScorecard
from backmap.evaluation.velocities import compare_velocities
from backmap.io.mdtraj_objects import require_trajectories
from backmap.options import takes_options
from backmap.usual_settings import usual_settings

if TYPE_CHECKING:
    import mdtraj

ONE_FRAME = "the structures of one frame"
DEFAULT_LAG_FRAMES = 5
DEFAULT_LAGS_FRAMES = (1, 2, 5, 10, 20)
SHORTEST_IN_LAGS = 10
"""Default lag times are used only if the longest trajectory is at least this many times longer."""

FEWEST_C_ALPHAS = 3
_SAME_COORDINATES = 0.02
"""Slow components are the same within this fraction of their standard deviation; files round positions."""

EnergyFunction = Callable[[np.ndarray], np.ndarray]
"""Function from positions (frames, atoms, 3) in nm to potential energies (frames,) in kJ/mol."""


@takes_options(KineticsOptions)
def evaluate_trajectory(
    reference: mdtraj.Trajectory | Sequence[mdtraj.Trajectory],
    samples: mdtraj.Trajectory | Sequence[mdtraj.Trajectory],
    *,
    energy: EnergyFunction | None = None,
    codes: np.ndarray | None = None,
    one_frame: mdtraj.Trajectory | None = None,
    **options: Any,
) -> TrajectoryScorecard:
    """Compare sampled trajectories of a molecule with reference trajectories of the same residues.

    If a single residue has both phi and psi, these are the coordinates of the free-energy surface and of the
    Markov states; otherwise, the two slowest components of the C-alpha distances in the reference are used.

    Parameters
    ----------
    reference, samples : mdtraj.Trajectory or sequence of them
        All atoms. Several trajectories of a side are pooled; their lengths may differ. If their atoms differ,
        the heavy atoms that all have are compared, matched by residue and name.
    energy : callable, optional
        Function from positions (frames, atoms, 3) in nm to potential energies (frames,) in kJ/mol, such as
        :func:`energy_function` returns.
    codes : ndarray, (frames, size), optional
        Latent codes of the samples' frames, trajectories concatenated; needs ``energy``.
    one_frame : mdtraj.Trajectory, optional
        Many structures built from the same coarse-grained frame.
    {options}

    Returns
    -------
    TrajectoryScorecard
        ``print(scores.to_table())`` prints it; ``scores.to_json()`` contains everything, figure data
        included.

    Raises
    ------
    InputError
        If residues or times differ, or a trajectory is too short for the asked lag times and states; the
        message says what and where.
    """
    _require_deeptime()
    asked = KineticsOptions(**options)
    sides = {
        side: require_trajectories(given, NAMES[side])
        for side, given in zip(SIDES, (reference, samples), strict=True)
    }
    if not all(sides.values()):
        raise InputError("no trajectory to compare; give at least one reference and one sample")
    with usual_settings():
        return _evaluate(sides, asked, energy=energy, codes=codes, one_frame=one_frame)


def _evaluate(
    sides: dict[str, list[mdtraj.Trajectory]],
    asked: KineticsOptions,
    *,
    energy: EnergyFunction | None,
    codes: np.ndarray | None,
    one_frame: mdtraj.Trajectory | None,
) -> TrajectoryScorecard:
    if codes is not None and energy is None:
        raise InputError(
            "latent codes are compared with energies; give an energy function or force field as well"
        )
    n_given = {side: trajectories[0].n_atoms for side, trajectories in sides.items()}
    sides, one_frame = _on_shared_atoms(sides, one_frame)
    first = sides["reference"][0]
    _require_protein(first.topology)
    if energy is not None and first.n_atoms < max(n_given.values()):
        raise InputError(
            "the sample: has other atoms than the reference, so energies cannot be compared; give the same "
            "atoms (--hydrogens builds hydrogens), or no energy function or force field"
        )
    interval = _frame_interval(sides, asked.frame_interval)
    longest = min(max(map(len, trajectories)) for trajectories in sides.values())
    lags = _lags(interval, asked.lag, asked.lag_times, longest)

    positions = {side: [each.xyz for each in trajectories] for side, trajectories in sides.items()}
    pooled = {side: np.concatenate(each) for side, each in positions.items()}
    labels, coordinates, features, edges, tica_times = _collective(first.topology, positions, lags)
    kinetics, weights, too_few_data = _kinetics(features, lags, asked)
    bonds = _bonds(first.topology)
    elements = [atom.element.symbol for atom in first.topology.atoms]
    energies = {} if energy is None else {side: _energies(energy, pooled[side]) for side in SIDES}
    return TrajectoryScorecard(
        system=System(
            n_atoms=first.n_atoms,
            n_atoms_given=n_given,
            n_frames={side: len(pooled[side]) for side in SIDES},
            n_trajectories={side: len(sides[side]) for side in SIDES},
            interval=interval,
            temperature=asked.temperature,
            coordinates=labels,
            tica_time_scales=tica_times,
            same_c_alphas=tica_times is not None and _same(coordinates),
            seed=asked.seed,
        ),
        geometry=compare_bonds_and_angles(pooled["reference"], pooled["sample"], elements, bonds),
        surface=compare_surfaces(
            {side: np.concatenate(coordinates[side]) for side in SIDES}, weights, edges, asked.temperature
        ),
        velocities=compare_velocities(positions["reference"], positions["sample"], interval),
        coherence=compare_coherence(first.topology, positions, interval),
        side_chains=compare_side_chains(first.topology, positions, lags, asked.seed),
        kinetics=kinetics,
        too_few_data=too_few_data,
        energies=compare_energies(energies["reference"], energies["sample"]) if energies else None,
        latent=None if codes is None else correlate_with_energy(np.asarray(codes), energies["sample"]),
        code_diversity=None if one_frame is None else _code_diversity(one_frame, pooled, bonds),
    )


def _same(coordinates: dict[str, list[np.ndarray]]) -> bool:
    """Return whether both sides have the same coordinates (frames, 2), to the precision of files."""
    reference, sample = (coordinates[side] for side in SIDES)
    if [len(each) for each in reference] != [len(each) for each in sample]:
        return False
    found, expected = np.concatenate(sample), np.concatenate(reference)
    return bool((np.abs(found - expected) < _SAME_COORDINATES * expected.std(axis=0)).all())


def _kinetics(
    features: dict[str, list[np.ndarray]], lags: Lags, asked: KineticsOptions
) -> tuple[Kinetics | None, dict[str, np.ndarray], str | None]:
    """Compare Markov models; return them, weights of the frames, and why there are no models, if so."""
    try:
        kinetics, models = compare_kinetics(
            features, lags, states=asked.states, metastable=asked.metastable, seed=asked.seed
        )
    except TooFewDataError as error:
        if asked.names_a_model:
            raise
        return None, {side: np.ones(sum(map(len, each))) for side, each in features.items()}, str(error)
    weights = {
        side: frame_weights(models.assignments[side], models.main[side].stationary()) for side in SIDES
    }
    return kinetics, weights, None


def energy_function(topology: mdtraj.Topology, force_field: Sequence[str]) -> EnergyFunction:
    """Return a function of positions that computes potential energies with an OpenMM force field.

    Parameters
    ----------
    topology : mdtraj.Topology
        All atoms, including hydrogens, with names that the force field knows.
    force_field : sequence of str
        OpenMM force-field files, such as ``amber99sbildn.xml`` and ``amber99_obc.xml``. Bonds that a
        simulation would constrain keep their energy terms, so that stretching them raises the energy.

    Returns
    -------
    callable
        Function from positions (frames, atoms, 3) in nm to energies (frames,) in kJ/mol, without a cutoff.

    Raises
    ------
    InputError
        If OpenMM is missing or cannot create a system from these atoms.
    """
    import torch

    from backmap.physics import potential_from_files

    potential = potential_from_files(topology, force_field, torch.float64)

    def energies(positions: np.ndarray) -> np.ndarray:
        return potential(torch.as_tensor(positions, dtype=torch.float64)).numpy()

    return energies


def _require_deeptime() -> None:
    try:
        import deeptime  # noqa: F401
    except ImportError as error:
        raise InputError("Markov models need deeptime; install it with `pip install deeptime`") from error


def _on_shared_atoms(
    sides: dict[str, list[mdtraj.Trajectory]], one_frame: mdtraj.Trajectory | None
) -> tuple[dict[str, list[mdtraj.Trajectory]], mdtraj.Trajectory | None]:
    """Restrict everything to the atoms that all have; refuse other residues, and positions not finite."""
    named = {NAMES[side]: trajectories for side, trajectories in sides.items()}
    if one_frame is not None:
        named[ONE_FRAME] = [one_frame]
    shared = restrict(named)
    for name, trajectories in shared.items():
        for trajectory in trajectories:
            require_finite(trajectory.xyz, name)
    return (
        {side: shared[NAMES[side]] for side in sides},
        None if one_frame is None else shared[ONE_FRAME][0],
    )


def _frame_interval(sides: dict[str, list[mdtraj.Trajectory]], given: float | None) -> float:
    """Return the time between frames in ps: as given, or as all trajectories agree."""
    if given is not None:
        return given
    expected: float | None = None
    for side in SIDES:
        for trajectory in sides[side]:
            if len(trajectory) < 2:
                continue
            found = _own_interval(trajectory, NAMES[side])
            expected = found if expected is None else expected
            if not np.isclose(found, expected, rtol=1e-3):
                raise InputError(
                    f"the time between frames differs: {expected:g} ps in the reference and {found:g} ps in "
                    f"{NAMES[side]}; give trajectories with equal spacing"
                )
    if expected is None:
        raise InputError("the reference: has only one frame; give a trajectory")
    return expected


def _own_interval(trajectory: mdtraj.Trajectory, name: str) -> float:
    steps = np.diff(trajectory.time.astype(np.float64))
    interval = float(np.median(steps))
    uneven = np.abs(steps - interval) > 0.01 * abs(interval)
    if interval <= 0.0 or uneven.any():
        frame = int(np.argmax(uneven)) + 1
        raise InputError(
            f"{name}: its frames are not evenly spaced in time (frame {frame}); "
            "give evenly spaced frames, or the frame interval if the times are wrong"
        )
    return interval


def _lags(interval: float, lag: float | None, lag_times: Sequence[float] | None, longest: int) -> Lags:
    main = DEFAULT_LAG_FRAMES if lag is None else _in_frames(lag, interval)
    if lag_times is None:
        others = {count for count in DEFAULT_LAGS_FRAMES if count * SHORTEST_IN_LAGS <= longest}
    else:
        others = {_in_frames(time, interval) for time in lag_times}
    return Lags(interval, main, tuple(sorted({*others, main})))


def _in_frames(time: float, interval: float) -> int:
    frames = round(time / interval)
    if frames < 1 or abs(frames * interval - time) > 1e-3 * interval:
        raise InputError(
            f"the lag time {time:g} ps is not a multiple of the time between frames, {interval:g} ps; "
            f"give for example {max(frames, 1) * interval:g} ps"
        )
    return frames


def _require_protein(topology: mdtraj.Topology) -> None:
    """Refuse molecules without a C-alpha."""
    if not len(topology.select("name CA")):
        raise InputError(
            "the reference: has no C-alphas; kinetics are measured of proteins only, not of nucleic acids or "
            "other molecules, whose structures are evaluated without --kinetics"
        )


def _collective(
    topology: mdtraj.Topology, positions: dict[str, list[np.ndarray]], lags: Lags
) -> tuple[
    tuple[str, str],
    dict[str, list[np.ndarray]],
    dict[str, list[np.ndarray]],
    tuple[np.ndarray, np.ndarray],
    np.ndarray | None,
]:
    """Choose the two coordinates; return names, values, features to cluster, bins, and time scales in ps."""
    torsions = _phi_psi(topology)
    if torsions is not None:
        angles = {side: [backbone_torsions(each, torsions) for each in positions[side]] for side in SIDES}
        features = {side: [periodic_features(each) for each in angles[side]] for side in SIDES}
        return ("phi, degrees", "psi, degrees"), angles, features, torsion_edges(), None
    c_alphas = topology.select("name CA and element C")
    if len(c_alphas) < FEWEST_C_ALPHAS:
        raise InputError(
            f"the reference: has {len(c_alphas)} C-alphas and not exactly one residue with both phi and psi, "
            "so slow coordinates cannot be defined; give a peptide"
        )
    c_alphas = thinned(c_alphas, sum(map(len, positions["reference"])))
    distances = {side: [c_alpha_distances(each, c_alphas) for each in positions[side]] for side in SIDES}
    found = project(distances["reference"], distances["sample"], lags.main)
    components = {"reference": found.reference, "sample": found.samples}
    edges = spanning_edges(np.concatenate(found.reference))
    return ("component 1", "component 2"), components, components, edges, found.time_scales * lags.interval


def _phi_psi(topology: mdtraj.Topology) -> np.ndarray | None:
    """Return the atoms of phi and psi, (2, 4), if exactly one residue has both; otherwise None."""
    from mdtraj.geometry.dihedral import indices_phi, indices_psi

    phi, psi = (
        np.array(found(topology), dtype=np.int64).reshape(-1, 4) for found in (indices_phi, indices_psi)
    )
    return np.concatenate([phi, psi]) if len(phi) == len(psi) == 1 else None


def _bonds(topology: mdtraj.Topology) -> np.ndarray:
    bonds = np.array([[bond[0].index, bond[1].index] for bond in topology.bonds], dtype=np.int64)
    if not len(bonds):
        raise InputError(
            "the reference: its topology contains no bonds between the atoms that are compared; "
            "give all atoms, with CONECT records or standard residue names"
        )
    return bonds


def _energies(energy: EnergyFunction, positions: np.ndarray) -> np.ndarray:
    return np.asarray(energy(positions), dtype=np.float64)


def _code_diversity(
    one_frame: mdtraj.Trajectory, pooled: dict[str, np.ndarray], bonds: np.ndarray
) -> CodeDiversity:
    usual = bond_lengths(pooled["reference"], bonds).mean(axis=0, dtype=np.float64)
    return diversity_of_codes(one_frame.xyz, bonds, usual)
