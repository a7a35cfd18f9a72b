"""Windows laid on the beads of a chain, and drawn one nucleotide after another."""

from __future__ import annotations

import torch
from torch import Tensor

from backmap.chemistry.nucleic_mapping import PREVIOUS_O3, NucleicLayout
from backmap.chemistry.nucleic_topology import NucleicTopology
from backmap.chemistry.nucleotides import (
    LINK_NM,
    NUCLEOTIDE_SLOTS,
    SLOT_O3,
    SLOT_P,
    spans_of_link,
)
from backmap.models.counter_random import residue_keys, uniform

from .library import WINDOW, NucleicLibrary, kind_of, with_base

_NEAREST = 96
"""Windows whose beads are at the most similar distances; these are superposed."""

_CANDIDATES = 32
"""Superposed windows that explain the beads best, among which one is drawn."""

_MISFIT_NM = 0.03
"""Deviation of a bead that the fit of atoms to beads removes without strain."""

_NEIGHBOUR_WEIGHT = 0.5
"""Beads of neighbours tell less of a nucleotide than its own."""

_LINK_NM = 0.03
"""Deviation of distances across the link that the fit removes without strain."""

_PURPOSE_OF_DRAWS = 71
"""Tells these random numbers from all others of a seed."""

_EXACT = "donot_use_mm_for_euclid_dist"
"""Differences of squares lose the digits of short distances."""


