"""Energies of contacts, from where the atoms of deposited side chains are among others.

Each deposited side chain is ranked among side chains that the network draws, with all other residues as they
were deposited. The energies maximise the probability of the deposited one if packing chose among them: the
conditional likelihood of noise-contrastive estimation (Ma and Collins, EMNLP 2018), in which the network's
probabilities cancel. Where atoms overlap, the energies may add to those of overlaps but not weaken them:
deposited side chains overlap on drawn backbones, which are a little wrong. The problem is convex, and its
data fit in memory as a sparse matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_array, vstack
from torch import Tensor

from backmap.chemistry import ATOM_MASK, ATOM_SLOTS, CHI_MASK, SLOT_CB, SLOT_OXT
from backmap.chemistry.contact_classes import CONTACT_CLASSES, N_CONTACT_CLASSES
from backmap.chemistry.residues import MAX_CHI, UNITED_RADII
from backmap.datasets.residue_environments import Structure
from backmap.limits import Whole
from backmap.models.chain import Chain
from backmap.models.configuration import Factor, Number
from backmap.models.protein.config import ContactConfig
from backmap.models.protein.model import ProteinModel, sites_at_once
from backmap.models.protein.side_chains import measure_torsions

_FIRST = SLOT_CB + 1
"""The first slot whose place depends on a torsion."""

_SITES_AT_ONCE = 64


@dataclass(frozen=True)
class ContactTrainingConfig:
    """How energies of contacts are fitted.

    Attributes
    ----------
    structures : int
        How many are drawn, each with its own backbone and with one that the model draws.
    residues_per_structure : int
        Side chains that are ranked in each.
    candidates : int
        Drawn side chains that each deposited one is ranked among.
    neighbours : int
        Nearest residues whose atoms are seen.
    roughness : float
        Penalty on squared second differences of energies along the knots.
    size : float
        Penalty on squared energies.
    iterations : int
        Most iterations of L-BFGS.
    """

    structures: Number = 300
    residues_per_structure: Number = 150
    candidates: Annotated[int, Whole(1, 256)] = 12
    neighbours: Annotated[int, Whole(1, 512)] = 24
    roughness: Factor = 1e-4
    size: Factor = 2e-6
    iterations: Number = 100


class RankedSideChains(NamedTuple):
    """Side chains to choose from: rows are side chains, the deposited one of each residue first.

    Attributes
    ----------
    knots : csr_array, (residues x choices, pairs of classes x knots)
        Weight of each energy in the energy of a side chain.
    overlaps : ndarray, (residues x choices,)
        Energies of overlaps, which are not fitted.
    choices : int
        Side chains per residue.
    """

    knots: csr_array
    overlaps: np.ndarray
    choices: int


def pair_index() -> np.ndarray:
    """Return the index (classes, classes) of each pair of classes, which has no order."""
    index = np.zeros((N_CONTACT_CLASSES, N_CONTACT_CLASSES), dtype=np.int64)
    rows, columns = np.triu_indices(N_CONTACT_CLASSES)
    index[rows, columns] = index[columns, rows] = np.arange(len(rows))
    return index


class SideChainRanking:
    """Puts deposited side chains among drawn ones.

    Parameters
    ----------
    model : ProteinModel
        Draws side chains; its contacts are not used.
    contacts : ContactConfig
        Reach and knots.
    training : ContactTrainingConfig
        How many side chains, and how much is seen.
    """

    def __init__(self, model: ProteinModel, contacts: ContactConfig, training: ContactTrainingConfig) -> None:
        self.model, self.contacts, self.training = model, contacts, training
        self._pairs = torch.from_numpy(pair_index())
        self._n_features = (int(self._pairs.max()) + 1) * contacts.knots
        self._classes = torch.from_numpy(CONTACT_CLASSES)
        self._radii = torch.tensor(UNITED_RADII, dtype=torch.float32)
        self._mask = torch.from_numpy(ATOM_MASK)

    @torch.no_grad()
    def rank(
        self, structure: Structure, backbone: Tensor, generator: np.random.Generator
    ) -> RankedSideChains | None:
        """Rank side chains on a backbone (residues, 4, 3); None if no residue can be learned from."""
        chain = Chain.from_arrays(
            structure.residue_types, structure.chain_index, structure.linked, backbone.device
        )
        built, known = self._build(structure, chain, backbone, generator)
        rows = torch.nonzero(known).squeeze(-1)
        if len(rows) == 0:
            return None
        chosen = generator.permutation(len(rows))[: self.training.residues_per_structure]
        rows = rows[torch.from_numpy(np.sort(chosen))]
        whole = torch.from_numpy(structure.present[:, :4].all(axis=1))
        atoms = torch.cat([backbone, built[:, 0]], dim=1)
        present = self._mask[chain.types, :SLOT_OXT] & whole.unsqueeze(-1)
        entries, overlaps = [], []
        for part in rows.split(_SITES_AT_ONCE):
            found, overlap = self._meet(part, built[part], atoms, present, chain)
            entries.append(found)
            overlaps.append(overlap)
        choices = built.shape[1]
        return RankedSideChains(vstack(entries, format="csr"), np.concatenate(overlaps), choices)

    def _build(
        self, structure: Structure, chain: Chain, backbone: Tensor, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return side chains (residues, choices, 10, 3), and which residues can be learned from."""
        model, types = self.model, chain.types
        c_beta = model.c_beta(backbone.unsqueeze(0), types)
        sites = model.side_chains.describe(backbone.unsqueeze(0), c_beta, chain)
        hidden = model.side_chains.encode_all(sites, sites_at_once(c_beta))
        present = torch.from_numpy(structure.present)
        torsions, exists = measure_torsions(torch.from_numpy(structure.coordinates), present, types)
        count = self.training.candidates
        numbers = generator.random((len(types), count, MAX_CHI, 2), dtype=np.float32)
        numbers[:, :, 0, 0] = (numbers[:, :1, 0, 0] + np.arange(count, dtype=np.float32) / count) % 1
        uniforms = torch.from_numpy(numbers)
        deposited = torch.where(exists, torsions, torch.nan)
        first = model.side_chains.draw(hidden, types, uniforms[:, :1], deposited)
        drawn = model.side_chains.draw(hidden, types, uniforms)
        built = model.geometry(backbone, c_beta[0], types, torch.cat([first, drawn], dim=1))
        turns = torch.from_numpy(CHI_MASK)[types]
        known = torch.from_numpy(structure.trusted) & present[:, :4].all(dim=1) & turns[:, 0]
        return built, known & (exists == turns).all(dim=1)

    def _meet(
        self, rows: Tensor, choices: Tensor, atoms: Tensor, present: Tensor, chain: Chain
    ) -> tuple[csr_array, np.ndarray]:
        """Return weights of knots and energies of overlaps of side chains (rows, choices, 10, 3)."""
        types, around = chain.types, self._around(rows, atoms, present, chain)
        own = self._mask[types[rows], _FIRST:SLOT_OXT]
        seen = present[around]
        joined = (around == chain.following[rows, None]) | (chain.following[around] == rows[:, None])
        seen[:, :, :SLOT_CB] &= ~joined.unsqueeze(-1)
        n_rows, n_choices = choices.shape[:2]
        moving = choices[:, :, 1:].flatten(1, 2)
        distance = torch.cdist(moving, atoms[around].flatten(1, 2)).unflatten(1, (n_choices, -1))
        near = (distance < self.contacts.reach_nm) & own[:, None, :, None] & seen.flatten(1)[:, None, None]
        row, choice, atom, other = near.nonzero(as_tuple=True)
        length = distance[row, choice, atom, other]
        slots = ATOM_SLOTS - 1
        kinds = types[around].repeat_interleave(slots, dim=1)[row, other]
        slot = other % slots
        last = self.contacts.knots - 1
        place = length.square() * (last / self.contacts.reach_nm**2)
        knot = place.long().clamp_max(last - 1)
        pair = self._pairs[self._classes[types[rows[row]], _FIRST + atom], self._classes[kinds, slot]]
        column, part = pair * self.contacts.knots + knot, place - knot
        at = row * n_choices + choice
        entries = csr_array(
            (
                torch.cat([1 - part, part]).numpy(),
                (torch.cat([at, at]).numpy(), torch.cat([column, column + 1]).numpy()),
            ),
            shape=(n_rows * n_choices, self._n_features),
        )
        touch = self._radii[types[rows[row]], _FIRST + atom] + self._radii[kinds, slot]
        overlap = self.model.packer.strength * (touch - length).clamp_min(0).square()
        return entries, np.bincount(at.numpy(), overlap.numpy(), minlength=n_rows * n_choices)

    def _around(self, rows: Tensor, atoms: Tensor, present: Tensor, chain: Chain) -> Tensor:
        """Return the residues (rows, neighbours) whose side chains are nearest to the C-alphas of rows."""
        side = atoms[:, SLOT_CB:] * present[:, SLOT_CB:, None]
        centre = side.sum(dim=1) / present[:, SLOT_CB:].sum(dim=1, keepdim=True).clamp_min(1)
        centre = torch.where(present[:, SLOT_CB:].any(dim=1, keepdim=True), centre, atoms[:, 1])
        distance = torch.cdist(atoms[rows, 1], centre)
        distance[torch.arange(len(rows)), rows] = torch.inf
        count = min(self.training.neighbours, chain.n_residues - 1)
        return distance.topk(count, largest=False).indices


