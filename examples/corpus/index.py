"""Write the index of a structure corpus: manifest.csv and masks.jsonl.gz, from the structures in its folders.

    python examples/corpus/index.py examples/corpus

reads ``train/*.pdb.gz``, ``validation/*.pdb.gz`` and, if there is any, ``test-dev/*.pdb.gz``. Each structure
is a cluster of its own, unless ``--clusters FILE`` gives a table of two columns, cluster and structure, as
MMseqs2 writes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from pathlib import Path

import gemmi
import numpy as np

from backmap.chemistry import HEAVY_ATOMS, RESIDUE_INDEX
from backmap.chemistry.ideal_geometry import bond_table
from backmap.chemistry.residues import BONDS, ONE_LETTER

SPLITS = ("train", "validation", "test-dev")
A_PER_NM = 10.0
BACKBONE = ("N", "CA", "C", "O")
TOLERANCE_A = 0.2
"""A bond that is farther from its ideal length makes a residue one of bad geometry."""


def classify(residue: gemmi.Residue) -> str:
    """Give the character of a residue's mask: 1 for one to learn from, another letter says why not."""
    atoms = {atom.name: atom for atom in residue}
    if any(name not in atoms for name in BACKBONE):
        return "b"
    if any(name not in atoms for name in HEAVY_ATOMS[residue.name]):
        return "s"
    if any(atom.occ == 0 for atom in residue):
        return "z"
    place = {name: np.array(atom.pos.tolist()) for name, atom in atoms.items()}
    slots, lengths = HEAVY_ATOMS[residue.name], A_PER_NM * bond_table()[RESIDUE_INDEX[residue.name]]
    for first, second in BONDS[residue.name]:
        ideal = lengths[slots.index(first), slots.index(second)]
        if abs(np.linalg.norm(place[first] - place[second]) - ideal) > TOLERANCE_A:
            return "g"
    if "CB" in place:
        n, c, c_beta = (place[name] - place["CA"] for name in ("N", "C", "CB"))
        if np.dot(np.cross(n, c), c_beta) <= 0:  # not an L-amino acid
            return "g"
    return "1"


def describe(path: Path) -> list[dict[str, str]]:
    """Give sequence and mask of each chain of a structure.

    Raises
    ------
    SystemExit
        If it holds what a corpus cannot: other residues than the twenty, or other atoms than theirs.
    """
    chains = []
    for chain in gemmi.read_structure(str(path))[0]:
        for residue in chain:
            if residue.name not in HEAVY_ATOMS:
                raise SystemExit(f"{path}: residue {residue} of chain {chain.name} is none of the twenty")
            known = {*HEAVY_ATOMS[residue.name], "OXT"}
            if unknown := [atom.name for atom in residue if atom.name not in known]:
                raise SystemExit(
                    f"{path}: residue {residue} of chain {chain.name} has an atom {unknown[0]}; leave out "
                    "hydrogens and alternate names"
                )
        sequence = "".join(ONE_LETTER[residue.name] for residue in chain)
        chains.append({"id": chain.name, "seq": sequence, "mask": "".join(map(classify, chain))})
    return chains


def read_clusters(path: Path | None) -> dict[str, str]:
    """Give the cluster of each structure in a table of two columns, cluster and structure."""
    if path is None:
        return {}
    return {member: name for name, member in (line.split()[:2] for line in path.read_text().splitlines())}


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, help="folder with the folders train and validation")
    parser.add_argument("--clusters", type=Path, metavar="FILE", help="cluster and structure, a line each")
    arguments = parser.parse_args()
    clusters = read_clusters(arguments.clusters)
    rows, masks = [], []
    for split in SPLITS:
        for path in sorted((arguments.corpus / split).glob("*.pdb.gz")):
            name = path.name.removesuffix(".pdb.gz")
            rows.append({"id": name, "split": split, "cluster": clusters.get(name, name)})
            masks.append({"id": name, "chains": describe(path)})
    if not rows:
        raise SystemExit(f"{arguments.corpus}: holds no structure; put *.pdb.gz into train and validation")
    with open(arguments.corpus / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "split", "cluster"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    text = "".join(json.dumps(mask) + "\n" for mask in masks)
    (arguments.corpus / "masks.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    trusted = sum(chain["mask"].count("1") for mask in masks for chain in mask["chains"])
    print(f"{len(rows)} structures, {trusted} residues to learn from")


if __name__ == "__main__":
    main()
