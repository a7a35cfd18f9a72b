"""Text of PDB and mmCIF models: backmap's templates beside gemmi's writer, and what each of them holds.

Run from the repository root::

    python benchmarks/bench_structure_writers.py

Random proteins in chains of 250 residues are written frame by frame on one thread; the fastest of five rounds
counts. The structure of gemmi is made once, and its coordinates are set for every frame: atom by atom, or as
an array of its FlatStructure, which makes a structure of them. ``writing`` is what its writer alone takes.
"""

from __future__ import annotations

import string
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import gemmi
import numpy as np

from backmap.chemistry import SLOT_CA, Topology
from backmap.io import AtomList, Frames
from backmap.io.formats.frame_encoders import FrameEncoder, MmcifEncoder, PdbEncoder

RESIDUES = (50, 500, 5_000)
CHAIN = 250
ROUNDS, SECONDS = 5, 0.4
BOX_NM = 9.0
GROUPS = gemmi.MmcifOutputGroups(False, atoms=True, auth_all=False, group_pdb=True)
ALL_GROUPS = gemmi.MmcifOutputGroups(False, atoms=True, cell=True, symmetry=True, conn=True, group_pdb=True)
SUFFIXES = {"PDB": ".pdb", "mmCIF": ".cif"}


def protein(residues: int, names: tuple[str, ...] = tuple(string.ascii_uppercase)) -> AtomList:
    """All heavy atoms of random residues, chain names over and over."""
    generator, chains = np.random.default_rng(0), -(-residues // CHAIN)
    topology = Topology(
        residue_types=generator.integers(0, 20, residues),
        chain_index=np.arange(residues) // CHAIN,
        chain_ids=tuple(names[chain % len(names)] for chain in range(chains)),
        residue_numbers=np.arange(residues) % CHAIN + 1,
    )
    return AtomList.of_protein(topology, topology.atom_mask)


def random_frames(atoms: AtomList, count: int = 4) -> Frames:
    """Atoms anywhere in a box."""
    coordinates = np.random.default_rng(1).uniform(0, BOX_NM, (count, atoms.n_atoms, 3))
    box = np.tile(BOX_NM * np.eye(3), (count, 1, 1))
    return Frames(coordinates=coordinates, numbers=np.arange(count), box=box)


def to_gemmi(atoms: AtomList, coordinates: np.ndarray) -> gemmi.Structure:
    """The same atoms as a structure of gemmi."""
    structure, model, places = gemmi.Structure(), gemmi.Model(1), iter(10 * coordinates)
    for number, residue in enumerate(atoms.residues):
        if number == 0 or atoms.ends_chain(number - 1):
            chain = gemmi.Chain(atoms.chain_ids[residue.chain])
        made = gemmi.Residue()
        made.name, made.seqid = residue.name, gemmi.SeqId(residue.number, residue.insertion_code or " ")
        made.entity_type, made.het_flag = gemmi.EntityType.Polymer, "A"
        for name, symbol in zip(residue.atom_names, residue.elements, strict=True):
            atom = gemmi.Atom()
            atom.name, atom.element, atom.pos = name, gemmi.Element(symbol), gemmi.Position(*next(places))
            atom.b_iso = 0.0
            made.add_atom(atom)
        chain.add_residue(made)
        if atoms.ends_chain(number):
            model.add_chain(chain)
    structure.add_model(model)
    structure.cell = gemmi.UnitCell(*[10 * BOX_NM] * 3, 90, 90, 90)
    structure.spacegroup_hm = "P 1"
    structure.setup_entities()
    return structure


def write_gemmi(structure: gemmi.Structure, kind: str) -> str:
    """The atoms of a structure as text, without what comes before them."""
    if kind == "PDB":
        return structure.make_pdb_string(gemmi.PdbWriteOptions(minimal=True, cryst1_record=False))
    return structure.make_mmcif_document(GROUPS).as_string()


def encoder(kind: str, atoms: AtomList) -> FrameEncoder:
    """backmap's writer of a kind of file."""
    return (PdbEncoder if kind == "PDB" else MmcifEncoder)(Path(f"frames{SUFFIXES[kind]}"), atoms)


def writers(kind: str, atoms: AtomList, frames: Frames) -> Iterator[tuple[str, Callable[[int], object]]]:
    """Each way to write one of the frames."""
    ours = encoder(kind, atoms)
    yield "backmap", lambda number: b"".join(ours.encode(frames[number : number + 1]))
    structure = to_gemmi(atoms, frames.coordinates[0])
    places = [place.atom for place in structure[0].all()]

    def atom_by_atom(number: int) -> str:
        for atom, position in zip(places, (10 * frames.coordinates[number]).tolist(), strict=True):
            atom.pos = gemmi.Position(*position)
        return write_gemmi(structure, kind)

    yield "gemmi, atom by atom", atom_by_atom
    flat = gemmi.FlatStructure(structure)

    def as_array(number: int) -> str:
        flat.pos[:] = 10 * frames.coordinates[number]
        return write_gemmi(flat.generate_structure(), kind)

    yield "gemmi, as an array", as_array
    yield "gemmi, writing", lambda number: write_gemmi(structure, kind)


def best(write: Callable[[int], object], frames: int) -> float:
    """Fewest seconds of the processor a frame takes."""
    write(0)
    seconds = []
    for _ in range(ROUNDS):
        start, written = time.process_time(), 0
        while (taken := time.process_time() - start) < SECONDS or not written:
            write(written % frames)
            written += 1
        seconds.append(taken / written)
    return min(seconds)


def report_speed() -> None:
    """Print a table."""
    print(
        "| format | residues | atoms | writer | frames/s | backmap is faster by |\n|---|---|---|---|---|---|"
    )
    for kind in SUFFIXES:
        for residues in RESIDUES:
            atoms = protein(residues)
            frames = random_frames(atoms)
            seconds = {name: best(write, len(frames)) for name, write in writers(kind, atoms, frames)}
            for name, value in seconds.items():
                ratio = f"{value / seconds['backmap']:.2f}" if name != "backmap" else ""
                print(f"| {kind} | {residues} | {atoms.n_atoms} | {name} | {1 / value:.1f} | {ratio} |")


def disulfide(atoms: AtomList, frames: Frames) -> tuple[int, int]:
    """Bring the SG atoms of the first cysteine of two chains together, and give their residues."""
    starts = np.cumsum([0, *(len(residue.atom_names) for residue in atoms.residues)])
    cysteines = [number for number, residue in enumerate(atoms.residues) if residue.name == "CYS"]
    first = cysteines[0]
    second = next(
        number for number in cysteines if atoms.residues[number].chain != atoms.residues[first].chain
    )
    places = [starts[n] + np.arange(len(atoms.residues[n].atom_names)) for n in (first, second)]
    sulfur = [atoms.residues[n].atom_names.index("SG") for n in (first, second)]
    for offset, rows in zip((0.0, 0.25), places, strict=True):
        frames.coordinates[:, rows] = np.arange(len(rows))[:, None] * np.array([0.02, 0.1, 0.0]) + 4.0
        frames.coordinates[:, rows, 2] += offset
    for offset, rows, sg in zip((0.0, 0.203), places, sulfur, strict=True):
        frames.coordinates[:, rows[sg]] = 4.0, 4.2, 4.0 + offset
        frames.coordinates[:, rows[SLOT_CA]] = 4.0, 4.0, 4.0 + 2.5 * offset
    return first, second


def connection(model: gemmi.Model, atoms: AtomList, pair: tuple[int, int]) -> gemmi.Connection:
    """The disulfide of two residues, as gemmi has it."""
    bond = gemmi.Connection()
    bond.type, bond.name = gemmi.ConnectionType.Disulf, "disulf1"
    ends = [(model[atoms.residues[number].chain], number % CHAIN) for number in pair]
    bond.partner1, bond.partner2 = (
        gemmi.AtomAddress(chain.name, chain[place].seqid, chain[place].name, "SG") for chain, place in ends
    )
    return bond


def whole_gemmi(structure: gemmi.Structure, kind: str) -> str:
    """Everything gemmi writes of a structure, or why it writes nothing."""
    try:
        if kind == "PDB":
            return structure.make_pdb_string()
        return structure.make_mmcif_document(ALL_GROUPS).as_string()
    except (RuntimeError, ValueError) as error:
        return f"refused: {error}"


def report_content() -> None:
    """Print which records each writer makes of 104 000 atoms with a disulfide, in two frames."""
    for names in (tuple(string.ascii_uppercase), ("AB", "CD"), ("LONG", "NAME")):
        atoms = protein(13_500, names)
        frames = random_frames(atoms, 2)
        pair = disulfide(atoms, frames)
        structure = to_gemmi(atoms, frames.coordinates[0])
        second = to_gemmi(atoms, frames.coordinates[1])[0]
        second.num = 2
        structure.add_model(second)
        structure.connections.append(connection(structure[0], atoms, pair))
        for kind in SUFFIXES:
            print(f"\n{kind}, chain names {names[0]}, {names[1]} ...")
            try:
                ours = encoder(kind, atoms)
                text = b"".join([ours.begin(frames), *ours.encode(frames)]).decode()
            except Exception as error:
                text = f"refused: {error}"
            for name, written in (("backmap", text), ("gemmi", whole_gemmi(structure, kind))):
                print(f"  {name}: {describe(written, kind)}")


def describe(text: str, kind: str) -> str:
    """Say what a file holds."""
    if text.startswith("refused"):
        return text
    lines = text.splitlines()
    atoms = [line for line in lines if line.startswith("ATOM")]
    words = {
        "PDB": ("SSBOND", "CRYST1", "MODEL ", "TER"),
        "mmCIF": ("_struct_conn.id", "disulf1", "_cell.length_a", "_symmetry"),
    }[kind]
    counts = ", ".join(f"{sum(line.startswith(word) for line in lines)} {word.strip()}" for word in words)
    return f"{len(atoms)} atoms, {counts}; last atom: {atoms[-1]}"


if __name__ == "__main__":
    report_speed()
    report_content()