class NucleicDrawer:
    """Draws the atoms of nucleotides.

    For each nucleotide, the windows whose beads resemble its own and its neighbours' are superposed on them.
    One candidate is drawn for each nucleotide, with the probability that the beads and the links to both
    neighbours give it: exactly, by a forward filter along the chain, and backward sampling.

    Parameters
    ----------
    library : NucleicLibrary
        Known windows.
    topology : NucleicTopology
        The nucleotides.
    layout : NucleicLayout
        Their beads.
    device : torch.device or str
        Device to compute on.
    """

    def __init__(
        self,
        library: NucleicLibrary,
        topology: NucleicTopology,
        layout: NucleicLayout,
        device: torch.device | str,
    ) -> None:
        self._topology, self._device = topology, torch.device(device)
        self._beads_of = [
            torch.from_numpy((layout.nucleotides == number).nonzero()[0]).to(device)
            for number in range(topology.n_nucleotides)
        ]
        self._weights = torch.from_numpy(layout.weights).float().to(device)
        self._windows = {}
        for kind in {kind_of(topology.name(number)) for number in range(topology.n_nucleotides)}:
            windows, frequencies = library.windows(kind)
            self._windows[kind] = windows.to(device), frequencies.to(device)
        n_beads = len(layout.names)
        self._reach = 1 if n_beads > topology.n_nucleotides else WINDOW // 2
        self._links = ((SLOT_O3, SLOT_P, LINK_NM), *spans_of_link())
        self._built: dict[tuple[str, str, int], Tensor] = {}

    def draw(self, beads: Tensor, keys: Tensor) -> Tensor:
        """Draw atoms.

        Parameters
        ----------
        beads : Tensor, (frames, beads, 3) float32
            In nm, chains whole.
        keys : Tensor, (samples, frames) int64
            From :func:`backmap.models.counter_random.stream_keys`.

        Returns
        -------
        Tensor, (samples, frames, nucleotides, 23, 3)
            In nm.
        """
        number = self._topology.n_nucleotides
        numbers = torch.arange(number, device=keys.device)
        zero = torch.zeros(1, dtype=torch.int64, device=keys.device)
        uniforms = uniform(residue_keys(keys, numbers), _PURPOSE_OF_DRAWS, zero)[..., 0]
        drawn = beads.new_zeros(*keys.shape, number, NUCLEOTIDE_SLOTS, 3)
        first = 0
        for last in range(number):
            if not self._topology.linked[last] or last == number - 1:
                drawn[:, :, first : last + 1] = self._draw_chain(beads, uniforms, first, last + 1)
                first = last + 1
        return drawn

    def _draw_chain(self, beads: Tensor, uniforms: Tensor, first: int, last: int) -> Tensor:
        """Draw the atoms of the nucleotides from ``first`` to before ``last``, which are linked."""
        candidates, energies = zip(
            *(self._candidates(beads, place, first, last) for place in range(first, last)), strict=True
        )
        forward = [-energies[0]]
        links = []
        for place in range(1, last - first):
            links.append(self._link_energy(candidates[place - 1], candidates[place]))
            arriving = torch.logsumexp(forward[-1][:, :, None] - links[-1], dim=1)
            forward.append(arriving - energies[place])
        samples, frames = uniforms.shape[:2]
        rows = torch.arange(frames, device=beads.device).expand(samples, frames)
        chosen = _choose(forward[-1].expand(samples, -1, -1), uniforms[:, :, last - 1])
        drawn = [candidates[-1][rows, chosen]]
        for place in range(last - first - 2, -1, -1):
            onward = links[place].transpose(1, 2)[rows, chosen]
            chosen = _choose(forward[place] - onward, uniforms[:, :, first + place])
            drawn.append(candidates[place][rows, chosen])
        return torch.stack(drawn[::-1], dim=2)

    def _candidates(self, beads: Tensor, place: int, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Return candidates (frames, candidates, 23, 3) of one nucleotide and their energies in kT."""
        kind = kind_of(self._topology.name(place))
        width = min(2 * self._reach + 1, last - first)
        start = min(max(place - self._reach, first), last - width)
        shift = (WINDOW - width) // 2 - start  # the window's middle, or at chain ends one of its sides
        around = range(start, start + width)
        images, weights = [], []
        for other in around:
            offset = other + shift
            atoms = self._window_atoms(kind, self._topology.name(other), offset)
            before = None
            if offset:
                before = self._windows[kind][0][:, offset - 1, SLOT_O3]
            images.append(_image(atoms, before, self._weights[self._beads_of[other]]))
            own = 1.0 if other == place else _NEIGHBOUR_WEIGHT
            weights += [own] * len(self._beads_of[other])
        known = torch.cat(images, dim=1)
        seen = beads[:, torch.cat([self._beads_of[other] for other in around])]
        weight = seen.new_tensor(weights)
        frequencies = self._windows[kind][1]
        nearest = _nearest(seen, known, weight, frequencies)
        atoms = self._window_atoms(kind, self._topology.name(place), place + shift)
        moved, energy = _superpose(atoms[nearest], known[nearest], seen, weight)
        energy = energy - frequencies[nearest]
        count = min(_CANDIDATES, energy.shape[1])
        energy, best = energy.topk(count, dim=1, largest=False)
        return moved.gather(1, best[:, :, None, None].expand(-1, -1, *moved.shape[2:])), energy

    def _window_atoms(self, kind: str, name: str, offset: int) -> Tensor:
        """Return one nucleotide of all windows (windows, 23, 3), with the base of ``name``."""
        known = self._built.get((kind, name, offset))
        if known is None:
            known = with_base(self._windows[kind][0][:, offset], name)
            self._built[kind, name, offset] = known
        return known

    def _link_energy(self, before: Tensor, after: Tensor) -> Tensor:
        """Return the energies (frames, candidates, candidates) in kT of links between candidates."""
        energy = before.new_zeros(before.shape[0], before.shape[1], after.shape[1])
        for first, second, length in self._links:
            distance = torch.cdist(before[:, :, first], after[:, :, second], compute_mode=_EXACT)
            energy += ((distance - length) / _LINK_NM).square() / 2
        return energy


def _image(atoms: Tensor, before: Tensor | None, weights: Tensor) -> Tensor:
    """Return beads (windows, beads, 3) of atoms (windows, 23, 3) and of O3' before them, if it is known."""
    if before is None:
        weights = torch.cat([weights[:, :PREVIOUS_O3], torch.zeros_like(weights[:, PREVIOUS_O3:])], dim=1)
        weights = weights / weights.sum(dim=1, keepdim=True)
        before = torch.zeros_like(atoms[:, 0])
    return torch.einsum("bs,wsx->wbx", weights, torch.cat([atoms, before[:, None]], dim=1))


def _nearest(seen: Tensor, known: Tensor, weight: Tensor, frequencies: Tensor) -> Tensor:
    """Return the windows (frames, nearest) whose beads are at the distances of those seen."""
    one, other = torch.triu_indices(known.shape[1], known.shape[1], 1, device=known.device)
    scale = (weight[one] * weight[other]).sqrt()
    seen_at, known_at = (
        torch.linalg.vector_norm(points[:, one] - points[:, other], dim=-1) * scale
        for points in (seen, known)
    )
    squared = torch.cdist(seen_at, known_at, compute_mode=_EXACT).square()
    energy = squared / (2 * _MISFIT_NM**2 * max(1, known.shape[1]))
    count = min(_NEAREST, len(known))
    return (energy - frequencies).topk(count, dim=1, largest=False).indices


def _superpose(atoms: Tensor, known: Tensor, seen: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Move atoms (frames, windows, 23, 3) as their beads (frames, windows, beads, 3) are moved to those seen.

    And return how far the beads remain apart, (frames, windows) in kT.
    """
    share = (weight / weight.sum())[:, None]
    centre = (known * share).sum(dim=-2, keepdim=True)
    target = (seen * share).sum(dim=-2, keepdim=True)
    at_origin, aim = known - centre, (seen - target)[:, None]
    covariance = (at_origin * weight[:, None]).mT @ aim
    # Double precision, because the last bits of a decomposition depend on where its arguments lie.
    left, _, right = torch.linalg.svd(covariance.double())
    sign = torch.linalg.det(left @ right)
    right = torch.cat([right[..., :2, :], right[..., 2:, :] * sign[..., None, None]], dim=-2)
    rotation = (left @ right).to(covariance.dtype)
    apart = (at_origin @ rotation - aim).square().sum(dim=-1)
    energy = (apart * weight).sum(dim=-1) / (2 * _MISFIT_NM**2)
    return (atoms - centre) @ rotation + target[:, None], energy


def _choose(log_weights: Tensor, uniforms: Tensor) -> Tensor:
    """Draw one of the last dimension for each uniform number."""
    cumulative = torch.softmax(log_weights, dim=-1).cumsum(dim=-1)
    return (
        torch.searchsorted(cumulative, uniforms[..., None].contiguous())
        .squeeze(-1)
        .clamp_max(log_weights.shape[-1] - 1)
    )
