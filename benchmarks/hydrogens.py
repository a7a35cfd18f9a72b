"""Hydrogens of crystal structures: backmap beside hydride, which needs ``pip install hydride``.

Run from the repository root, with a folder of PDB files::

    python benchmarks/hydrogens.py ../shared/data/pdb/validation

The first ten files (``--structures``) whose residues are all complete are taken. Positions of hydrogens that
both add are compared where heavy atoms fix them. A contact is nearer than ``CLOSE_NM``, between atoms more
than two bonds apart. Disulfide bonds are those backmap finds, charges of hydride those at pH 7.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import biotite.structure as biotite
import hydride
import numpy as np
from scipy.spatial import cKDTree

from backmap.errors import InputError
from backmap.io import AtomList, open_source
from backmap.postprocessing import Hydrogens

CLOSE_NM = {"H": 0.15, "heavy": 0.17}
AROMATIC = {
    "HIS": {"HD2", "HE1"},
    "PHE": {"HD1", "HD2", "HE1", "HE2", "HZ"},
    "TRP": {"HD1", "HE1", "HE3", "HZ2", "HZ3", "HH2"},
    "TYR": {"HD1", "HD2", "HE1", "HE2"},
}
NM_PER_ANGSTROM = 0.1


@dataclass
class Built:
    """Atoms with hydrogens: names by residue, positions in nm and bonds."""

    keys: list[tuple[int, str, str]]
    positions: np.ndarray
    bonds: np.ndarray

    @property
    def hydrogen(self) -> np.ndarray:
        """(atoms,) bool: which atoms are hydrogens."""
        return np.array([name.startswith("H") for *_, name in self.keys])


@dataclass
class Totals:
    """What one way to add hydrogens did to all structures."""

    seconds: list[float] = field(default_factory=list)
    hydrogens: int = 0
    close: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, built: Built, seconds: float) -> None:
        """Count contacts of one structure."""
        self.seconds.append(seconds)
        self.hydrogens += int(built.hydrogen.sum())
        for kind, number in close_hydrogens(built).items():
            self.close[kind] += number


def close_hydrogens(built: Built) -> dict[str, int]:
    """Number of hydrogens with a contact, to another hydrogen and to a heavy atom."""
    neighbours: list[set[int]] = [{number} for number in range(len(built.keys))]
    for first, second in built.bonds.tolist():
        neighbours[first].add(second)
        neighbours[second].add(first)
    pairs = cKDTree(built.positions).query_pairs(max(CLOSE_NM.values()), output_type="ndarray")
    distance = np.linalg.norm(np.subtract(*built.positions[pairs.T]), axis=-1)
    hydrogen = built.hydrogen
    found: dict[str, set[int]] = {kind: set() for kind in CLOSE_NM}
    for (first, second), length in zip(pairs.tolist(), distance.tolist(), strict=True):
        if not neighbours[first].isdisjoint(neighbours[second]):
            continue
        kind = "H" if hydrogen[first] and hydrogen[second] else "heavy"
        if length < CLOSE_NM[kind]:
            found[kind].update(number for number in (first, second) if hydrogen[number])
    return {kind: len(numbers) for kind, numbers in found.items()}


def keys_of(atoms: AtomList) -> list[tuple[int, str, str]]:
    """Residue number in the list, residue name and atom name of every atom."""
    return [
        (n, residue.name, name) for n, residue in enumerate(atoms.residues) for name in residue.atom_names
    ]


def by_backmap(atoms: AtomList, coordinates: np.ndarray) -> tuple[Built, Hydrogens]:
    """Hydrogens chosen and placed by backmap."""
    hydrogens = Hydrogens(atoms, coordinates)
    positions = hydrogens.apply(coordinates[None])[0]
    return Built(keys_of(hydrogens.atoms), positions, np.array(hydrogens.atoms.bonds)), hydrogens


def to_biotite(
    atoms: AtomList, coordinates: np.ndarray, disulfides: list[tuple[int, int]]
) -> biotite.AtomArray:
    """The same heavy atoms, with bonds and charges."""
    array = biotite.AtomArray(atoms.n_atoms)
    array.coord = (coordinates / NM_PER_ANGSTROM).astype(np.float32)
    rows = [
        (residue.name, number, str(residue.chain), name, symbol.upper())
        for number, residue in enumerate(atoms.residues, start=1)
        for name, symbol in zip(residue.atom_names, residue.elements, strict=True)
    ]
    names = ("res_name", "res_id", "chain_id", "atom_name", "element")
    for name, values in zip(names, zip(*rows, strict=True), strict=True):
        array.set_annotation(name, np.array(values))
    array.bonds = biotite.connect_via_residue_names(array)
    for first, second in disulfides:
        array.bonds.add_bond(first, second, biotite.BondType.SINGLE)
    array.set_annotation("charge", hydride.estimate_amino_acid_charges(array, ph=7.0))
    return array


def by_hydride(array: biotite.AtomArray, *, relax: bool) -> Built:
    """Hydrogens of hydride, relaxed or as added."""
    made, _ = hydride.add_hydrogen(array)
    if relax:
        made.coord = hydride.relax_hydrogen(made)
    residues = (number - 1 for number in made.res_id.tolist())
    keys = list(zip(residues, made.res_name.tolist(), made.atom_name.tolist(), strict=True))
    return Built(keys, made.coord.astype(np.float64) * NM_PER_ANGSTROM, made.bonds.as_array()[:, :2])


def fixed_kind(residue: str, name: str) -> str | None:
    """Which kind a hydrogen is of whose place its heavy neighbours fix, if it is of one.

    Those of an ammonium group at the start of a chain turn.
    """
    if name == "H":
        return "backbone H"
    if name in ("HA", "HA2", "HA3"):
        return "HA"
    return "aromatic" if name in AROMATIC.get(residue, ()) else None


def deviations(first: Built, second: Built) -> dict[str, list[float]]:
    """Distances in nm of the hydrogens of each kind that both hold."""
    found, theirs = defaultdict(list), dict(zip(second.keys, second.positions, strict=True))
    starts = {number for number, _, name in first.keys if name == "H2"}
    for key, position in zip(first.keys, first.positions, strict=True):
        kind = fixed_kind(*key[1:])
        turns = kind == "backbone H" and key[0] in starts
        if kind is not None and not turns and key in theirs:
            found[kind].append(float(np.linalg.norm(position - theirs[key])))
    return found


def timed(call: Callable[[], Built]) -> tuple[Built, float]:
    """Best of three."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        built = call()
        seconds.append(time.process_time() - start)
    return built, min(seconds)


