"""How fast are side-chain atoms placed, against the same formulas in PyTorch?"""

from argparse import Namespace
from functools import partial

import torch
from compare import arguments, every, measure, report

from backmap.models.protein.side_chains import CBetaGeometry, SideChainGeometry
from backmap.ops import place_side_chains, reference

BACKBONE = torch.tensor([[-0.05, 0.136, 0.0], [0.0, 0.0, 0.0], [0.153, 0.0, 0.0], [0.21, 0.05, 0.09]])


def inputs(residues: int, candidates: int, device: str) -> list:
    """Residues of all types, with the tables of the protein model."""
    tables = SideChainGeometry()
    types = torch.arange(residues) % 20
    backbone = BACKBONE.expand(residues, -1, -1)
    torsions = 6 * torch.rand(residues, candidates, 4) - 3
    given = [backbone, CBetaGeometry()(backbone, types), types, torsions]
    given += [tables.rules, tables.parents, tables.torsion_indices, tables.geometry, tables.ring]
    return [tensor.to(device) for tensor in given]


@torch.inference_mode()
def run(options: Namespace) -> None:
    for residues, candidates in [(10, 1), (4000, 1), (4000, 16)]:
        given = inputs(residues, candidates, options.device)
        items = residues * candidates
        timings = [
            measure("backmap", partial(place_side_chains, *given), items, options),
            measure("PyTorch", partial(reference.place_side_chains, *given), items, options),
        ]
        report(f"{residues} residues, {candidates} candidates", timings, "candidates", options)


if __name__ == "__main__":
    for options in every(arguments(__doc__)):
        run(options)
