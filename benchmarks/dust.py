"""How good are the patches of dust that a model draws? Beside blocks of sky it never saw, with every floor.

    sciffusion-train --field dust
    python benchmarks/dust.py runs/dust

Compares patches that the model draws with the held-out ones: P(k) of the reddening and of its logarithm, slope,
structure function, distribution. Then the memorization check: the distance of each to the nearest training
patch. Results go to benchmarks/results/dust.md and docs/figures/dust_*.png.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from record import FIGURES, SCORE_COLUMNS, circumstances, nearest_text, score_rows, table, write

import sciffusion
from sciffusion import plot
from sciffusion.field import get_field
from sciffusion.statistics import nearest

NEAREST = 4000  # training patches, evenly from all


def main() -> None:
    """Draw, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="folder of a run, or checkpoint")
    parser.add_argument("--num", type=int, default=240, help="patches to draw")
    parser.add_argument("--name", default="dust", help="of the results")
    options = parser.parse_args()
    model = sciffusion.load(options.model)
    config = model.header["config"]
    kind = get_field(config["field"])
    field = kind.read(config["data"], **config["options"])
    split = {name: np.isin(field["group"].values, groups) for name, groups in model.header["split"].items()}
    # The test blocks and the validation blocks: the latter chose the average of the weights and nothing else.
    real = field.isel(sample=np.flatnonzero(split["test"] | split["validation"])).load()
    began = time.monotonic()
    drawn = model.generate(options.num, seed=29)
    seconds = time.monotonic() - began
    comparison = sciffusion.compare(real, drawn, diagnostics=kind.diagnostics)
    for name, figure in (
        ("power", plot.plot_power(comparison)),
        ("structure_function", plot.plot_structure_function(comparison)),
        ("pdf", plot.plot_pdf(comparison)),
        ("fields", plot.plot_fields(real[:: len(real) // 4][:4], drawn[:4])),
    ):
        plot.save(figure, FIGURES / f"{options.name}_{name}.png", overwrite=True)
    index = np.flatnonzero(split["train"])
    training = field.isel(sample=index[np.linspace(0, len(index) - 1, min(NEAREST, len(index))).astype(int)])
    distances = nearest(*(model.transform(each) for each in (drawn[: len(real)], training.load(), real)))
    plot.save(plot.plot_nearest(distances), FIGURES / f"{options.name}_nearest.png", overwrite=True)
    sizes = comparison.scores["sizes"]
    text = [
        f"# Patches of dust drawn by `{options.model.name}`\n",
        circumstances("xarray") + "\n",
        f"Trained on {model.header['provenance']['samples_seen']} crops of "
        f"{len(np.unique(field['group'][index]))} blocks; {options.num} patches drawn in {seconds:.0f} s "
        f"({config['sampling']['sampler']}, {config['sampling']['steps']} steps), beside "
        f"{sizes['real_samples']} held-out ones of {sizes['real_groups']} blocks; k in rad per degree.\n",
        table(SCORE_COLUMNS, score_rows(comparison)),
        "\n## Nearest training patch\n",
        nearest_text(distances, "patches"),
    ]
    write(f"{options.name}.md", "\n".join(text))


if __name__ == "__main__":
    main()
