"""Writing: formats, names, and files that appear whole or not at all."""

from __future__ import annotations

import json
import resource
import signal
from contextlib import contextmanager

import gemmi
import numpy as np
import pytest

from backmap.chemistry import Topology
from backmap.errors import InputError
from backmap.io import (
    AtomList,
    StagedFiles,
    manifest_path,
    open_source,
    open_writer,
    sample_paths,
    write_manifest,
)
from backmap.io.formats.structure_records import hybrid_36, pdb_templates
from tests.proteins import only_c_alphas

pytestmark = pytest.mark.filterwarnings("ignore:.*netCDF4")

FORMATS = (".pdb", ".pdb.gz", ".cif", ".gro", ".xtc", ".trr", ".dcd", ".nc", ".h5")


@contextmanager
def file_size_limit(size: int):
    """Let no file grow beyond a size, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def test_pdb_text(two_chains, write_frames):
    topology, present, coordinates = two_chains
    lines = write_frames("out.pdb", topology, present, coordinates[:1]).read_text().splitlines()
    assert not any(line.startswith("MODEL") for line in lines)
    assert [line.split()[0] for line in lines].count("TER") == 2
    assert lines[-1] == "END"
    x, y, z = 10 * coordinates[0, 0, 0]
    assert lines[0] == f"ATOM      1  N   MET A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           N  "
    ends = [line[12:26] for line in lines if " OXT " in line]
    assert ends == [" OXT ALA A   4", " OXT CYS B   3"]


def test_models_only_for_several_frames(two_chains, write_frames):
    text = write_frames("out.pdb", *two_chains).read_text()
    assert text.count("MODEL ") == text.count("ENDMDL") == 3


def test_frames_in_pieces_equal_frames_at_once(two_chains, tmp_path):
    topology, present, coordinates = two_chains
    for name in ("a.pdb", "b.cif"):
        at_once, in_pieces = tmp_path / name, tmp_path / f"pieces_{name}"
        with open_writer(at_once, AtomList.of_protein(topology, present)) as writer:
            writer.write(coordinates[:, present])
        with open_writer(in_pieces, AtomList.of_protein(topology, present)) as writer:
            for frame in coordinates:
                writer.write(frame[None, present])
        assert at_once.read_text().split("\n")[1:] == in_pieces.read_text().split("\n")[1:]


def test_insertion_codes_and_chain_names_come_back(tmp_path):
    topology = Topology(
        residue_types=np.array([0, 7, 7, 0]),
        chain_index=np.array([0, 0, 1, 2]),
        chain_ids=("H", "H", ""),
        residue_numbers=np.array([-3, 52, 52, 12345]),
        insertion_codes=("", "A", "B", ""),
    )
    coordinates = np.random.default_rng(0).uniform(0, 3, (1, 4, 15, 3))
    coordinates[:, 1] += 1
    for name in ("out.pdb", "out.cif"):
        with open_writer(tmp_path / name, AtomList.of_protein(topology, topology.atom_mask)) as writer:
            writer.write(coordinates[:, topology.atom_mask])
        with pytest.warns(UserWarning, match="chain break"):
            back = open_source(tmp_path / name).topology
        assert back.chain_ids == ("H", "H", "" if name == "out.pdb" else "B")
        assert back.residue_numbers.tolist() == topology.residue_numbers.tolist()
        assert back.insertion_codes == topology.insertion_codes
        assert back.chain_index.tolist() == [0, 0, 1, 2]


def test_long_chain_names_need_mmcif(tmp_path):
    topology = Topology(np.array([0]), np.array([0]), ("LONG",), np.array([1]))
    coordinates = np.zeros((1, 1, 15, 3))
    with pytest.raises(InputError, match="chain name LONG is too long for a PDB file; write mmCIF"):
        with open_writer(tmp_path / "out.pdb", AtomList.of_protein(topology, topology.atom_mask)):
            pass
    for name in ("out.cif", "other.xtc"):
        with open_writer(tmp_path / name, AtomList.of_protein(topology, topology.atom_mask)) as writer:
            writer.write(coordinates[:, topology.atom_mask])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.cif", "other.xtc", "out.cif"]
    assert open_source(tmp_path / "out.cif").topology.chain_ids == ("LONG",)


@pytest.mark.parametrize(
    ("number", "width", "text"),
    [(1, 5, "    1"), (99999, 5, "99999"), (100000, 5, "A0000"), (9999, 4, "9999"), (10000, 4, "A000")],
)  # fmt: skip
def test_hybrid_36(number, width, text):
    assert hybrid_36(number, width) == text


def test_more_atoms_than_serial_numbers():
    topology = Topology.from_sequences("G" * 26_000)
    mask = topology.atom_mask
    pieces = list(pdb_templates(AtomList.of_protein(topology, mask)))
    assert len(pieces) > 1 and sum(piece.n_atoms for piece in pieces) == mask.sum()
    text = "".join(piece.text for piece in pieces) % tuple(np.zeros(3 * mask.sum()))
    structure = gemmi.read_pdb_string(text)
    last = structure[0][0][-1]
    assert last.seqid.num == 26_000
    assert last[-1].serial == mask.sum()


def test_far_coordinates_do_not_fit_pdb(two_chains, tmp_path):
    topology, present, coordinates = two_chains
    with pytest.raises(InputError, match="do not fit into a PDB file; write mmCIF"):
        with open_writer(tmp_path / "out.pdb", AtomList.of_protein(topology, present)) as writer:
            writer.write(coordinates[:, present] + 1000)
    assert not list(tmp_path.iterdir())
    with open_writer(tmp_path / "out.cif", AtomList.of_protein(topology, present)) as writer:
        writer.write(coordinates[:, present] + 1000)
    (chunk,) = open_source(tmp_path / "out.cif").chunks(9)
    np.testing.assert_allclose(chunk.coordinates, coordinates[:, present] + 1000, atol=6e-5)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("trouble", [KeyboardInterrupt, RuntimeError])
def test_nothing_stays_after_trouble(two_chains, tmp_path, suffix, trouble):
    if suffix == ".h5":
        pytest.importorskip("tables")
    topology, present, coordinates = two_chains
    with pytest.raises(trouble):
        with open_writer(tmp_path / f"out{suffix}", AtomList.of_protein(topology, present)) as writer:
            writer.write(coordinates[:, present])
            raise trouble
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("limit", [0, 5_000])
def test_full_disk(two_chains, tmp_path, suffix, limit):
    if suffix == ".h5":
        pytest.importorskip("tables")
    topology, present, coordinates = two_chains
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=r"out.*: cannot be written"), file_size_limit(limit):
        with open_writer(tmp_path / f"out{suffix}", AtomList.of_protein(topology, present)) as writer:
            for _ in range(20):
                writer.write(coordinates[:, present] + rng.uniform(0, 1, 3))
    assert not list(tmp_path.iterdir())


def test_existing_output(two_chains, write_frames, tmp_path):
    topology, present, coordinates = two_chains
    path = write_frames("out.xtc", topology, present, coordinates)
    before = path.read_bytes()
    with pytest.raises(InputError, match="out.xtc: already exists; give --overwrite"):
        write_frames("out.xtc", topology, present, coordinates)
    path.rename(tmp_path / "moved.xtc")
    with pytest.raises(InputError, match="out.pdb: already exists"):
        write_frames("out.xtc", topology, present, coordinates)
    with open_writer(path, AtomList.of_protein(topology, present), overwrite=True) as writer:
        writer.write(coordinates[:, present])
    assert path.read_bytes() == before


def test_output_in_a_bad_place(two_chains, tmp_path):
    topology, present, _ = two_chains
    (tmp_path / "folder.pdb").mkdir()
    (tmp_path / "file").write_text("x")
    for path, message in (
        (tmp_path / "none" / "out.pdb", "the folder .*none does not exist; create it"),
        (tmp_path / "file" / "out.pdb", "file is not a folder"),
        (tmp_path / "folder.pdb", "is a folder; give the name of a file"),
        (tmp_path / "out.docx", "cannot tell the output format"),
    ):
        with (
            pytest.raises(InputError, match=message),
            open_writer(path, AtomList.of_protein(topology, present), overwrite=True),
        ):
            pass


def test_folder_without_permission(two_chains, tmp_path, monkeypatch):
    topology, present, _ = two_chains

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match="out.pdb: cannot be written: there is no permission"):
        with open_writer(tmp_path / "out.pdb", AtomList.of_protein(topology, present)):
            pass


def test_input_is_never_replaced(two_chains, write_frames):
    topology, present, coordinates = two_chains
    path = write_frames("in.pdb", topology, present, coordinates)
    for output in (path, path.with_suffix(".xtc")):
        with pytest.raises(InputError, match="in.pdb: is an input of this run"):
            with open_writer(output, AtomList.of_protein(topology, present), overwrite=True, inputs=[path]):
                pass


def test_files_of_a_set_appear_together(tmp_path):
    with StagedFiles() as files:
        for name in ("a.pdb", "b.pdb"):
            files.add(tmp_path / name).write_text(name)
            assert not (tmp_path / name).exists()
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["a.pdb", "b.pdb"]


def test_sample_names(tmp_path):
    assert [path.name for path in sample_paths("x/out.pdb.gz", 1)] == ["out.pdb.gz"]
    assert [str(path) for path in sample_paths("x/out.pdb.gz", 2)] == ["x/out_1.pdb.gz", "x/out_2.pdb.gz"]
    assert str(manifest_path("x/out.v2.pdb.gz")) == "x/out.v2.pdb.gz.backmap.json"


def test_manifest(tmp_path):
    write_manifest(tmp_path / "m.json", {"seed": 3})
    written = json.loads((tmp_path / "m.json").read_text())
    assert written["seed"] == 3
    assert {"python", "torch", "numpy", "mdtraj", "gemmi"} <= set(written["versions"])


def test_c_alphas_alone_can_be_written(two_chains, write_frames):
    topology, _, coordinates = two_chains
    source = open_source(write_frames("ca.pdb", topology, only_c_alphas(topology), coordinates))
    assert source.sites.names == ("CA",) * topology.n_residues