def fit_contacts(
    ranked: Sequence[RankedSideChains], contacts: ContactConfig, training: ContactTrainingConfig
) -> Tensor:
    """Fit energies of contacts.

    Parameters
    ----------
    ranked : sequence of RankedSideChains
        At least one, from :meth:`SideChainRanking.rank`.
    contacts : ContactConfig
        Reach and knots.
    training : ContactTrainingConfig
        Penalties and iterations.

    Returns
    -------
    Tensor, (classes, classes, knots)
        Energies in kT; zero at the last knot.
    """
    entries = vstack([one.knots for one in ranked], format="csr")
    overlaps = np.concatenate([one.overlaps for one in ranked])
    choices, transposed = ranked[0].choices, entries.T.tocsr()

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        share = _shares(entries, overlaps, choices, values)
        excess = -share
        excess[:, 0] += 1
        gradient = transposed @ excess.ravel().astype(np.float32) / len(share)
        penalty, penalty_gradient = _penalty(values.reshape(-1, contacts.knots), training)
        return _loss(share) + penalty, gradient + penalty_gradient.ravel()

    lowest = np.where(_overlapping(contacts), 0.0, -np.inf)
    highest = np.full_like(lowest, np.inf)
    lowest[:, -1] = highest[:, -1] = 0.0
    found = minimize(
        loss,
        np.zeros(entries.shape[1]),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([lowest.ravel(), highest.ravel()], axis=1),
        options={"maxiter": training.iterations},
    )
    table = found.x.reshape(-1, contacts.knots)[pair_index()]
    return torch.from_numpy(table.astype(np.float32))


