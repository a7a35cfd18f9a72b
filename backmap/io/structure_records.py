"""The text of PDB and mmCIF files: one template of a whole model, filled with numbers frame by frame."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import product

from backmap.errors import InputError

from .atom_list import AtomList

_PDB_CHAIN_NAME = 2
_PDB_RESIDUE_NAME = 3
_PDB_ATOM_NAME = 4
_HYBRID_DIGITS = string.digits + string.ascii_uppercase
_NO_VALUE = "."


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


def too_long_for_pdb(atoms: AtomList) -> str | None:
    """Name what does not fit into the columns of a PDB file, ``chain name LONG``, or None if all does."""
    names = (
        ("chain", _PDB_CHAIN_NAME, atoms.chain_ids),
        ("residue", _PDB_RESIDUE_NAME, [residue.name for residue in atoms.residues]),
        ("atom", _PDB_ATOM_NAME, [name for residue in atoms.residues for name in residue.atom_names]),
    )
    for kind, columns, found in names:
        longest = max(found, key=len, default="")
        if len(longest) > columns:
            return f"{kind} name {longest}"
    return None


@lru_cache(maxsize=1)
def pdb_template(atoms: AtomList) -> str:
    """Write a model as PDB records with ``%8.3f`` in place of every coordinate, TER after each chain."""
    lines: list[str] = []
    for index, residue in enumerate(atoms.residues):
        chain = atoms.chain_ids[residue.chain]
        number = hybrid_36(residue.number, 4)
        place = f"{residue.name:>3}{chain:>2}{number}{residue.insertion_code or ' '}".replace("%", "%%")
        for name, symbol in zip(residue.atom_names, residue.elements, strict=True):
            lines.append(
                f"ATOM  {hybrid_36(len(lines) + 1, 5)} {_pdb_atom_name(name, symbol)} {place}"
                f"   %8.3f%8.3f%8.3f  1.00  0.00          {symbol.upper():>2}  \n"
            )
        if atoms.ends_chain(index):
            lines.append(f"TER   {hybrid_36(len(lines) + 1, 5)}      {place}\n")
    return "".join(lines)


def _pdb_atom_name(name: str, symbol: str) -> str:
    """Put an atom name into its four columns: the element symbol ends in the second where there is room."""
    return f"{name if len(symbol) > 1 else ' ' + name:<4}" if len(name) < _PDB_ATOM_NAME else name


def pdb_disulfides(atoms: AtomList, disulfides: Iterable[tuple[int, int, float]]) -> str:
    """Write SSBOND records of pairs of residues, with the length of their bond in nm."""
    lines = []
    for serial, (first, second, length) in enumerate(disulfides, start=1):
        places = []
        for residue in (atoms.residues[first], atoms.residues[second]):
            number = hybrid_36(residue.number, 4)
            chain = atoms.chain_ids[residue.chain]
            places.append(f"{residue.name:>3}{chain:>2} {number}{residue.insertion_code or ' '}")
        lines.append(
            f"SSBOND {hybrid_36(serial, 3)} {places[0]}   {places[1]}{'':23}{'1555':>6} {'1555':>6} "
            f"{10 * length:5.2f}\n"
        )
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


@lru_cache(maxsize=1)
def mmcif_template(atoms: AtomList) -> str:
    """Write a model as mmCIF rows with ``%d`` for atom id and model number and ``%.3f`` for coordinates."""
    lines: list[str] = []
    asym = _asym_names(atoms.chain_ids)
    position = 0
    for index, residue in enumerate(atoms.residues):
        position += 1
        chain = residue.chain
        place = f"{residue.name} {asym[chain]} {chain + 1} {position} {residue.insertion_code or '?'}"
        author = f"{residue.number} {_cif_word(atoms.chain_ids[chain] or asym[chain])}".replace("%", "%%")
        for name, symbol in zip(residue.atom_names, residue.elements, strict=True):
            label = f"{symbol} {_cif_word(name)} . {place}".replace("%", "%%")
            lines.append(f"ATOM %d {label} %.3f %.3f %.3f 1.00 0.00 {author} %d\n")
        position = 0 if atoms.ends_chain(index) else position
    return "".join(lines)


_STRUCT_CONN = """\
loop_
_struct_conn.id
_struct_conn.conn_type_id
_struct_conn.ptnr1_label_asym_id
_struct_conn.ptnr1_label_comp_id
_struct_conn.ptnr1_label_seq_id
_struct_conn.ptnr1_label_atom_id
_struct_conn.ptnr1_auth_asym_id
_struct_conn.ptnr1_auth_seq_id
_struct_conn.pdbx_ptnr1_PDB_ins_code
_struct_conn.ptnr1_symmetry
_struct_conn.ptnr2_label_asym_id
_struct_conn.ptnr2_label_comp_id
_struct_conn.ptnr2_label_seq_id
_struct_conn.ptnr2_label_atom_id
_struct_conn.ptnr2_auth_asym_id
_struct_conn.ptnr2_auth_seq_id
_struct_conn.pdbx_ptnr2_PDB_ins_code
_struct_conn.ptnr2_symmetry
_struct_conn.pdbx_dist_value
"""


def mmcif_disulfides(atoms: AtomList, disulfides: Sequence[tuple[int, int, float]]) -> str:
    """Write the table ``_struct_conn`` of pairs of residues, with the length of their bond in nm."""
    if not disulfides:
        return ""
    asym, lines = _asym_names(atoms.chain_ids), [_STRUCT_CONN]
    positions: list[int] = []
    for index, _ in enumerate(atoms.residues):
        begins = index == 0 or atoms.ends_chain(index - 1)
        positions.append(1 if begins else positions[-1] + 1)
    for serial, (first, second, length) in enumerate(disulfides, start=1):
        ends = []
        for index in (first, second):
            residue = atoms.residues[index]
            author = _cif_word(atoms.chain_ids[residue.chain] or asym[residue.chain])
            label = f"{asym[residue.chain]} {residue.name} {positions[index]} SG"
            ends.append(f"{label} {author} {residue.number} {residue.insertion_code or '?'} 1_555")
        lines.append(f"disulf{serial} disulf {' '.join(ends)} {10 * length:.3f}\n")
    return "".join([*lines, "#\n"])


def _asym_names(chain_ids: tuple[str, ...]) -> list[str]:
    """Give every chain a different name: its own if no earlier chain has it, or the next free of A, B ..."""
    taken = set(chain_ids)
    letters = (
        "".join(name) for length in (1, 2, 3, 4) for name in product(string.ascii_uppercase, repeat=length)
    )
    names: dict[str, None] = {}
    for chain_id in chain_ids:
        word = _cif_word(chain_id)
        if word == _NO_VALUE or word in names:
            word = next(name for name in letters if name not in taken and name not in names)
        names[word] = None
    return list(names)


@lru_cache(maxsize=4096)
def _cif_word(text: str) -> str:
    """Write a name as one mmCIF word, quoted where it must be."""
    if not text:
        return _NO_VALUE
    plain = text.replace("_", "").replace("-", "").replace("+", "").isalnum() and text[0] != "_"
    return text if plain else f'"{text}"'
