"""Files of force fields that OpenMM cannot use."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import pytest

from backmap.errors import InputError
from backmap.physics import potential_from_files

pytest.importorskip("openmm")
STRUCTURE = Path(__file__).parents[2] / "examples/alanine_dipeptide/alanine_dipeptide.pdb"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense",
        b"\xff\xfe\x00",
        b"<a/>",
        b"<a>" * 100_000,
        b"<ForceField><Residues><Residue/></Residues></ForceField>",
        b'<ForceField><AtomTypes><Type name="1" class="1" mass="x"/></AtomTypes></ForceField>',
    ],
    ids=lambda content: repr(content[:30]),
)
def test_files_that_are_no_force_field_are_refused(content, tmp_path):
    (tmp_path / "ff.xml").write_bytes(content)
    topology = mdtraj.load_topology(str(STRUCTURE))
    for name in (tmp_path / "ff.xml", tmp_path, tmp_path / "missing.xml"):
        with pytest.raises(InputError, match=f"the force field {name} cannot be used: ") as refused:
            potential_from_files(topology, [str(name)])
        assert "\n" not in str(refused.value)
