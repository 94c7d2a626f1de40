"""Put the model of a finished run into the package: `sciffusion.load("cdm")`.

    sciffusion-train --field cdm --out runs/cdm
    python benchmarks/package_model.py --run runs/cdm --name cdm

The weights are stored in float16, which halves the file; the scores of the run (its held-out simulations) and its
provenance go with it. A model card is written beside it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from record import circumstances, table

import sciffusion
from sciffusion.checkpoint import Checkpoint

FOLDER = Path(sciffusion.__file__).parent / "models"
LIMIT = 10e6  # bytes


def card(checkpoint: Checkpoint, name: str) -> str:
    """Return the model card: what it is, what it was trained on, how good it is."""
    header = checkpoint.header
    provenance, scores = header["provenance"], header["scores"]
    rows = []
    for row in scores["statistics"]:
        band = "" if row["k_max"] is None else f"{row['k_min']:.2g} to {row['k_max']:.3g}"
        numbers = (row["all_samples"], row["score"], row["floor"]["median"], row["floor"]["p95"])
        rows.append([row["label"], band, *(f"{value:.4f}" for value in numbers)])
    sizes = scores["sizes"]
    lines = [
        f"# Model `{name}`: {header['field']['long_name']}\n",
        "Made by `sciffusion-train` with the settings in the file, and `benchmarks/package_model.py`; weights stored "
        f"in float16. Trained on {provenance['training_maps']} maps ({provenance['samples_seen']} samples seen), "
        f"{provenance['data']}. Conditions: {', '.join(header['conditions'])}. Validity: the ranges that "
        "`sciffusion-info` shows; total matter of a particle-mesh simulation, no baryonic physics.\n",
        f"Scores on {sizes['real_samples']} maps of {sizes['real_groups']} simulations held out from training, as "
        "stored in the file; the floor is the same statistic between two halves of them.\n",
        table(["statistic", "k", "all maps", "N/2 beside N/2", "floor (median)", "floor (95 %)"], rows),
        f"Packaged on: {circumstances()}\n",
    ]
    return "\n".join(lines)


def main() -> None:
    """Convert and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True, type=Path, help="folder of the finished run")
    parser.add_argument("--name", required=True, help="name for sciffusion.load")
    options = parser.parse_args()
    checkpoint = Checkpoint.open(options.run / "checkpoint.safetensors")
    config = checkpoint.header["config"] | {"out": None, "data": []}
    checkpoint = replace(checkpoint, header=checkpoint.header | {"config": config})
    path = FOLDER / f"{options.name}.safetensors"
    checkpoint.save(path, overwrite=True, dtype=torch.float16)
    size = path.stat().st_size
    if size > LIMIT:
        raise SystemExit(f"{path} has {size / 1e6:.1f} MB, more than {LIMIT / 1e6:.0f} MB: use a smaller network")
    path.with_suffix(".md").write_text(card(checkpoint, options.name))
    print(f"{path}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
