"""The text of PDB, mmCIF and GRO files: templates of a model, filled with numbers for each frame.

gemmi is about as fast, but it writes whole files only; outputs here grow model by model. A model is divided
into pieces, because the numbers and the text of a large one take many times the memory of its positions.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import gemmi

from backmap.errors import InputError

from ..atom_list import AtomList, ListedResidue
from .pdb_file import has_long_chain_names

_PDB_PLACE = 5
"""Columns that names of residue and chain share: 3 and 2, or 4 and 1."""
_PDB_CHAIN_NAME = 2
_PDB_RESIDUE_NAME = 4
_PDB_ATOM_NAME = 4
_PDB_INSERTION_CODE = 1
_PDB_RESIDUE_NUMBER = 4
_GRO_NAME = 5
_GRO_NUMBERS = (-(10**4) + 1, 10**5 - 1)
_ATOMS_PER_PIECE = 20_000
_MOST_ATOMS_KEPT = 1_000_000
"""Templates of larger models, a hundred bytes an atom, are written anew for each frame."""
_HYBRID_DIGITS = string.digits + string.ascii_uppercase
_NO_VALUE = "."


class Template(NamedTuple):
    """Text of consecutive atoms of a model, with a conversion for each of their numbers."""

    text: str
    n_atoms: int


_WritesTemplates = Callable[[AtomList, bool], Iterator[Template]]
"""Writes the templates of a model, with B-factors or without."""


def templates(write: _WritesTemplates, atoms: AtomList, b_factors: bool = False) -> Iterable[Template]:
    """Return the templates of a model, which are kept for the next call if it is not large."""
    kept = atoms.n_atoms <= _MOST_ATOMS_KEPT
    return _kept_templates(write, atoms, b_factors) if kept else write(atoms, b_factors)


@lru_cache(maxsize=1)
def _kept_templates(write: _WritesTemplates, atoms: AtomList, b_factors: bool) -> tuple[Template, ...]:
    return tuple(write(atoms, b_factors))


def _in_pieces(parts: Iterable[tuple[str, int]]) -> Iterator[Template]:
    """Join texts, each with a number of atoms, to templates of many atoms."""
    texts: list[str] = []
    n_atoms = 0
    for text, more in parts:
        texts.append(text)
        n_atoms += more
        if n_atoms >= _ATOMS_PER_PIECE:
            yield Template("".join(texts), n_atoms)
            texts, n_atoms = [], 0
    if texts:
        yield Template("".join(texts), n_atoms)


def hybrid_36(number: int, width: int) -> str:
    """Write a number for a PDB column, continuing with A000, A001 ... after the last decimal (hybrid-36)."""
    if not _fits_hybrid_36(number, width):
        raise InputError(f"{number} does not fit into a PDB file; write mmCIF (.cif) instead")
    if number < 10**width:
        return f"{number:>{width}}"
    number += 10 * 36 ** (width - 1) - 10**width
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, 36)
        digits = _HYBRID_DIGITS[digit] + digits
    return digits


def _fits_hybrid_36(number: int, width: int) -> bool:
    return -(10 ** (width - 1)) < number < 10**width + 26 * 36 ** (width - 1)


def require_plain_names(atoms: AtomList, final: Path) -> None:
    """Refuse names that no text format can hold: all need printable ASCII."""
    for kind, _, found in _names(atoms):
        odd = next((name for name in found if not (name.isascii() and name.isprintable())), None)
        if odd is not None:
            raise InputError(
                f"{final}: {kind} {odd} is not printable ASCII, which text files require; "
                "give it another name in the input"
            )


def require_words(atoms: AtomList, final: Path) -> None:
    """Refuse names that mmCIF cannot quote."""
    for kind, _, found in _names(atoms):
        odd = next((name for name in found if "'" in name and '"' in name), None)
        if odd is not None:
            raise InputError(
                f"{final}: {kind} {odd} has both kinds of quotes, which an mmCIF file cannot hold; "
                "give it another name in the input"
            )


def _names(atoms: AtomList) -> Iterator[tuple[str, int, Iterable[str]]]:
    """Yield each kind of name, its number of columns in a PDB file, and the different names of that kind."""
    residues = atoms.residues
    yield "chain name", _PDB_CHAIN_NAME, dict.fromkeys(atoms.chain_ids)
    yield "residue name", _PDB_RESIDUE_NAME, dict.fromkeys(residue.name for residue in residues)
    groups = dict.fromkeys(residue.atom_names for residue in residues)
    yield "atom name", _PDB_ATOM_NAME, dict.fromkeys(name for names in groups for name in names)
    yield "insertion code", _PDB_INSERTION_CODE, dict.fromkeys(residue.insertion_code for residue in residues)


def too_long_for_pdb(atoms: AtomList) -> str | None:
    """Return a value that does not fit into PDB columns, as ``chain name LONG``; None if all values fit."""
    for kind, columns, found in _names(atoms):
        longest = max(found, key=len, default="")
        if len(longest) > columns:
            return f"{kind} {longest}"
    places = {(residue.name, atoms.chain_ids[residue.chain]) for residue in atoms.residues}
    fourth = {_pdb_place(*place)[:4] for place in places}
    long_chain = next((chain for chain in atoms.chain_ids if len(chain) == _PDB_CHAIN_NAME), None)
    if long_chain is not None and not has_long_chain_names(fourth):
        return f"chain name {long_chain}"
    long_name = next((name for name, _ in places if len(name) == _PDB_RESIDUE_NAME), None)
    crowded = any(len(_pdb_place(*place)) > _PDB_PLACE for place in places)
    if long_name is not None and (crowded or has_long_chain_names(fourth)):
        return f"residue name {long_name}"
    numbers = (residue.number for residue in atoms.residues)
    too_long = next((number for number in numbers if not _fits_hybrid_36(number, _PDB_RESIDUE_NUMBER)), None)
    return None if too_long is None else f"residue number {too_long}"


def too_long_for_gro(atoms: AtomList) -> str | None:
    """Return a value that does not fit into GRO columns, as ``residue name LONGER``; None if all fit."""
    for kind, _, found in _names(atoms):
        longest = max(found, key=len, default="")
        if kind == "insertion code" and longest.strip():
            return f"{kind} {longest}"
        if kind in ("residue name", "atom name") and len(longest) > _GRO_NAME:
            return f"{kind} {longest}"
    low, high = _GRO_NUMBERS
    number = next((entry.number for entry in atoms.residues if not low <= entry.number <= high), None)
    return None if number is None else f"residue number {number}"


def _pdb_place(name: str, chain: str) -> str:
    """Write the names of a residue and its chain: a fourth letter of either takes the column between them."""
    return f"{name:>3}{chain:>{_PDB_PLACE - max(3, len(name))}}"


def pdb_templates(atoms: AtomList, b_factors: bool = False) -> Iterator[Template]:
    """Write a model as PDB records with ``%8.3f`` in place of every coordinate, TER after each chain.

    With ``b_factors`` there is ``%6.2f`` in place of the B-factor, which is zero otherwise.
    """
    return _in_pieces(_pdb_residues(atoms, "%6.2f" if b_factors else "  0.00"))


def _pdb_residues(atoms: AtomList, b_factor: str) -> Iterator[tuple[str, int]]:
    """Write the records of each residue, with its number of atoms."""
    serial = 0
    for index, residue in enumerate(atoms.residues):
        chain = atoms.chain_ids[residue.chain]
        number = hybrid_36(residue.number, 4)
        code = residue.insertion_code or " "
        place = f"{_pdb_place(residue.name, chain)}{number}{code}".replace("%", "%%")
        lines = []
        for name, symbol in zip(residue.atom_names, residue.elements, strict=True):
            serial += 1
            column = _pdb_atom_name(name, symbol).replace("%", "%%")
            lines.append(
                f"ATOM  {hybrid_36(serial, 5)} {column} {place}"
                f"   %8.3f%8.3f%8.3f  1.00{b_factor}          {symbol.upper():>2}  \n"
            )
        if atoms.ends_chain(index):
            serial += 1
            lines.append(f"TER   {hybrid_36(serial, 5)}      {place}\n")
        yield "".join(lines), len(residue.atom_names)


def _pdb_atom_name(name: str, symbol: str) -> str:
    """Align an atom name in its four columns: the element symbol ends in the second if there is room."""
    return f"{name if len(symbol) > 1 else ' ' + name:<4}" if len(name) < _PDB_ATOM_NAME else name


def pdb_disulfides(atoms: AtomList, disulfides: Iterable[tuple[int, int, float]]) -> str:
    """Write SSBOND records for pairs of residues with the length of their bond in nm."""
    lines = []
    for serial, (first, second, length) in enumerate(disulfides, start=1):
        places = []
        for residue in (atoms.residues[first], atoms.residues[second]):
            number = hybrid_36(residue.number, 4)
            chain = atoms.chain_ids[residue.chain]
            places.append(f"{_pdb_place(residue.name, chain)} {number}{residue.insertion_code or ' '}")
        lines.append(
            f"SSBOND {hybrid_36(serial, 3)} {places[0]}   {places[1]}{'':23}{'1555':>6} {'1555':>6} "
            f"{10 * length:5.2f}\n"
        )
    return "".join(lines)


def pdb_closing_bonds(atoms: AtomList, closing: Iterable[tuple[int, int, float]]) -> str:
    """Write LINK records from C to N of pairs of residues with the length of their bond in nm."""
    lines = []
    for last, first, length in closing:
        ends = []
        for index, name in ((last, "C"), (first, "N")):
            residue = atoms.residues[index]
            place = _pdb_place(residue.name, atoms.chain_ids[residue.chain])
            ends.append(f" {name:<3} {place}{hybrid_36(residue.number, 4)}{residue.insertion_code or ' '}")
        lines.append(f"LINK        {ends[0]}{'':15}{ends[1]}  {'1555':>6} {'1555':>6} {10 * length:5.2f}\n")
    return "".join(lines)


def gro_templates(atoms: AtomList, b_factors: bool = False) -> Iterator[Template]:
    """Write the lines of atoms with ``%8.3f`` in place of every coordinate; there are no B-factors."""
    return _in_pieces(_gro_residues(atoms))


def _gro_residues(atoms: AtomList) -> Iterator[tuple[str, int]]:
    """Write the lines of each residue, with its number of atoms."""
    serial = 0
    for residue in atoms.residues:
        lines = []
        for name in residue.atom_names:
            serial += 1
            place = f"{residue.number:5d}{residue.name:<5}{name:>5}{serial % 10**5:5d}".replace("%", "%%")
            lines.append(f"{place}%8.3f%8.3f%8.3f\n")
        yield "".join(lines), len(lines)


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


def mmcif_templates(atoms: AtomList, b_factors: bool = False) -> Iterator[Template]:
    """Write a model as mmCIF rows with ``%d`` for atom id and model number and ``%.3f`` for coordinates.

    With ``b_factors`` there is ``%.2f`` in place of the B-factor, which is zero otherwise.
    """
    return _in_pieces(_mmcif_residues(atoms, "%.2f" if b_factors else "0.00"))


def _mmcif_residues(atoms: AtomList, b_factor: str) -> Iterator[tuple[str, int]]:
    """Write the rows of each residue, with its number of atoms."""
    asym = _asym_names(atoms.chain_ids)
    position = 0
    for index, residue in enumerate(atoms.residues):
        position += 1
        chain = residue.chain
        place = f"{_cif_word(residue.name)} {asym[chain]} {chain + 1} {position} {_insertion_code(residue)}"
        author = f"{residue.number} {_author_chain(atoms, chain, asym)}".replace("%", "%%")
        lines = []
        for name, symbol in zip(residue.atom_names, residue.elements, strict=True):
            label = f"{symbol} {_cif_word(name)} . {place}".replace("%", "%%")
            lines.append(f"ATOM %d {label} %.3f %.3f %.3f 1.00 {b_factor} {author} %d\n")
        position = 0 if atoms.ends_chain(index) else position
        yield "".join(lines), len(lines)


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


def mmcif_links(
    atoms: AtomList,
    disulfides: Sequence[tuple[int, int, float]],
    closing: Sequence[tuple[int, int, float]] = (),
) -> str:
    """Write the table ``_struct_conn`` of disulfides and of bonds from C to N.

    Both are pairs of residues with the length of their bond in nm.
    """
    if not disulfides and not closing:
        return ""
    asym, lines = _asym_names(atoms.chain_ids), [_STRUCT_CONN]
    positions: list[int] = []
    for index, _ in enumerate(atoms.residues):
        begins = index == 0 or atoms.ends_chain(index - 1)
        positions.append(1 if begins else positions[-1] + 1)
    for kind, names, bonds in (("disulf", ("SG", "SG"), disulfides), ("covale", ("C", "N"), closing)):
        for serial, (first, second, length) in enumerate(bonds, start=1):
            ends = []
            for index, name in zip((first, second), names, strict=True):
                residue = atoms.residues[index]
                author = _author_chain(atoms, residue.chain, asym)
                label = f"{asym[residue.chain]} {_cif_word(residue.name)} {positions[index]} {name}"
                ends.append(f"{label} {author} {residue.number} {_insertion_code(residue)} 1_555")
            lines.append(f"{kind}{serial} {kind} {' '.join(ends)} {10 * length:.3f}\n")
    return "".join([*lines, "#\n"])


def _asym_names(chain_ids: tuple[str, ...]) -> list[str]:
    """Return a unique word per chain: its name if no earlier chain has it, or the next free of A, B ..."""
    taken = set(chain_ids)
    letters = (
        "".join(name) for length in (1, 2, 3, 4) for name in product(string.ascii_uppercase, repeat=length)
    )
    names: dict[str, None] = {}
    for chain_id in chain_ids:
        name = chain_id
        if not name.strip() or name in names:
            name = next(name for name in letters if name not in taken and name not in names)
        names[name] = None
    return list(map(_cif_word, names))


def _author_chain(atoms: AtomList, chain: int, asym: Sequence[str]) -> str:
    """Return the word for a chain's own name, or for its assigned name if it has none."""
    name = atoms.chain_ids[chain]
    return _cif_word(name) if name.strip() else asym[chain]


def _insertion_code(residue: ListedResidue) -> str:
    code = residue.insertion_code
    return _cif_word(code) if code.strip() else "?"


@lru_cache(maxsize=4096)
def _cif_word(text: str) -> str:
    """Write a name as one mmCIF word, quoted where it must be."""
    return gemmi.cif.quote(text) if text else _NO_VALUE
