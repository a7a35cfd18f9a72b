"""Every frame is judged: what is wrong with one is said by frame and residue, or the frame is left out."""

from __future__ import annotations

import time

import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.errors import InputError
from backmap.io import FrameRange, open_source, to_mdtraj
from backmap.io.selection.coordinate_checks import _coincidences
from tests.proteins import c_alpha_list

from .conftest import helix

FRAMES, RESIDUES, BAD = 150, 12, 131
"""The bad frame lies behind those that are looked at before anything is built."""


def flipped(places: np.ndarray, box: np.ndarray) -> None:
    places[4, 1] = np.float32(1.5e20)


def far(places: np.ndarray, box: np.ndarray) -> None:
    places[4, 1] = -2e5


def not_finite(places: np.ndarray, box: np.ndarray) -> None:
    places[7, 2] = np.nan


def torn(places: np.ndarray, box: np.ndarray) -> None:
    places[6:] += 5.0


def exploded(places: np.ndarray, box: np.ndarray) -> None:
    places *= np.linspace(1, 4, RESIDUES)[:, None]


def in_angstrom(places: np.ndarray, box: np.ndarray) -> None:
    places *= 10


def coinciding(places: np.ndarray, box: np.ndarray) -> None:
    places[9] = places[2] + 1e-4


def narrow_box(places: np.ndarray, box: np.ndarray) -> None:
    box[1, 1] = 0.6


def bad_box(places: np.ndarray, box: np.ndarray) -> None:
    box[0, 0] = np.nan


BAD_FRAMES = {
    flipped: "frame 132, chain A residue 5 GLY: a coordinate is 1.5e[+]20 nm, which no simulation reaches",
    far: "frame 132, chain A residue 5 GLY: a coordinate is -2e[+]05 nm",
    not_finite: "frame 132, chain A residue 8 GLY: a coordinate is not a finite number",
    torn: "frame 132: the bond between chain A residue 6 GLY and chain A residue 7 GLY is torn",
    exploded: "frame 132: neighbouring C-alphas are 1.9 nm apart, but 0.38. nm .* exploded",
    in_angstrom: "frame 132: neighbouring C-alphas are 3.8. nm apart, but 0.38. .* another unit",
    coinciding: "frame 132: the C-alphas of chain A residue 3 GLY and chain A residue 10 GLY are at the same",
    narrow_box: "frame 132: its box is 0.6 nm wide, less than two bonds",
    bad_box: "frame 132: its box is not finite",
}


@pytest.mark.parametrize("spoil", BAD_FRAMES, ids=lambda spoil: spoil.__name__)
def test_every_frame_is_judged(tmp_path, spoil):
    path, top = written(tmp_path, spoil)
    source = open_source(path, top)
    with pytest.raises(InputError, match=BAD_FRAMES[spoil]) as caught:
        list(source.chunks(20))
    assert "\n" not in str(caught.value)
    skipping = open_source(path, top, skip_bad=True)
    chunks = list(skipping.chunks(20))
    assert [int(number) for chunk in chunks for number in chunk.skipped] == [BAD]
    assert sum(map(len, chunks)) == FRAMES - 1
    from_it = open_source(path, top, frames=FrameRange(BAD), skip_bad=True)
    assert from_it.linked.tolist() == source.linked.tolist() == [True] * (RESIDUES - 1) + [False]
    with pytest.raises(InputError, match=BAD_FRAMES[spoil]):
        open_source(path, top, frames=FrameRange(BAD))


def written(folder, spoil):
    """Write frames of a helix of which one is spoilt, and their topology."""
    import mdtraj

    rng = np.random.default_rng(1)
    places = (helix(RESIDUES) + 3 + rng.normal(0, 0.003, (FRAMES, RESIDUES, 3))).astype(np.float32)
    boxes = np.tile(40 * np.eye(3, dtype=np.float32), (FRAMES, 1, 1))
    spoil(places[BAD], boxes[BAD])
    with mdtraj.open(str(folder / "run.trr"), "w") as file:
        file.write(places, time=np.arange(FRAMES), step=np.arange(FRAMES), box=boxes)
    atoms = c_alpha_list(Topology.from_sequences("G" * RESIDUES))
    to_mdtraj(atoms, helix(RESIDUES)[None]).save(str(folder / "top.pdb"))
    return folder / "run.trr", folder / "top.pdb"


def test_a_later_frame_that_looks_wrapped(tmp_path):
    def wrap(places, box):
        box[:] = 0
        places[6:, 0] += 6.0

    path, top = written(tmp_path, wrap)
    with pytest.raises(
        InputError, match="residue 6 GLY and chain A residue 7 GLY is torn .* looks wrapped: give"
    ):
        list(open_source(path, top).chunks(50))


@pytest.mark.parametrize("shape", ["line", "flat slab", "grid in a plane", "ball"])
def test_coincidences_are_found_in_linear_time(shape):
    rng = np.random.default_rng(2)

    def places(count: int) -> np.ndarray:
        if shape == "line":
            return np.stack([0.38 * np.arange(count), np.zeros(count), np.zeros(count)], axis=1)
        if shape == "grid in a plane":
            side = int(np.ceil(count**0.5))
            return np.stack([np.zeros(count), *(0.4 * np.array(np.divmod(np.arange(count), side)))], axis=1)
        thickness = 0.01 if shape == "flat slab" else count ** (1 / 3)
        width = count**0.5 if shape == "flat slab" else count ** (1 / 3)
        return rng.uniform(0, 1, (count, 3)) * [thickness, width, width]

    def seconds(count: int) -> float:
        given = places(count)
        given[count // 2] = given[7] + 1e-3
        best = np.inf
        for _ in range(3):
            begin = time.process_time()
            ((first, second),) = _coincidences(given[None])
            best = min(best, time.process_time() - begin)
        assert 0 <= first < second and np.linalg.norm(given[first] - given[second]) <= 0.01
        return best

    # A quadratic search would take a hundred times as long. Structures that fit the caches are faster.
    assert seconds(400_000) < 40 * seconds(40_000) + 0.05
