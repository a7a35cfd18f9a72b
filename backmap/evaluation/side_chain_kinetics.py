"""How long side-chain torsions stay in their wells: one small Markov model for each torsion and side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .distributions import SIDES
from .kinetics import NAMES, Lags
from .markov_model import (
    Interval,
    TooFewDataError,
    agrees,
    estimate,
    is_determined,
    posterior,
    time_scale_interval,
)
from .moving_parts import moving_parts, torsion_angles

if TYPE_CHECKING:
    import mdtraj

N_WELLS = 3
"""From 0 to 120, 120 to 240 and 240 to 360 degrees, as about bonds between saturated atoms."""

WITH_WELLS: dict[str, tuple[str, ...]] = {
    "chi1": tuple("ARG ASN ASP CYS GLN GLU HIS ILE LEU LYS MET PHE SER THR TRP TYR VAL".split()),
    "chi2": tuple("ARG GLN GLU ILE LEU LYS MET".split()),
}
"""Residue types whose torsions have these wells."""


@dataclass(frozen=True)
class SideChain:
    """The slowest process of one torsion.

    Attributes
    ----------
    label : str
        Such as ``LEU20 chi1``.
    time_scale : dict of str to Interval
        Implied time scale in ps, by side; NaN if no well is left and entered again.
    agrees : bool or None
        Whether the sample's time scale lies in the reference's interval; None for too few data.
    """

    label: str
    time_scale: dict[str, Interval]
    agrees: bool | None


@dataclass(frozen=True)
class SideChainKinetics:
    """Time scales of side-chain torsions.

    Attributes
    ----------
    lag : float
        ps.
    torsions : list of SideChain
        Those with enough data in the reference first, the slowest of them first.
    n_judged, n_agreeing : int
        Numbers of torsions with enough data on both sides, and of those that agree.
    """

    lag: float
    torsions: list[SideChain]
    n_judged: int
    n_agreeing: int


def compare_side_chains(
    topology: mdtraj.Topology, positions: Mapping[str, Sequence[np.ndarray]], lags: Lags, seed: int
) -> SideChainKinetics | None:
    """Compare how fast side-chain torsions change their wells.

    Parameters
    ----------
    topology : mdtraj.Topology
        Of the atoms of both sides.
    positions : dict of str to sequence of ndarray, (frames, atoms, 3)
        Trajectories by side, nm.
    lags : Lags
        The main lag time is used.
    seed : int
        Seed of the posterior samples.

    Returns
    -------
    SideChainKinetics or None
        None without side chains that turn about bonds between saturated atoms.
    """
    parts = moving_parts(topology)
    found = []
    for name, types in WITH_WELLS.items():
        if name not in parts.torsions:
            continue
        torsions = parts.torsions[name]
        chosen = np.flatnonzero(np.isin(torsions.residue_types, types))
        wells = {side: [_wells(each, torsions.atoms[chosen]) for each in positions[side]] for side in SIDES}
        for column, residue in enumerate(torsions.residues[chosen].tolist()):
            own = {side: [each[:, column] for each in wells[side]] for side in SIDES}
            found.append(_side_chain(f"{parts.labels[residue]} {name}", own, lags, seed))
    if not found:
        return None
    found.sort(key=_slowest_first)
    judged = [each.agrees for each in found if each.agrees is not None]
    return SideChainKinetics(lags.main * lags.interval, found, len(judged), sum(judged))


def _wells(positions: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    """Return the well of each torsion, (frames, torsions) int32."""
    turned = torsion_angles(positions, atoms) % 360.0 // (360.0 / N_WELLS)
    return np.minimum(turned, N_WELLS - 1).astype(np.int32)


def _side_chain(label: str, wells: Mapping[str, Sequence[np.ndarray]], lags: Lags, seed: int) -> SideChain:
    scales = {side: _time_scale(wells[side], lags, seed, NAMES[side]) for side in SIDES}
    return SideChain(label, scales, agrees(scales["reference"], scales["sample"], lags.main * lags.interval))


def _time_scale(wells: Sequence[np.ndarray], lags: Lags, seed: int, name: str) -> Interval:
    """Return the slowest implied time scale of one torsion in ps."""
    try:
        model = estimate(wells, lags.main, N_WELLS, name)
    except TooFewDataError:
        return Interval(*np.full(3, np.nan))
    slowest = time_scale_interval(model, posterior(model, seed))
    return Interval(*(values[0] * lags.interval for values in (slowest.value, slowest.low, slowest.high)))


def _slowest_first(torsion: SideChain) -> tuple[bool, float]:
    reference = torsion.time_scale["reference"]
    return not is_determined(reference), -float(np.nan_to_num(reference.value))
