"""Write the card of a model from what its file says of its training and what `quality.py --json` measured.

Run from the repository root::

    python benchmarks/model_card.py backmap/weights/protein.safetensors QUALITY.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from backmap.evaluation.scorecard import format_title, format_value
from backmap.models.checkpoint import Checkpoint, load_checkpoint

SUMMARIES = {
    "protein": """All heavy atoms of any protein of the twenty amino acids from its C-alphas: peptide angles
drawn along each chain, side-chain torsions on ideal geometry, side chains packed together.""",
    "diamondback": """All heavy atoms of any protein from its C-alphas by DiAMoNDBack, denoising diffusion
residue by residue along the chain; the compact network, which reads the environment once per residue.""",
}

MEASURES = ("bond", "clash", "diversity", "chi1_recovery", "chi1_divergence", "rmsd", "rmsd_backbone")

_SHARED_LIMITS = """- Input is C-alphas{beads}.
- Hydrogens come from `--hydrogens`, not from the model.
- Trained on crystal structures of folded proteins; disordered chains are extrapolation{noise}.
  C-alphas are drawn near noisy beads before atoms are built (`docs/models.md`).
- Ligands, metals and modified residues are not seen; side chains that bind them are drawn without them.
- Frames of a trajectory are drawn independently of each other{coherent}.
"""

LIMITS = {
    "protein": _SHARED_LIMITS.format(
        noise="\n  (a share of the training had noise on its C-alphas)",
        beads=", or beads from which C-alphas are estimated",
        coherent=", unless they are coherent (`--coherent`)",
    )
    + """- Atoms are drawn from geometry, not from an energy: minimise before a molecular-dynamics run. Rings
  are not kept free of bonds by construction; the packing makes penetration rare.
- Where C-alphas stay, peptides with a C-alpha distance under 0.34 nm are built cis, all others trans.""",
    "diamondback": _SHARED_LIMITS.format(noise="", beads="", coherent="")
    + """- Geometry is learned, not built in: some bonds are off, and nothing but learning keeps peptides
  trans and rings free of bonds. The protein model is better on nearly every measure, and many times faster.
- Segments of fewer than three residues cannot be built.
- Residues are built one after the other: speed comes from many frames or samples side by side.""",
}


def training_table(checkpoint: Checkpoint) -> str:
    """What went into the training."""
    provenance, training = checkpoint.provenance, checkpoint.provenance["training"]
    parameters = sum(tensor.numel() for tensor in checkpoint.tensors.values())
    rows = [
        ("parameters", f"{parameters:,}".replace(",", " ")),
        ("training data, SHA-256", provenance["data_sha256"]),
        ("validation data, SHA-256", provenance["validation_sha256"]),
        ("seed", provenance["seed"]),
        ("PyTorch", provenance["torch"]),
    ]
    stages = {
        "protein": (("peptide planes", "peptide_planes", "nats"), ("side chains", "side_chains", "nats")),
        "diamondback": (("network", "loop", "mean absolute error of the noise"),),
    }
    for title, stage, unit in stages[checkpoint.family]:
        history, settings = provenance["history"], training[stage]
        history = history[stage] if isinstance(history, dict) else history
        validation = [e["validation_loss"] for e in history if "validation_loss" in e]
        drawn = settings.get("drawn_per_epoch") or settings["structures_per_epoch"]  # its name in older files
        draws = f"{settings['epochs']} epochs of {drawn} structures"
        passes = f", {settings['passes']} passes each" if settings["passes"] > 1 else ""
        losses = f"loss {history[-1]['loss']:.3f}, validation {validation[-1]:.3f} {unit}"
        rows.append((title, f"{draws}{passes}; {losses}"))
    if contacts := training.get("contacts"):
        (found,) = provenance["history"]["contacts"]
        losses = f"{found['validation_loss_before']:.3f} nats before, {found['validation_loss']:.3f} after"
        rows.append(("contacts", f"{contacts['structures']} structures; validation {losses}"))
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in rows)])


def quality_table(scores: dict) -> str:
    """The leading measures on structures the model never saw."""
    lines = ["| measure | interior | all residues |", "| --- | --- | --- |"]
    for name in MEASURES:
        regions = (scores["measures"][name][region]["value"] for region in ("interior", "all"))
        lines.append(f"| {format_title(name)} | {' | '.join(format_value(name, v) for v in regions)} |")
    return "\n".join(lines)


def residue_table(scores: dict, checkpoint: Checkpoint) -> str:
    """Recovery of each residue type, and its loss where it is known."""
    loss = checkpoint.provenance.get("validation_loss_by_type")
    heads = ["residue", "chi1 compared", "chi1 within 40 degrees, %", "chi1 divergence"]
    heads += ["validation loss, nats"] if loss else []
    lines = [f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
    for row in scores["chi1_by_residue_type"]:
        name, whole = row["residue"], row["all"]
        cells = [name, f"{whole['count']}", f"{whole['recovery']:.1f}", f"{whole['divergence']:.3f}"]
        cells += [f"{loss.get(name, float('nan')):.2f}"] if loss else []
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def card(model: Path, checkpoint: Checkpoint, scores: dict) -> str:
    """The whole card."""
    measured = (
        f"{scores['n_structures']} structures, {scores['n_residues']} residues, {scores['n_samples']} samples"
    )
    return f"""# {model.stem}

{SUMMARIES[checkpoint.family]}

## Quality

Test-dev split of the structure corpus, never trained on: {measured}.
Command: `python benchmarks/quality.py --samples {scores["n_samples"]}`.

{quality_table(scores)}

{residue_table(scores, checkpoint)}

## Training

`backmap train {checkpoint.family} backmap/weights/{model.stem}.toml -o FOLDER`

{training_table(checkpoint)}

Configuration of the model (`docs/models.md` explains it):

```json
{json.dumps(checkpoint.config, indent=1)}
```

## Limits

{LIMITS[checkpoint.family]}
"""


def main() -> int:
    """Write the card beside the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("quality", type=Path)
    arguments = parser.parse_args()
    scores = json.loads(arguments.quality.read_text())[arguments.model.stem]
    text = card(arguments.model, load_checkpoint(arguments.model), scores)
    arguments.model.with_suffix(".md").write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