def _overlapping(contacts: ContactConfig) -> np.ndarray:
    """Return at which knots (pairs of classes, knots) some atoms of both classes overlap."""
    widest = np.zeros(N_CONTACT_CLASSES)
    there = CONTACT_CLASSES >= 0
    np.maximum.at(widest, CONTACT_CLASSES[there], UNITED_RADII[there])
    rows, columns = np.triu_indices(N_CONTACT_CLASSES)
    distance = contacts.reach_nm * np.sqrt(np.linspace(0, 1, contacts.knots))
    return distance < (widest[rows] + widest[columns])[:, None]


def loss_of_contacts(ranked: RankedSideChains, contacts: Tensor) -> float:
    """Return the mean negative log-likelihood in nats of deposited side chains among the others."""
    index = pair_index()
    values = np.zeros((int(index.max()) + 1, contacts.shape[2]))
    values[index] = contacts.numpy()
    return _loss(_shares(ranked.knots, ranked.overlaps, ranked.choices, values.ravel()))


def _shares(entries: csr_array, overlaps: np.ndarray, choices: int, values: np.ndarray) -> np.ndarray:
    """Return the probabilities (residues, choices) of side chains."""
    energies = (entries @ values.astype(np.float32) + overlaps).reshape(-1, choices)
    weights = np.exp(energies.min(axis=1, keepdims=True) - energies)
    return weights / weights.sum(axis=1, keepdims=True)


def _loss(share: np.ndarray) -> float:
    """Return the mean negative log-likelihood of the first choices."""
    return float(-np.log(np.maximum(share[:, 0], 1e-30)).mean())


def _penalty(values: np.ndarray, training: ContactTrainingConfig) -> tuple[float, np.ndarray]:
    bends = np.diff(values, n=2, axis=1)
    gradient = np.zeros_like(values)
    for shift, factor in enumerate((1.0, -2.0, 1.0)):
        gradient[:, shift : shift + bends.shape[1]] += factor * bends
    value = training.roughness * np.square(bends).sum() + training.size * np.square(values).sum()
    return float(value), 2 * (training.roughness * gradient + training.size * values)