def read(path: Path) -> tuple[AtomList, np.ndarray]:
    """All heavy atoms of a protein, (atoms, 3) in nm."""
    source = open_source(path)
    frame = next(iter(source.chunks(1))).coordinates[0]
    present = source.sites.present
    return AtomList.of_protein(source.topology, present), frame.astype(np.float64)


def sulfur_bonds(atoms: AtomList, built: AtomList) -> list[tuple[int, int]]:
    """Disulfide bonds of a list with hydrogens, numbered as in the one without."""
    number = {key: place for place, key in enumerate(keys_of(atoms))}
    keys = keys_of(built)
    ends = [(keys[first], keys[second]) for first, second in built.bonds]
    return [(number[one], number[two]) for one, two in ends if one[2] == two[2] == "SG"]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structures", type=int, default=10)
    options = parser.parse_args()
    totals: dict[str, Totals] = defaultdict(Totals)
    found: dict[str, list[float]] = defaultdict(list)
    taken, residues = [], 0
    for path in sorted(options.folder.glob("*.pdb.gz")):
        if len(taken) == options.structures:
            break
        try:
            atoms, coordinates = read(path)
            _, hydrogens = by_backmap(atoms, coordinates)
        except InputError:
            continue
        taken.append(path.name)
        residues += len(atoms.residues)
        array = to_biotite(atoms, coordinates, sulfur_bonds(atoms, hydrogens.atoms))
        ways = {
            "backmap": lambda a=atoms, c=coordinates: by_backmap(a, c)[0],
            "hydride, added": lambda a=array: by_hydride(a, relax=False),
            "hydride, relaxed": lambda a=array: by_hydride(a, relax=True),
        }
        built = {}
        for name, call in ways.items():
            built[name], seconds = timed(call)
            totals[name].add(built[name], seconds)
        start = time.process_time()
        hydrogens.apply(coordinates[None])
        totals["backmap, one more frame"].add(built["backmap"], time.process_time() - start)
        for kind, values in deviations(built["backmap"], built["hydride, added"]).items():
            found[kind] += values
    print(f"{len(taken)} structures, {residues} residues: {', '.join(taken)}\n")
    print("| | hydrogens | H-H < 0.15 nm, % | H-heavy < 0.17 nm, % | s a structure |")
    print("| --- | --- | --- | --- | --- |")
    for name, total in totals.items():
        shares = " | ".join(f"{100 * total.close[kind] / total.hydrogens:.2f}" for kind in CLOSE_NM)
        print(f"| {name} | {total.hydrogens} | {shares} | {np.mean(total.seconds):.4f} |")
    print("\n| hydrogens of both | matched | RMSD, nm | largest, nm |\n| --- | --- | --- | --- |")
    for kind, values in found.items():
        print(f"| {kind} | {len(values)} | {np.sqrt(np.mean(np.square(values))):.4f} | {max(values):.4f} |")


if __name__ == "__main__":
    main()
