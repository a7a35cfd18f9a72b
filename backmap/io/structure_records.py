"""The text of PDB and mmCIF files: one template of a whole model, filled with numbers frame by frame."""

from __future__ import annotations

import string
from itertools import product

import numpy as np

from backmap.chemistry import Topology
from backmap.chemistry.residues import HEAVY_ATOMS, element
from backmap.errors import InputError

_PDB_CHAIN_NAME = 2
_HYBRID_DIGITS = string.digits + string.ascii_uppercase
_NO_VALUE = "."


def atom_names(residue_name: str) -> tuple[str, ...]:
    """Give the atom names of a residue slot by slot, OXT last; unused slots are empty."""
    names = HEAVY_ATOMS[residue_name]
    return names + ("",) * (14 - len(names)) + ("OXT",)


def hybrid_36(number: int, width: int) -> str:
    """Write a number into a PDB column, going on with A000, A001 ... where the digits end (hybrid-36)."""
    if -(10 ** (width - 1)) < number < 10**width:
        return f"{number:>{width}}"
    number += 10 * 36 ** (width - 1) - 10**width
    if not 0 <= number < 36**width:
        raise InputError(f"{number} does not fit into a PDB file; write mmCIF (.cif) instead")
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits = _HYBRID_DIGITS[digit] + digits
    return digits


def fits_pdb(topology: Topology) -> bool:
    """Whether the chain names fit into the columns of a PDB file."""
    return all(len(name) <= _PDB_CHAIN_NAME for name in topology.chain_ids)


def pdb_template(topology: Topology, present: np.ndarray) -> str:
    """Write a model as PDB records with ``%8.3f`` in place of every coordinate, TER after each chain.

    Parameters
    ----------
    topology : Topology
        The residues.
    present : ndarray, (residues, 15) bool
        Atoms to write.
    """
    lines: list[str] = []
    for residue, slots, end in _residues(topology, present):
        name = topology.residue_name(residue)
        names = atom_names(name)
        chain = topology.chain_ids[topology.chain_index[residue]].replace("%", "%%")
        number = hybrid_36(int(topology.residue_numbers[residue]), 4)
        place = f"{name:>3}{chain:>2}{number}{topology.insertion_codes[residue] or ' '}"
        for slot in slots:
            lines.append(
                f"ATOM  {hybrid_36(len(lines) + 1, 5)}  {names[slot]:<3} {place}"
                f"   %8.3f%8.3f%8.3f  1.00  0.00          {element(names[slot]):>2}  \n"
            )
        if end:
            lines.append(f"TER   {hybrid_36(len(lines) + 1, 5)}      {place}\n")
    return "".join(lines)


MMCIF_HEADER = """\
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.label_asym_id
_atom_site.label_entity_id
_atom_site.label_seq_id
_atom_site.pdbx_PDB_ins_code
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.occupancy
_atom_site.B_iso_or_equiv
_atom_site.auth_seq_id
_atom_site.auth_asym_id
_atom_site.pdbx_PDB_model_num
"""


def mmcif_template(topology: Topology, present: np.ndarray) -> str:
    """Write a model as mmCIF rows with ``%d`` for atom id and model number and ``%.3f`` for coordinates."""
    lines: list[str] = []
    asym = _asym_names(topology.chain_ids)
    position = 0
    for residue, slots, end in _residues(topology, present):
        position += 1
        name = topology.residue_name(residue)
        names = atom_names(name)
        chain = int(topology.chain_index[residue])
        label = f"{name} {asym[chain]} {chain + 1} {position} {topology.insertion_codes[residue] or '?'}"
        author = f"{topology.residue_numbers[residue]} {_cif_word(topology.chain_ids[chain] or asym[chain])}"
        label, author = label.replace("%", "%%"), author.replace("%", "%%")
        lines += [
            f"ATOM %d {element(names[slot])} {names[slot]} . {label} %.3f %.3f %.3f 1.00 0.00 {author} %d\n"
            for slot in slots
        ]
        position = 0 if end else position
    return "".join(lines)


def _residues(topology: Topology, present: np.ndarray):
    """Go through residues as (index, slots in writing order, whether the chain ends here)."""
    for residue, end in enumerate(topology.chain_ends):
        yield residue, np.flatnonzero(present[residue]), bool(end)


def _asym_names(chain_ids: tuple[str, ...]) -> list[str]:
    """Give every chain a different name: its own if no earlier chain has it, or the next free of A, B ..."""
    taken = set(chain_ids)
    letters = (
        "".join(name) for length in (1, 2, 3, 4) for name in product(string.ascii_uppercase, repeat=length)
    )
    names: list[str] = []
    for chain_id in chain_ids:
        word = _cif_word(chain_id)
        if word == _NO_VALUE or word in names:
            word = next(name for name in letters if name not in taken and name not in names)
        names.append(word)
    return names


def _cif_word(text: str) -> str:
    """Write a chain name as one mmCIF word, quoted where it must be."""
    if not text:
        return _NO_VALUE
    plain = text.replace("_", "").replace("-", "").replace("+", "").isalnum() and text[0] != "_"
    return text if plain else f'"{text}"'
