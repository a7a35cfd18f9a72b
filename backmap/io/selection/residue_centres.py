"""Beads at the centres of residues, told apart from C-alphas by the distances along the chain."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from backmap.chemistry import RESIDUE_NAMES, Topology
from backmap.chemistry.topology import number_steps
from backmap.errors import InputError

_CENTRES_APART_NM = (0.45, 0.75)
"""Centres of neighbouring residues are often this far apart, bonded C-alphas hardly ever."""
_CENTRES_WINDOW, _CENTRES_IN_WINDOW, _CENTRES_SHARE = 12, 4, 0.3

_C_ALPHAS_NM, _CENTRES_NM = (0.3805, 0.0174), (0.52, 0.11)
"""Mean and standard deviation of distances between neighbours, if both are C-alphas or not."""
_MOST_DEVIATIONS = 5.0
_CHANGE_COST = 10.0
"""In nats, of a change between C-alphas and centres from one residue to the next."""

_SHORT_CHAIN = 24
"""Chains of fewer residues are all C-alphas or all centres, and too short for counting distances."""
_NOISY_C_ALPHAS_NM = (_C_ALPHAS_NM[1], 0.03, 0.05, 0.08)
"""Standard deviations that distances between C-alphas may have, the later the less likely."""
_CLEAR = 3.0
"""In nats. Of nine residues of crystal structures, 1 piece in 20 is unclear and 1 in 300 decided wrongly."""
_OFFSETS_NM = {
    "ALA": 0.067, "ARG": 0.249, "ASN": 0.107, "ASP": 0.111, "CYS": 0.090, "GLN": 0.154,
    "GLU": 0.159, "GLY": 0.093, "HIS": 0.167, "ILE": 0.088, "LEU": 0.099, "LYS": 0.171,
    "MET": 0.158, "PHE": 0.190, "PRO": 0.073, "SER": 0.069, "THR": 0.073, "TRP": 0.253,
    "TYR": 0.238, "VAL": 0.067,
}  # fmt: skip
"""From the C-alpha to the centre of mass, on average over crystal structures."""
_SQUARED_BOND_NM2, _PER_SQUARED_OFFSET = 0.1487, 2.62
_DEVIATION_PER_OFFSET, _LEAST_DEVIATION_NM = 0.34, 0.02
"""Of distances between centres: squared mean and standard deviation grow with the offsets of both."""

_RANGES_NAMED = 3


class Division(NamedTuple):
    """Which of the beads of a trace are C-alphas, and which are residue centres.

    Attributes
    ----------
    c_alphas : ndarray, (residues,) bool
        Beads that are C-alphas.
    unclear : ndarray, (residues,) bool
        Beads whose distances decide too little; they are what is more likely.
    """

    c_alphas: np.ndarray
    unclear: np.ndarray

    def messages(self, topology: Topology) -> Iterator[str]:
        """Say what is unclear, and that there are residue centres: one sentence each."""
        if self.unclear.any():
            n_beads = int(self.unclear.sum())
            beads = "1 bead is" if n_beads == 1 else f"{n_beads} beads are"
            where = "" if self.unclear.all() else f" ({_ranges(self.unclear, topology)})"
            kind = "C-alphas" if self.c_alphas[self.unclear].all() else "residue centres"
            yield (
                f"{beads} too few to tell C-alphas from residue centres{where}; taken as {kind}; "
                "say --beads c-alpha or --beads residue-centre"
            )
        clear_centres = ~self.c_alphas & ~self.unclear
        if not clear_centres.any():
            return
        n_c_alphas, n_centres = int(self.c_alphas.sum()), int((~self.c_alphas).sum())
        known = f"{n_centres} beads as residue centres" + (
            f" and {n_c_alphas} as C-alphas" if n_c_alphas else ""
        )
        where = f"; the centres are {_ranges(~self.c_alphas, topology)}" if n_c_alphas else ""
        yield f"read {known}, by their distances{where}"


def divide_trace(distance: np.ndarray, topology: Topology) -> Division:
    """Tell C-alphas from residue centres in a file with one bead per residue.

    Long chains are C-alphas unless many of their distances are those of centres; then the most probable
    division into stretches is found. Short chains are decided together, by the likelihood of all their
    distances; if it decides too little, they are what all long chains are.

    Parameters
    ----------
    distance : ndarray, (residues - 1,)
        From each bead to the next, in nm.
    topology : Topology
        The residues.
    """
    short = np.bincount(topology.chain_index)[topology.chain_index] < _SHORT_CHAIN
    in_long = np.where(short[:-1], np.inf, distance)
    c_alphas, unclear = np.ones(topology.n_residues, dtype=bool), np.zeros(topology.n_residues, dtype=bool)
    if suspect_centres(in_long, topology) is not None:
        c_alphas = find_c_alphas(distance, topology)
    if short.any():
        gain = _gain_of_centres(np.where(short[:-1], distance, np.inf), topology)
        long_ones = np.unique(c_alphas[~short])
        if abs(gain) < _CLEAR and len(long_ones) == 1:
            c_alphas[short] = long_ones[0]
        else:
            c_alphas[short], unclear[short] = gain <= 0, abs(gain) < _CLEAR
    return Division(c_alphas, unclear)


def _gain_of_centres(distance: np.ndarray, topology: Topology) -> float:
    """Return by how many nats distances are more likely if all beads are centres than if all are C-alphas."""
    pairs = np.flatnonzero(_neighbours(distance, topology))
    apart = distance[pairs]
    offsets = np.array([_OFFSETS_NM[name] for name in RESIDUE_NAMES])[topology.residue_types]
    offset = np.hypot(offsets[pairs], offsets[pairs + 1])
    mean = np.sqrt(_SQUARED_BOND_NM2 + _PER_SQUARED_OFFSET * offset**2)
    as_centres = _misfit(apart, mean, np.maximum(_DEVIATION_PER_OFFSET * offset, _LEAST_DEVIATION_NM)).sum()
    as_c_alphas = [
        _misfit(apart, _C_ALPHAS_NM[0], deviation).sum() + math.log(place)
        for place, deviation in enumerate(_NOISY_C_ALPHAS_NM, start=1)
    ]
    return float(min(as_c_alphas) - as_centres)


def suspect_centres(distance: np.ndarray, topology: Topology) -> tuple[int, int] | None:
    """Find where beads are too far apart for C-alphas.

    Parameters
    ----------
    distance : ndarray, (residues - 1,)
        From each bead to the next, in nm.
    topology : Topology
        The residues.

    Returns
    -------
    (int, int) or None
        First and last residue of the range, or None if all beads can be C-alphas.
    """
    pairs = np.flatnonzero(_neighbours(distance, topology) & (distance < _CENTRES_APART_NM[1]))
    far = distance[pairs] > _CENTRES_APART_NM[0]
    window = min(_CENTRES_WINDOW, len(pairs))
    if far.sum() < _CENTRES_IN_WINDOW:
        return None
    in_window = np.convolve(far, np.ones(window, dtype=np.int64), mode="valid")
    (crowded,) = np.nonzero(in_window >= max(_CENTRES_IN_WINDOW, _CENTRES_SHARE * window))
    if not len(crowded):
        return None
    return int(pairs[crowded[0]]), int(pairs[crowded[-1] + window - 1]) + 1


def refuse_residue_centres(distance: np.ndarray, topology: Topology, file: str) -> None:
    """Refuse atoms named CA that are centres of residues in a file that also contains other atoms."""
    suspects = suspect_centres(distance, topology)
    if suspects is None:
        return
    first, last = suspects
    lengths = distance[first:last]
    raise InputError(
        f"{file}: the atoms named CA from {topology.describe(first)} to {topology.describe(last)} are "
        f"{lengths.min():.2f} to {lengths.max():.2f} nm apart, as residue centres are, but C-alphas are "
        "0.38 nm apart; give the positions of the C-alphas, or only the beads, or say --beads c-alpha"
    )


def describe_forced_centres(distance: np.ndarray, topology: Topology) -> str | None:
    """Say that beads which the user calls C-alphas are as far apart as residue centres; None if they are not.

    Parameters
    ----------
    distance : ndarray, (residues - 1,)
        From each bead to the next, in nm.
    topology : Topology
        The residues.
    """
    first, last = suspect_centres(distance, topology) or (0, topology.n_residues - 1)
    pairs = np.arange(topology.n_residues - 1)
    within = np.where((pairs >= first) & (pairs < last), distance, np.inf)
    if _gain_of_centres(within, topology) < _CLEAR:
        return None
    return (
        f"the beads from {topology.describe(first)} to {topology.describe(last)} are "
        f"{np.median(distance[first:last]):.2f} nm apart (median), as residue centres are, but are taken as "
        "C-alphas because of --beads c-alpha; if they are not, leave this option out"
    )


def find_c_alphas(distance: np.ndarray, topology: Topology) -> np.ndarray:
    """Tell C-alphas from residue centres in chains that contain both.

    The most probable division into stretches, by distances between neighbours (Viterbi's algorithm).

    Parameters
    ----------
    distance : ndarray, (residues - 1,)
        From each bead to the next, in nm.
    topology : Topology
        The residues.

    Returns
    -------
    ndarray, (residues,) bool
        Which beads are C-alphas.
    """
    both, other = _misfit(distance, *_C_ALPHAS_NM), _misfit(distance, *_CENTRES_NM)
    bonded = _neighbours(distance, topology)
    cost = np.array([0.0, 0.0])  # of residue centre, C-alpha
    back = np.zeros((topology.n_residues, 2), dtype=np.int64)
    for bond in range(topology.n_residues - 1):
        step = np.zeros((2, 2))
        if bonded[bond]:
            step = np.array([[other[bond], other[bond]], [other[bond], both[bond]]]) + _CHANGE_COST * (
                1 - np.eye(2)
            )
        total = cost[:, None] + step
        back[bond + 1] = total.argmin(axis=0)
        cost = total.min(axis=0)
    state = int(cost.argmin())
    states = np.zeros(topology.n_residues, dtype=bool)
    for residue in range(topology.n_residues - 1, -1, -1):
        states[residue] = bool(state)
        state = int(back[residue, state])
    return states


def _misfit(distance: np.ndarray, mean: np.ndarray | float, deviation: np.ndarray | float) -> np.ndarray:
    off = np.minimum(np.abs(distance - mean) / deviation, _MOST_DEVIATIONS)
    return 0.5 * off**2 + np.log(deviation)


def _neighbours(distance: np.ndarray, topology: Topology) -> np.ndarray:
    """Return which residues (residues - 1,) bool are followed by the next one of their chain."""
    steps = number_steps(topology.residue_numbers, topology.insertion_codes)
    return ~topology.chain_ends[:-1] & (steps == 1) & (distance < 1.0)


def _ranges(marked: np.ndarray, topology: Topology) -> str:
    """Name the first ranges of marked residues (residues,) bool: ``chain A 5 to 78, chain B 1 to 9 ...``."""
    chain = topology.chain_index
    steps = np.diff(np.where(marked, chain, -1), prepend=-1, append=-1)
    begins = np.flatnonzero(marked & (steps[:-1] != 0))
    ends = np.flatnonzero(marked & (steps[1:] != 0))
    named = []
    for first, last in zip(begins[:_RANGES_NAMED].tolist(), ends[:_RANGES_NAMED].tolist(), strict=True):
        name = topology.chain_ids[chain[first]].strip()
        numbers = dict.fromkeys(topology.numbered(residue) for residue in (first, last))
        named.append(f"{f'chain {name} ' if name else ''}{' to '.join(numbers)}")
    return ", ".join(named) + (
        f" and {len(begins) - _RANGES_NAMED} more" if len(begins) > _RANGES_NAMED else ""
    )
