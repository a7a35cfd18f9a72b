"""Write one output as a whole: the file appears only when all frames are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .atom_list import AtomList
from .durable.growing_file import GrowingOutput, output_files
from .durable.staging import publish, require_free, scratch_folder
from .naming import require_output_format


@contextmanager
def open_writer(
    path: str | Path,
    atoms: AtomList,
    *,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
    frame_interval_ps: float | None = None,
) -> Iterator[GrowingOutput]:
    """Write an output in any format.

    Parameters
    ----------
    path : path
        Final name; its suffix determines the format. Trajectory formats without residue names get a PDB file
        of their first frame beside them (mmCIF if chain names are too long for PDB).
    atoms : AtomList
        Atoms to write.
    overwrite : bool
        Whether an existing file may be replaced.
    inputs : iterable of path
        Files that are being read and must not be replaced.
    frame_interval_ps : float, optional
        Time between frames, for formats that store it in the header (DCD).
    """
    path = Path(path)
    require_output_format(path)
    inputs = list(inputs)
    for file in output_files(path, atoms):
        require_free(file, overwrite=overwrite, inputs=inputs)
    with scratch_folder(path) as folder:
        output = GrowingOutput(folder, path, atoms, frame_interval_ps=frame_interval_ps)
        yield output
        output.finish()
        publish({file.finished: file.final for file in output.files})
