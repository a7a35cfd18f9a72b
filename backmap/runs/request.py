"""The request for a run, as a value: every option with its limits, its help and the models it applies to.

The command line, the keywords in Python, error messages, the comparison by ``--resume`` and the tables of the
documentation all derive from the fields of these classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backmap.cluster.devices import DEVICES
from backmap.errors import OptionError
from backmap.inference.c_alpha_rule import MAX_BEAD_NOISE_NM, CAlphaMode, CAlphaRule
from backmap.inference.coherence import Coherence
from backmap.io import FrameRange
from backmap.io.naming import MMCIF_SUFFIXES, PDB_SUFFIXES, suffix_of
from backmap.io.selection.other_molecules import OthersKept
from backmap.limits import Flag, Name, OneOf, Real, Several, Whole
from backmap.models.protein.coherence_statistics import REFERENCE_KELVIN, read_coherence
from backmap.models.shipped import DEFAULT_MODEL
from backmap.options import check_options, defaults_of, option, options_of

PROTEINS = ("protein", "diamondback")
"""Families of models that build each frame of a protein separately."""

_FRAMES = Whole(1, 10**12)
_COUNT = Whole(0, 10**12)

_DRAWS_PER_BEST_GUESS = 3
"""A best guess compares three times as many side chains."""


@dataclass(frozen=True, kw_only=True)
class Building:
    """How atoms are built, for frames from any source."""

    model: str = option(
        DEFAULT_MODEL,
        Name("the name of a shipped model, or of a file"),
        "model to build with",
        metavar="NAME|FILE",
        group="building",
        decides=False,  # its content decides
    )
    samples: int = option(1, Whole(1, 10_000), "structures per frame", metavar="G", group="building")
    seed: int = option(0, Whole(0, 2**63 - 1), "seed of the random numbers", metavar="S", group="building")
    device: str = option("auto", OneOf(DEVICES), "where to compute", group="running", decides=False)
    sequence: str | None = option(
        None,
        Name(),
        "FASTA file with the amino-acid sequence, one record per chain",
        metavar="FASTA",
        group="files",
        families=PROTEINS,
        decides=False,  # its content decides
    )
    beads: str = option(
        "auto",
        Name("the name of a bead mapping, or of a file"),
        "what the positions are: a mapping of `backmap beads`, or the file of one; auto goes by names and "
        "distances",
        metavar="NAME|FILE",
        group="building",
        families=PROTEINS,
    )
    bead_model: str | None = option(
        None,
        Name(),
        "model that estimates C-alphas from the beads, from `backmap train beads`",
        unset="the one shipped for the mapping",
        metavar="FILE",
        group="building",
        families=("protein",),
        decides=False,  # its content decides
    )
    residues: str | None = option(
        None,
        Name(),
        "TOML file of modified residues to build besides those that are known",
        metavar="FILE",
        group="files",
        families=PROTEINS,
        decides=False,  # its content decides
    )
    skip_unknown: bool = option(
        False, Flag(), "leave out residues that cannot be built", group="building", families=PROTEINS
    )
    link: tuple[str, ...] | None = option(
        None,
        Several(Name("a link, as A:12:SG-B:30:SG")),
        "disulfides to build, each as CHAIN:NUMBER:SG-CHAIN:NUMBER:SG, and bonds that close chains head to "
        "tail, each as CHAIN:LAST:C-CHAIN:FIRST:N",
        unset="those that the input names, or that fit",
        metavar="LINK",
        group="building",
        families=("protein",),
    )
    nucleic_beads: str = option(
        "auto",
        Name("auto, keep, or the name or file of a bead mapping"),
        "what the beads of nucleic acids are: auto goes by their names, keep carries them along as they are",
        metavar="NAME|FILE",
        group="building",
        families=("protein",),
    )
    keep_others: bool = option(
        False,
        Flag(),
        "carry lipids, ligands, ions and water into the output as they are",
        group="building",
        families=("protein",),
    )
    keep_given: bool = option(
        False,
        Flag(),
        "keep all atoms of the input in place and build only the missing ones",
        group="building",
        families=("protein",),
    )
    c_alphas: CAlphaMode = option(
        "auto",
        OneOf(("auto", "keep", "relax")),
        "keep C-alphas in place, relax them as noisy beads, or decide frame by frame",
        group="building",
        families=PROTEINS,
    )
    bead_noise: float | None = option(
        None,
        Real(1e-6, MAX_BEAD_NOISE_NM),
        "standard deviation of each coordinate of a bead, in nm",
        unset="estimated",
        metavar="NM",
        group="building",
        families=PROTEINS,
    )
    best: bool = option(
        False,
        Flag(),
        "build the most probable structure instead of a draw",
        group="building",
        families=("protein",),
    )
    coherent: bool = option(
        False,
        Flag(),
        "draw each frame given the one before, so that atoms move as in a simulation",
        group="building",
        families=("protein",),
    )
    frame_interval: float | None = option(
        None,
        Real(1e-9, 1e12),
        "with coherent: time between successive frames of the input, in ps",
        unset="as the input says",
        metavar="PS",
        group="building",
        families=("protein",),
    )
    time_scale: float = option(
        1.0,
        Real(1e-6, 1e6),
        "with coherent: atomistic time that passes per time of the simulation",
        metavar="FACTOR",
        group="building",
        families=("protein",),
    )
    coherence: str | None = option(
        None,
        Name(),
        "with coherent: how fast torsions are forgotten, from `backmap train coherence`",
        unset="as in the simulations of backmap's own fit",
        metavar="FILE",
        group="building",
        families=("protein",),
        decides=False,  # its content decides
    )
    ddim_steps: int = option(
        0,
        Whole(0, 10_000),
        "steps of the DDIM sampler, which is faster",
        unset="the published sampler",
        metavar="N",
        group="building",
        families=("diamondback",),
    )
    redraws: int | None = option(
        None,
        Whole(0, 1_000),
        "how often an overlapping residue is drawn again; 0 as published",
        unset="chosen by the model",
        metavar="N",
        group="building",
        families=("diamondback",),
    )
    refine: int = option(
        0,
        Whole(0, 100_000_000),
        "steps of a simulation of each frame with its beads held in place",
        unset="none",
        metavar="STEPS",
        group="building",
        families=("temporal",),
    )
    temperature: float | None = option(
        None,
        Real(1.0, 10_000.0),
        "temperature of that simulation, or with coherent that of the input, in K",
        unset="that of the training data; 300 for coherent",
        metavar="K",
        group="building",
        families=("protein", "temporal"),
    )
    hydrogens: bool = option(
        False, Flag(), "add hydrogens, as chosen by OpenMM", group="finishing", families=PROTEINS
    )
    ph: float = option(
        7.0,
        Real(0.0, 14.0),
        "pH that decides protonation states",
        metavar="PH",
        group="finishing",
        families=PROTEINS,
    )
    names_for: str = option(
        "openmm",
        OneOf(("openmm", "gromacs", "gromacs-charmm", "amber")),
        "program whose names of protonation states and hydrogens are written; gromacs-charmm is GROMACS with "
        "a CHARMM force field",
        group="finishing",
        families=PROTEINS,
    )
    minimise: int = option(
        0,
        Whole(0, 1_000_000),
        "iterations of a minimisation of each frame, with hydrogens; C-alphas and kept atoms stay in place",
        unset="none",
        metavar="ITERATIONS",
        group="finishing",
        families=PROTEINS,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.keep_given and self.c_alpha_rule.asks_to_move:
            name = "bead_noise" if self.bead_noise is not None else "c_alphas"
            raise OptionError(name, "moves C-alphas, which keep_given keeps in place; give only one of them")
        if self.best:
            for name, given, what in (
                ("samples", self.samples > 1, "draws several structures"),
                ("seed", self.seed != 0, "chooses among draws"),
                ("coherent", self.coherent, "draws each frame given the one before"),
            ):
                if given:
                    raise OptionError(
                        name, f"{what}; --best builds a single one without drawing: omit one of them"
                    )
        if self.minimise and not self.hydrogens:
            raise OptionError("minimise", "needs --hydrogens as well")
        if self.names_for != "openmm" and not self.hydrogens:
            raise OptionError("names_for", "needs --hydrogens as well")

    @property
    def draws_in_memory(self) -> int:
        """How many draws of a frame need as much memory as what is built of it."""
        return _DRAWS_PER_BEST_GUESS if self.best else self.samples

    def others(self, family: str) -> OthersKept:
        """Return which molecules beside the protein are carried into the output."""
        if family != "protein":
            return "none"
        return "all" if self.keep_others else "nucleic-acids"

    @property
    def c_alpha_rule(self) -> CAlphaRule:
        """How C-alphas are treated."""
        return CAlphaRule(self.c_alphas, self.bead_noise)

    @property
    def coherence_rule(self) -> Coherence | None:
        """How much of a frame the next one remembers, for coherent frames.

        Raises
        ------
        InputError
            If the file of rates cannot be used.
        """
        if not self.coherent:
            return None
        statistics = None if self.coherence is None else read_coherence(self.coherence)
        return Coherence(self.temperature or REFERENCE_KELVIN, self.time_scale, statistics)

    def require_family(self, family: str) -> None:
        """Refuse options that do not apply to a family of models.

        Raises
        ------
        OptionError
            If such an option differs from its default.
        """
        defaults = defaults_of(type(self))
        for name, known in options_of(type(self)).items():
            if known.families and family not in known.families and getattr(self, name) != defaults[name]:
                others = " and ".join(known.families)
                raise OptionError(name, f"applies only to {others} models; {self.model} is a {family} model")
        if family != "protein" or self.coherent:
            return
        for name in ("frame_interval", "time_scale", "temperature", "coherence"):
            if getattr(self, name) != defaults[name]:
                raise OptionError(name, "applies only to coherent frames; ask for coherent as well")


@dataclass(frozen=True, kw_only=True)
class Request(Building):
    """A run from files to files."""

    input: tuple[str, ...] = option(
        ...,
        Several(Name()),
        "structure or trajectory: PDB, mmCIF, XTC, DCD, HDF5 ...",
        metavar="INPUT",
        group="files",
        decides=False,  # its content decides
    )
    output: str = option(
        ...,
        Name(),
        "file to write, whose suffix selects the format; a folder if a temporal model gets several inputs",
        metavar="OUTPUT",
        group="files",
        decides=False,
    )
    top: str | None = option(
        None,
        Name(),
        "topology for trajectories without residue names",
        metavar="TOPOLOGY",
        group="files",
        decides=False,  # its content decides
    )
    seed_from: str | None = option(
        None,
        Name(),
        "all-atom trajectory to take the first frames from",
        metavar="TRAJECTORY",
        group="files",
        families=("temporal",),
        decides=False,  # its content decides
    )
    atoms: str | None = option(
        None,
        Name("a selection of atoms"),
        "write only these atoms, in mdtraj's selection language: backbone, name CA CB",
        metavar="SELECTION",
        group="files",
    )
    confidence: bool = option(
        False,
        Flag(),
        "with best: write the expected error of each residue, in Angstrom, as B-factors, and to "
        "OUTPUT.backmap.json",
        group="files",
        families=("protein",),
    )
    one_file: bool = option(
        False, Flag(), "write all samples of a frame to one file, one after another", group="files"
    )
    overwrite: bool = option(
        False, Flag(), "replace the outputs of an earlier run", group="files", decides=False
    )
    begin: int = option(1, _FRAMES, "first frame to build, counted from 1", metavar="N", group="frames")
    end: int | None = option(
        None, _FRAMES, "last frame to build", unset="the last frame of the file", metavar="N", group="frames"
    )
    stride: int = option(1, _FRAMES, "build every N-th frame", metavar="N", group="frames")
    on_bad_frame: str = option(
        "stop",
        OneOf(("stop", "skip")),
        "what to do with frames whose coordinates are damaged",
        group="frames",
        decides=False,  # a run that stopped at a bad frame may be resumed and skip it
    )
    threads: int | None = option(
        None,
        Whole(1, 1_024),
        "processor threads of this process",
        unset="all cores",
        metavar="N",
        group="running",
        decides=False,
    )
    workers: int | None = option(
        None,
        Whole(1, 256),
        "build in N processes, each with its own GPU if there are any",
        metavar="N",
        group="running",
        decides=False,
    )
    scheduler: str | None = option(
        None,
        Name("the address of a scheduler, or its scheduler file"),
        "build on the workers of a Dask cluster",
        metavar="tcp://HOST:PORT|FILE",
        group="running",
        decides=False,
    )
    batch: int | None = option(
        None,
        Whole(1, 1_000_000),
        "frames that a worker builds together",
        unset="as many as free memory allows",
        metavar="FRAMES",
        group="running",
        decides=False,  # a resumed run uses the batch of its journal
    )
    chunk: int | None = option(
        None,
        _FRAMES,
        "number of frames that a kill can lose",
        unset="about one second of work",
        metavar="FRAMES",
        group="running",
        decides=False,
    )
    segments: int = option(
        1,
        Whole(1, 10_000),
        "split each trajectory into N parts that are built in parallel",
        metavar="N",
        group="running",
        families=("temporal",),
    )
    burn_in: int = option(
        0,
        _COUNT,
        "extra frames before each part, to forget how it started",
        metavar="FRAMES",
        group="running",
        families=("temporal",),
    )
    resume: bool = option(False, Flag(), "resume a run that was stopped", group="running", decides=False)
    log: str | None = option(
        None,
        Name(),
        "append events to a file of JSON lines",
        metavar="FILE",
        group="running",
        decides=False,
    )
    quiet: bool = option(
        False, Flag(), "show no progress bar and no summary line", group="running", decides=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.confidence and not self.best:
            raise OptionError("confidence", "is that of the best guess; ask for --best as well")
        if self.confidence and suffix_of(self.output) not in PDB_SUFFIXES + MMCIF_SUFFIXES:
            raise OptionError(
                "confidence", f"writes B-factors, which only PDB and mmCIF files have, not {self.output}"
            )
        if self.end is not None and self.end < self.begin:
            raise OptionError(
                "end", f"empty frame range {self.begin} to {self.end}: end must not precede begin"
            )
        if self.scheduler and self.workers:
            raise OptionError(
                "workers",
                "starts workers on this machine; give either workers or scheduler",
            )
        if self.burn_in and self.segments == 1:
            raise OptionError("burn_in", "applies only with several segments; increase segments as well")

    @property
    def deciding(self) -> dict[str, Any]:
        """Options that the written atoms depend on, by name; for files, the content decides instead."""
        return {name: getattr(self, name) for name, known in options_of(Request).items() if known.decides}

    @property
    def frames(self) -> FrameRange:
        """The requested frames."""
        return FrameRange(self.begin - 1, self.end, self.stride)
