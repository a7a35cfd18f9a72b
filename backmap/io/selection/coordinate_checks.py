"""Checks of C-alphas: finite values, duplicates, units, boxes, beads that are not C-alphas, chain breaks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.near_pairs import near_pairs
from backmap.chemistry.sites import Sites
from backmap.chemistry.topology import MAX_LINKED_CA_DISTANCE_NM, TORN_BOND_NM, number_steps
from backmap.errors import InputError, InputWarning

from .nucleic_selection import NucleicAcids
from .other_molecules import NO_OTHERS, OtherMolecules
from .whole_molecules import narrowest_width

MIN_C_ALPHA_DISTANCE_NM = 0.01
"""Two C-alphas closer than this are considered duplicates."""

_STEPS_ALONG_AXIS = 16
"""Most chains have no C-alphas this far apart in order that are as close along an axis."""

MAX_COORDINATE_NM = 1e5
"""No simulation is this large; one flipped bit of an exponent exceeds it."""

MIN_BOX_WIDTH_NM = 2 * 0.38
"""In a narrower box the nearest image of a neighbour is ambiguous."""

NOT_FINITE = "a coordinate is not a finite number; leave that frame out or repair the file"

USUAL_DISTANCE_NM = (0.3, 0.45)
"""Neighbouring C-alphas are 0.38 nm apart (0.29 nm across a cis bond); the median lies in this range."""

_SAME_UNIT = (0.5, 2.0)
_BREAKS_NAMED = 3
_WRONG_UNITS = (
    (10.0, "10 times too long: Angstrom were taken for nm; divide the coordinates by 10"),
    (
        100.0,
        "100 times too long: the coordinates are in picometres or were converted twice; divide them by 100",
    ),
    (0.1, "10 times too short: nm were read as Angstrom; multiply the coordinates by 10"),
    (0.01, "100 times too short: they were converted twice; multiply the coordinates by 100"),
)

_WRAPPED_EXTENT_NM = 2.0
"""Boxes are wider than this; in smaller molecules a break can look like a jump across a boundary."""


@dataclass(frozen=True)
class FrameJudge:
    """Distinguishes sound frames of a protein from damaged ones.

    Parameters
    ----------
    topology : Topology
        The residues.
    sites : Sites
        Atoms that the file has.
    linked : ndarray, (residues,) bool, optional
        Which residues are bonded to their successor; unknown until the first sound frame.
    bond_nm : float
        Median length of these bonds in the first sound frame.
    reach_nm : float
        How much farther apart than C-alphas the leading sites may be, in nm.
    others : OtherMolecules
        Molecules beside the protein that are carried along, whose sites are the last.
    nucleic : NucleicAcids, optional
        Nucleic acids to build, whose beads follow the sites of the protein.
    """

    topology: Topology
    sites: Sites
    linked: np.ndarray | None = None
    bond_nm: float = 0.0
    reach_nm: float = 0.0
    others: OtherMolecules = NO_OTHERS
    nucleic: NucleicAcids | None = None

    def readable(self, positions: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Find the frames (frames,) bool whose positions and boxes have plausible values.

        Parameters
        ----------
        positions : ndarray, (frames, atoms, 3)
            In nm.
        boxes : ndarray, (frames, 3, 3)
            Box vectors in nm, zero where there are none.
        """
        with np.errstate(invalid="ignore"):
            numbers = (np.abs(positions) < MAX_COORDINATE_NM).all(axis=(1, 2))
        return numbers & np.isfinite(boxes).all(axis=(1, 2)) & (narrowest_width(boxes) >= MIN_BOX_WIDTH_NM)

    def sound(self, c_alpha: np.ndarray, readable: np.ndarray) -> np.ndarray:
        """Find the frames (frames,) bool that are readable, whole, in the first frame's unit and not torn.

        Parameters
        ----------
        c_alpha : ndarray, (frames, residues, 3)
            Positions in nm, molecules whole.
        readable : ndarray, (frames,) bool
            From :meth:`readable`.
        """
        sound = readable.copy()
        places = np.flatnonzero(sound)
        sound[places] = self._same_unit(c_alpha[places]) & ~self._torn(c_alpha[places]).any(axis=1)
        if not self.topology.n_residues:
            return sound
        places = np.flatnonzero(sound)
        sound[places] = _coincidences(c_alpha[places])[:, 0] < 0
        return sound

    def refuse(self, positions: np.ndarray, box: np.ndarray, frame: str, file: str) -> NoReturn:
        """Raise an error that explains why a frame is not sound.

        Parameters
        ----------
        positions : ndarray, (sites, 3)
            In nm.
        box : ndarray, (3, 3)
            Its box vectors in nm.
        frame : str
            Name of the frame, for messages: ``frame 7``.
        file : str
            Name of the file.
        """
        raise InputError(f"{file}: {frame}{self._reason(positions, box)}")

    def _reason(self, positions: np.ndarray, box: np.ndarray) -> str:
        describe = self.topology.describe
        if (bad := ~np.isfinite(positions).all(axis=-1)).any():
            return f", {self._describe_site(int(bad.argmax()))}: {NOT_FINITE}"
        if (far := (np.abs(positions) >= MAX_COORDINATE_NM).any(axis=-1)).any():
            site = far.argmax()
            value = positions[site][np.abs(positions[site]).argmax()]
            residue = self._describe_site(int(site))
            return (
                f", {residue}: a coordinate is {value:.3g} nm, which no simulation reaches; "
                "leave that frame out or repair the file"
            )
        if not np.isfinite(box).all():
            return ": its box is not finite; leave that frame out or repair the file"
        if (width := narrowest_width(box[None])[0]) < MIN_BOX_WIDTH_NM:
            return (
                f": its box is {width:.3g} nm wide, less than two bonds of a chain; "
                "give the correct box or none"
            )
        c_alpha = positions[self.sites.leaders]
        if not self._same_unit(c_alpha[None])[0]:
            length = np.median(self._bond_lengths(c_alpha[None]))
            return (
                f": neighbouring C-alphas are {length:.3g} nm apart, but {self.bond_nm:.3g} nm in the first "
                "frame; this frame is damaged, exploded or in another unit: leave it out or convert it"
            )
        (pair,) = _coincidences(c_alpha[None])
        if pair[0] >= 0:
            one, other = map(describe, pair)
            return (
                f": the C-alphas of {one} and {other} are at the same position; remove the duplicate or "
                "repair the file"
            )
        torn = self._torn(c_alpha[None])[0]
        first = int(self._bonds[torn.argmax()])
        length = np.linalg.norm(c_alpha[first + 1] - c_alpha[first])
        count = f"; {torn.sum()} torn bonds in all" if torn.sum() > 1 else ""
        cause = (
            "the chain looks wrapped: give the box"
            if not box.any() and _crosses_extent(c_alpha, first)
            else "the frame is damaged or the simulation exploded; leave it out"
        )
        return (
            f": the bond between {describe(first)} and {describe(first + 1)} is torn "
            f"(C-alphas {length:.3g} nm apart{count}); {cause}"
        )

    def _describe_site(self, site: int) -> str:
        """Name the residue of a site for a message."""
        n_sites = self.sites.n_sites
        n_beads = 0 if self.nucleic is None else self.nucleic.n_beads
        if site >= n_sites + n_beads:
            return self.others.describe(site - n_sites - n_beads)
        if self.nucleic is not None and site >= n_sites:
            return self.nucleic.topology.describe(int(self.nucleic.layout.nucleotides[site - n_sites]))
        return self.topology.describe(self.sites.residues[site])

    @cached_property
    def _bonds(self) -> np.ndarray:
        return np.flatnonzero(self.linked) if self.linked is not None else np.empty(0, dtype=np.int64)

    def _bond_lengths(self, c_alpha: np.ndarray) -> np.ndarray:
        """Return the lengths (frames, bonds) in nm."""
        return np.linalg.norm(c_alpha[:, self._bonds + 1] - c_alpha[:, self._bonds], axis=-1)

    def _same_unit(self, c_alpha: np.ndarray) -> np.ndarray:
        if not len(self._bonds) or not len(c_alpha):
            return np.ones(len(c_alpha), dtype=bool)
        ratio = np.median(self._bond_lengths(c_alpha), axis=1) / self.bond_nm
        return (ratio > _SAME_UNIT[0]) & (ratio < _SAME_UNIT[1])

    def _torn(self, c_alpha: np.ndarray) -> np.ndarray:
        return self._bond_lengths(c_alpha) > TORN_BOND_NM + 2 * self.reach_nm


