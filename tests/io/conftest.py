"""Small structures as PDB text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from backmap.chemistry import SLOT_CA, Topology
from backmap.io import AtomList, open_writer

RISE_NM, RADIUS_NM, TURN = 0.15, 0.23, np.radians(100.0)


def helix(residues: int) -> np.ndarray:
    """(residues, 3) C-alphas of an alpha helix in nm, 0.38 nm apart."""
    steps = np.arange(residues)
    return np.stack(
        [RADIUS_NM * np.cos(TURN * steps), RADIUS_NM * np.sin(TURN * steps), RISE_NM * steps], axis=1
    )


def atom_line(
    name: str,
    residue: str,
    number: int,
    position: Iterable[float],
    *,
    chain: str = "A",
    record: str = "ATOM",
    alternate: str = " ",
    insertion: str = " ",
    occupancy: float = 1.0,
    element: str = "C",
) -> str:
    """One PDB record, position in nm."""
    x, y, z = (10 * value for value in position)
    return (
        f"{record:<6}    1 {name:^4}{alternate}{residue:>3} {chain}{number:>4}{insertion}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{occupancy:6.2f}  0.00          {element:>2}\n"
    )


@pytest.fixture
def c_alpha_lines() -> Callable[..., list[str]]:
    """Give PDB records of a C-alpha helix of the named residues."""

    def lines(names: str = "ALA GLY SER TRP LYS", **fields: str) -> list[str]:
        residues = names.split()
        return [
            atom_line("CA", residue, number, position, **fields)
            for number, (residue, position) in enumerate(zip(residues, helix(len(residues)), strict=True), 1)
        ]

    return lines


@pytest.fixture
def write_text(tmp_path: Path) -> Callable[..., Path]:
    """Write text or lines to a file of the test's folder."""

    def write(text: str | list[str], name: str = "input.pdb") -> Path:
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else "".join(text))
        return path

    return write


@pytest.fixture
def two_chains() -> tuple[Topology, np.ndarray, np.ndarray]:
    """Give topology, present atoms and coordinates (3 frames) of two chains with atoms at made-up places."""
    topology = Topology.from_sequences("MKWA", "GPC")
    c_alpha = np.concatenate([helix(4), helix(3) + 1.5])
    offsets = np.random.default_rng(0).uniform(-0.1, 0.1, (3, topology.n_residues, 15, 3))
    offsets[:, :, SLOT_CA] = 0
    frames = np.arange(3)[:, None, None, None] * 0.01
    return topology, topology.atom_mask, c_alpha[None, :, None] + offsets + frames


@pytest.fixture
def write_frames(tmp_path: Path) -> Callable[..., Path]:
    """Write frames in the format of a name."""

    def write(
        name: str, topology: Topology, present: np.ndarray, coordinates: np.ndarray, **extras: np.ndarray
    ) -> Path:
        path = tmp_path / name
        with open_writer(path, AtomList.of_protein(topology, present)) as writer:
            writer.write(coordinates[:, present], **extras)
        return path

    return write
