import csv
import gzip
import json

import gemmi
import numpy as np
import pytest

from backmap.chemistry import HEAVY_ATOMS, RESIDUE_NAMES
from backmap.chemistry.residues import ONE_LETTER


def _write_structure(path, chains, missing=()):
    """A made-up structure: C-alphas 3.8 A apart on a line, the other atoms around them."""
    structure, model = gemmi.Structure(), gemmi.Model("1")
    generator = np.random.default_rng(0)
    for chain_number, sequence in enumerate(chains):
        chain = gemmi.Chain("ABC"[chain_number])
        for position, name in enumerate(sequence):
            residue = gemmi.Residue()
            residue.name, residue.seqid = name, gemmi.SeqId(position + 1, " ")
            for atom_name in HEAVY_ATOMS[name]:
                if (chain_number, position, atom_name) in missing:
                    continue
                atom = gemmi.Atom()
                atom.name, atom.element = atom_name, gemmi.Element(atom_name[0])
                around = 0.0 if atom_name == "CA" else generator.normal(0, 1.0, 3)
                atom.pos = gemmi.Position(*(np.array([3.8 * position, 20.0 * chain_number, 0]) + around))
                residue.add_atom(atom)
            chain.add_residue(residue)
        model.add_chain(chain)
    structure.add_model(model)
    with gzip.open(path, "wt") as file:
        file.write(structure.make_pdb_string())


@pytest.fixture
def corpus_folder(tmp_path):
    """A corpus of six structures: three of one cluster, one with a missing atom, two for validation."""
    folder = tmp_path / "corpus"
    rows, masks = [], []
    for number in range(6):
        split = "train" if number < 4 else "validation"
        (folder / split).mkdir(parents=True, exist_ok=True)
        generator = np.random.default_rng(number)
        chains = [[RESIDUE_NAMES[k] for k in generator.integers(0, 20, 12)], ["GLY", "TRP", "ALA"]]
        missing = {(1, 1, "CH2")} if number == 0 else set()
        name = f"s{number}"
        _write_structure(folder / split / f"{name}.pdb.gz", chains, missing)
        masks.append(
            {
                "id": name,
                "chains": [
                    {"seq": "".join(ONE_LETTER[r] for r in chain), "mask": "1" * len(chain)}
                    for chain in chains
                ],
            }
        )
        if missing:
            masks[-1]["chains"][1]["mask"] = "1s1"
        rows.append({"id": name, "split": split, "cluster": "big" if number < 3 else f"c{number}"})
    with open(folder / "manifest.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["id", "split", "cluster"])
        writer.writeheader()
        writer.writerows(rows)
    with gzip.open(folder / "masks.jsonl.gz", "wt") as file:
        file.write("\n".join(json.dumps(mask) for mask in masks))
    return folder