def _coincidences(c_alpha: np.ndarray) -> np.ndarray:
    """Find two C-alphas closer than ``MIN_C_ALPHA_DISTANCE_NM`` in each frame (frames, residues, 3).

    C-alphas are compared with the next ones along the longest axis, then with those after them, until none
    are within that distance along the axis. Where many are, as in a lattice, cells find the pairs.

    Returns
    -------
    ndarray, (frames, 2) int64
        Residues in ascending order; -1 in frames without such a pair.
    """
    found = np.full((len(c_alpha), 2), -1, dtype=np.int64)
    if not c_alpha.size:
        return found
    axis = int(np.ptp(c_alpha, axis=1).mean(axis=0).argmax())
    order = np.argsort(c_alpha[:, :, axis], axis=1)
    along = np.take_along_axis(c_alpha[:, :, axis], order, axis=1)
    for step in range(1, c_alpha.shape[1]):
        frame, place = np.nonzero(along[:, step:] - along[:, :-step] <= MIN_C_ALPHA_DISTANCE_NM)
        if not len(frame):
            return found
        if step > _STEPS_ALONG_AXIS:
            break
        one, other = order[frame, place], order[frame, place + step]
        apart = np.linalg.norm(c_alpha[frame, one] - c_alpha[frame, other], axis=1)
        hit = apart <= MIN_C_ALPHA_DISTANCE_NM
        found[frame[hit]] = np.sort(np.stack([one[hit], other[hit]], axis=1), axis=1)
        along[frame[hit]] = np.arange(along.shape[1])  # nothing more to find in these frames
    for number in np.flatnonzero(found[:, 0] < 0):
        one, other, _ = near_pairs(c_alpha[number], c_alpha[number], MIN_C_ALPHA_DISTANCE_NM)
        pairs = np.stack([one, other], axis=1)[one < other]
        found[number] = pairs[0] if len(pairs) else -1
    return found


