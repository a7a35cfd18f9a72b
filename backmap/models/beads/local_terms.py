"""Bonds, angles and exclusions of any protein, from those of its residues. Can be compiled by TorchScript."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from backmap.chemistry import ATOM_MASK, ATOM_SLOTS, RESIDUE_NAMES, SLOT_C, SLOT_N, SLOT_OXT, Topology
from backmap.chemistry.penalty_terms import PenaltyTerms, penalty_terms
from backmap.chemistry.residues import CONTACT_RADII
from backmap.models.chain import Chain

_N_TYPES = len(RESIDUE_NAMES)


class LocalTerms(nn.Module):
    """Puts together what :func:`backmap.chemistry.penalty_terms` lists for a protein.

    No term reaches beyond neighbours in the chain: tables of all residues and of all pairs of residues are
    enough. Entries are padded with -1. Each names two atoms as slots; those of a pair's second residue follow
    the 15 of the first.
    """

    atom_mask: Tensor
    radii: Tensor
    bonds: Tensor
    bond_lengths: Tensor
    terminal_lengths: Tensor
    peptide_lengths: Tensor
    spans: Tensor
    span_lengths: Tensor
    exclusions: Tensor
    spans_across: Tensor
    span_lengths_across: Tensor
    exclusions_across: Tensor
    slots: Final = ATOM_SLOTS
    slot_c: Final = SLOT_C
    slot_n: Final = SLOT_N
    slot_oxt: Final = SLOT_OXT

    def __init__(self) -> None:
        super().__init__()
        kinds = np.arange(_N_TYPES)
        first, second = (part.ravel() for part in np.meshgrid(kinds, kinds, indexing="ij"))
        single, pairs = _terms_of(kinds[:, None]), _terms_of(np.stack([first, second], axis=1))
        own, across = _Entries(single, 1), _Entries(pairs, 2)
        tables = {
            "atom_mask": ATOM_MASK,
            "radii": CONTACT_RADII.astype(np.float32),
            **own.table("bonds", "bond_lengths", own.without_oxt),
            "terminal_lengths": own.table("bonds", "bond_lengths", own.with_oxt)["bond_lengths"][:, 0],
            "peptide_lengths": across.table("bonds", "bond_lengths", across.between)["bond_lengths"][:, 0],
            **own.table("spans", "span_lengths", own.every),
            **own.table("exclusions", "", own.every),
            **{
                f"{name}_across": rows
                for name, rows in across.table("spans", "span_lengths", across.between).items()
            },
            "exclusions_across": across.table("exclusions", "", across.between)["exclusions"],
        }
        for name, table in tables.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(table)), persistent=False)

    def forward(self, chain: Chain) -> dict[str, Tensor]:
        """Return the terms of a protein by name, in the order of :func:`backmap.chemistry.penalty_terms`.

        ``present`` has an OXT at the end of each segment; bonds and angles only have those of chain ends.
        """
        ends = torch.ones_like(chain.linked)
        ends[:-1] = chain.chain_index[1:] != chain.chain_index[:-1]
        ends &= ~chain.closing
        before = torch.nonzero(chain.linked).squeeze(-1)
        after = chain.following[before]
        pair = chain.types[before] * self.atom_mask.shape[0] + chain.types[after]
        present = self.atom_mask[chain.types]
        present[:, self.slot_oxt] = ~chain.linked
        bonds, lengths = self._bonds(chain, ends, before, after, pair)
        angle_ends, spans = self._spans(chain, ends, before, after, pair)
        start, excluded = self._exclusions(chain, ends, before, after, pair)
        return {
            "present": present,
            "bonds": bonds,
            "bond_lengths": lengths,
            "angle_ends": angle_ends,
            "angle_spans": spans,
            "radii": self.radii[chain.types],
            "exclusion_start": start,
            "exclusions": excluded,
        }

    def _bonds(
        self, chain: Chain, ends: Tensor, before: Tensor, after: Tensor, pair: Tensor
    ) -> tuple[Tensor, Tensor]:
        slots = self.bonds[chain.types]
        there = slots[..., 0] >= 0
        within = (slots + self._first_atom(chain)[:, None, None])[there]
        last = torch.nonzero(ends).squeeze(-1)
        terminal = torch.stack([last * self.slots + self.slot_c, last * self.slots + self.slot_oxt], dim=1)
        peptide = torch.stack([before * self.slots + self.slot_c, after * self.slots + self.slot_n], dim=1)
        lengths = [
            self.bond_lengths[chain.types][there],
            self.terminal_lengths[chain.types[last]],
            self.peptide_lengths[pair],
        ]
        return torch.cat([within, terminal, peptide]), torch.cat(lengths)

    def _spans(
        self, chain: Chain, ends: Tensor, before: Tensor, after: Tensor, pair: Tensor
    ) -> tuple[Tensor, Tensor]:
        slots, across = self.spans[chain.types], self.spans_across[pair]
        there, joined = self._occur(slots, ends), across[..., 0] >= 0
        within = (slots + self._first_atom(chain)[:, None, None])[there]
        between = self._flat_across(across, before, after)[joined]
        lengths = torch.cat([self.span_lengths[chain.types][there], self.span_lengths_across[pair][joined]])
        atoms = torch.cat([within, between]).sort(dim=1).values
        order = torch.argsort(atoms[:, 0] * (chain.n_residues * self.slots) + atoms[:, 1])
        return atoms[order], lengths[order]

    def _exclusions(
        self, chain: Chain, ends: Tensor, before: Tensor, after: Tensor, pair: Tensor
    ) -> tuple[Tensor, Tensor]:
        slots, across = self.exclusions[chain.types], self.exclusions_across[pair]
        within = (slots + self._first_atom(chain)[:, None, None])[self._occur(slots, ends)]
        between = self._flat_across(across, before, after)[across[..., 0] >= 0]
        n_atoms = chain.n_residues * self.slots
        atoms = torch.cat([within, between])
        atoms = atoms[torch.argsort(atoms[:, 0] * n_atoms + atoms[:, 1])]
        counts = torch.bincount(atoms[:, 0], minlength=n_atoms)
        start = torch.cat([torch.zeros_like(counts[:1]), counts.cumsum(0)])
        return start, atoms[:, 1].contiguous()

    def _occur(self, slots: Tensor, ends: Tensor) -> Tensor:
        """Return which entries (residues, entries) exist: those with OXT only at the ends of chains."""
        terminal = (slots == self.slot_oxt).any(dim=-1)
        return (slots[..., 0] >= 0) & (ends[:, None] | ~terminal)

    def _first_atom(self, chain: Chain) -> Tensor:
        return torch.arange(chain.n_residues, device=chain.types.device) * self.slots

    def _flat_across(self, slots: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Return flat atoms of slots (pairs, entries, 2); the second residue's slots follow the first's."""
        residue = torch.where(slots < self.slots, before[:, None, None], after[:, None, None])
        return residue * self.slots + torch.remainder(slots, self.slots)


