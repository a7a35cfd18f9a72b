"""File names: the formats of suffixes, checks of input files, and names of outputs."""

from __future__ import annotations

from pathlib import Path

from backmap.errors import InputError

PDB_SUFFIXES = (".pdb", ".ent", ".pdb.gz", ".ent.gz")
MMCIF_SUFFIXES = (".cif", ".mmcif", ".cif.gz", ".mmcif.gz")
STRUCTURE_SUFFIXES = PDB_SUFFIXES + MMCIF_SUFFIXES

HDF5_SUFFIXES = (".h5", ".hdf5")
NETCDF_SUFFIXES = (".nc", ".netcdf", ".ncdf")
STREAMED_SUFFIXES = (".xtc", ".trr", ".dcd", *HDF5_SUFFIXES, *NETCDF_SUFFIXES)
"""Trajectory formats that are read and written in pieces."""

GRO_SUFFIXES = (".gro",)
GSD_SUFFIXES = (".gsd",)
LAMMPS_SUFFIXES = (".lammpstrj", ".lammpsdump", ".dump")
NPY_SUFFIXES = (".npy",)

LOADED_SUFFIXES = (
    ".xyz",
    ".xyz.gz",
    ".mdcrd",
    ".crd",
    ".rst7",
    ".restrt",
    ".inpcrd",
    ".ncrst",
    ".mol2",
)  # fmt: skip
"""Formats that mdtraj reads whole."""

TOPOLOGY_SUFFIXES = (
    *STRUCTURE_SUFFIXES, *GRO_SUFFIXES, *GSD_SUFFIXES, *HDF5_SUFFIXES,
    ".psf", ".prmtop", ".parm7", ".prm7", ".mol2", ".hoomdxml",
)  # fmt: skip
"""Formats that name residues."""

INPUT_SUFFIXES = (
    *STRUCTURE_SUFFIXES, *STREAMED_SUFFIXES, *GRO_SUFFIXES, *GSD_SUFFIXES, *LAMMPS_SUFFIXES,
    *NPY_SUFFIXES, *LOADED_SUFFIXES,
)  # fmt: skip
OUTPUT_SUFFIXES = STRUCTURE_SUFFIXES + GRO_SUFFIXES + STREAMED_SUFFIXES


def suffix_of(path: str | Path) -> str:
    """Return the lower-case suffix that names a format; ``.pdb.gz`` is one suffix."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if len(suffixes) > 1 and suffixes[-1] == ".gz":
        return suffixes[-2] + suffixes[-1]
    return suffixes[-1] if suffixes else ""


def stem_of(path: str | Path) -> str:
    """Return the file name without the suffix of :func:`suffix_of`."""
    name = Path(path).name
    return name[: len(name) - len(suffix_of(name))]


def with_suffix(path: str | Path, suffix: str) -> Path:
    """Replace the suffix of :func:`suffix_of`."""
    return Path(path).with_name(stem_of(path) + suffix)


def require_suffix(path: str | Path, known: tuple[str, ...], purpose: str) -> str:
    """Return the suffix of a path; refuse an unknown one with a list of the known ones."""
    suffix = suffix_of(path)
    if suffix not in known:
        shown = f"extension {suffix}" if suffix else "name without an extension"
        raise InputError(
            f"{path}: cannot tell the {purpose} format from the {shown}; use one of {' '.join(known)}"
        )
    return suffix


def require_file(path: str | Path) -> Path:
    """Return a path if it is a readable file that is not empty; refuse it otherwise."""
    path = Path(path)
    try:
        if path.is_dir():
            raise InputError(f"{path}: is a folder; give a file in it")
        if not path.exists():
            raise InputError(f"{path}: no such file; check the name")
        if not path.is_file():  # opening a pipe would wait for its other end
            raise InputError(f"{path}: is not a regular file; save its contents to a file first")
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if empty:
        raise InputError(f"{path}: is empty; make or copy it again")
    return path


def require_output_format(path: str | Path) -> str:
    """Return the suffix of an output; refuse a format that cannot be written."""
    if suffix_of(path) in INPUT_SUFFIXES and suffix_of(path) not in OUTPUT_SUFFIXES:
        raise InputError(
            f"{path}: {suffix_of(path)} files can only be read; use one of {' '.join(OUTPUT_SUFFIXES)}"
        )
    return require_suffix(path, OUTPUT_SUFFIXES, "output")


def sample_paths(path: str | Path, samples: int) -> list[Path]:
    """Return one output file per sample: ``out.pdb``, or ``out_1.pdb``, ``out_2.pdb`` ... for several."""
    path = Path(path)
    if samples == 1:
        return [path]
    return [path.with_name(f"{stem_of(path)}_{sample + 1}{suffix_of(path)}") for sample in range(samples)]


def unfinished_path(path: str | Path) -> Path:
    """Return the folder that contains an output until it is complete: ``out.dcd.partial``."""
    path = Path(path)
    return path.with_name(path.name + ".partial")


def manifest_path(path: str | Path) -> Path:
    """Return the file that records how an output was made: ``out.xtc.backmap.json``."""
    path = Path(path)
    return path.with_name(path.name + ".backmap.json")