def check_unit(distance: np.ndarray, file: str, reach_nm: float = 0.0) -> None:
    """Refuse coordinates in a unit other than nm.

    Parameters
    ----------
    distance : ndarray, (pairs,)
        Distances between C-alphas of neighbours in a chain, in nm.
    file : str
        Name of the file, for messages.
    reach_nm : float
        How much farther apart than C-alphas they may be, if they are other beads.
    """
    if not len(distance):
        return
    median = float(np.median(distance))
    shortest, longest = USUAL_DISTANCE_NM
    meaning = wrong_unit(median, shortest, longest + reach_nm)
    if meaning:
        raise InputError(
            f"{file}: neighbouring C-alphas are {median:.3g} nm apart instead of 0.38 nm, {meaning}"
        )


def wrong_unit(length: float, low: float, high: float) -> str | None:
    """Return the unit error that explains a length in nm outside its usual range; None if there is none."""
    for factor, meaning in _WRONG_UNITS:
        if low * factor < length < high * factor:
            return meaning
    return None


def refuse_wrapped(
    distance: np.ndarray, c_alpha: np.ndarray, topology: Topology, frame: str, file: str
) -> None:
    """Refuse a chain that jumps from one side of its frame to the other if the box is unknown.

    Parameters
    ----------
    distance : ndarray, (residues - 1,)
        From each C-alpha to the next, in nm.
    c_alpha : ndarray, (residues, 3)
        Positions in nm.
    """
    steps = number_steps(topology.residue_numbers, topology.insertion_codes)
    jumps = ~topology.chain_ends[:-1] & (steps == 1) & (distance > MAX_LINKED_CA_DISTANCE_NM)
    for first in np.flatnonzero(jumps).tolist():
        if _crosses_extent(c_alpha, first):
            raise InputError(
                f"{file}: {frame}: {topology.describe(first)} and {topology.describe(first + 1)} are "
                f"{distance[first]:.3g} nm apart; the chain looks wrapped: give the box, "
                "or make the molecules whole"
            )


def _crosses_extent(c_alpha: np.ndarray, residue: int) -> bool:
    """Return whether a jump across the bounding box of all C-alphas explains where the next C-alpha is."""
    extent = np.ptp(c_alpha, axis=0)
    way = np.abs(c_alpha[residue + 1] - c_alpha[residue])
    through = (extent > _WRAPPED_EXTENT_NM) & (way > extent - MAX_LINKED_CA_DISTANCE_NM)
    return bool(through.any() and (through | (way < MAX_LINKED_CA_DISTANCE_NM)).all())


def warn_of_breaks(linked: np.ndarray, distance: np.ndarray, topology: Topology, file: str) -> None:
    """Warn once about neighbours in a chain that are not bonded, naming the first of them.

    Parameters
    ----------
    linked : ndarray, (residues,) bool
        Which residues are bonded to their successor.
    distance : ndarray, (residues - 1,)
        From each C-alpha to the next, in nm.
    """
    breaks = np.flatnonzero(~linked & ~topology.chain_ends)
    if not len(breaks):
        return
    named = "; ".join(
        f"between {topology.describe(index)} and {topology.describe(index + 1)} "
        f"(C-alphas {distance[index]:.2f} nm apart)"
        for index in breaks[:_BREAKS_NAMED]
    )
    more = f"; and {len(breaks) - _BREAKS_NAMED} more" if len(breaks) > _BREAKS_NAMED else ""
    count = "a chain break" if len(breaks) == 1 else f"{len(breaks)} chain breaks"
    warnings.warn(f"{file}: {count}, built as separate segments: {named}{more}", InputWarning, stacklevel=2)