def _terms_of(chains: np.ndarray) -> PenaltyTerms:
    """Return the terms of chains (chains, length) of residue types, all of one length."""
    number, length = chains.shape
    index = np.repeat(np.arange(number), length)
    topology = Topology(chains.ravel(), index, ("",) * number, np.tile(np.arange(1, length + 1), number))
    return penalty_terms(topology, dtype=np.float32)


class _Entries:
    """Terms of chains of one length, to be put in tables, one row per chain."""

    def __init__(self, terms: PenaltyTerms, length: int) -> None:
        counts = np.diff(terms["exclusion_start"])
        partners = np.repeat(np.arange(len(counts)), counts)
        self._atoms = {
            "bonds": terms["bonds"],
            "spans": terms["angle_ends"],
            "exclusions": np.stack([partners, terms["exclusions"]], axis=1),
        }
        self._lengths = {"bond_lengths": terms["bond_lengths"], "span_lengths": terms["angle_spans"]}
        self._slots = length * ATOM_SLOTS
        self._rows = len(counts) // self._slots

    def table(
        self, name: str, lengths: str, chosen: Callable[[np.ndarray], np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return some of the terms as slots (chains, entries, 2), and their lengths (chains, entries)."""
        atoms = self._atoms[name]
        chain, slots = atoms[:, 0] // self._slots, atoms % self._slots
        kept = chosen(slots)
        chain, slots = chain[kept], slots[kept]
        order = np.argsort(chain, kind="stable")
        chain, slots = chain[order], slots[order]
        counts = np.bincount(chain, minlength=self._rows)
        place = np.arange(len(chain)) - (np.cumsum(counts) - counts)[chain]
        rows = np.full((self._rows, counts.max(), 2), -1)
        rows[chain, place] = slots
        tables = {name: rows}
        if lengths:
            values = np.zeros(rows.shape[:2], dtype=np.float32)
            values[chain, place] = self._lengths[lengths][kept][order]
            tables[lengths] = values
        return tables

    @staticmethod
    def every(slots: np.ndarray) -> np.ndarray:
        """Return all terms."""
        return np.ones(len(slots), dtype=bool)

    @staticmethod
    def between(slots: np.ndarray) -> np.ndarray:
        """Return the terms of two residues."""
        return np.ptp(slots // ATOM_SLOTS, axis=1) > 0

    @staticmethod
    def with_oxt(slots: np.ndarray) -> np.ndarray:
        """Return the terms of OXT."""
        return (slots == SLOT_OXT).any(axis=1)

    @staticmethod
    def without_oxt(slots: np.ndarray) -> np.ndarray:
        """Return the terms without OXT."""
        return ~(slots == SLOT_OXT).any(axis=1)
