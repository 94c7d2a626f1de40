"""The report on the maps that the packaged model draws, and on simulations beside simulations.

    python benchmarks/verdict.py --out verdict

Draws a map for each of the packaged test maps (twelve simulations that the model never saw), under its conditions, and
compares with all statistics, the training set at hand. Beside it the same of real maps: half of the training
simulations beside the other half. Reports go to --out, the table to benchmarks/results/verdict.md and, where there is a
Chromium or Chrome, a picture of the first page to docs/figures/.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import xarray as xr
from record import FIGURES, circumstances, table, write

import sciffusion

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")


def drawn_beside(real: xr.DataArray, name: str, seed: int) -> xr.DataArray:
    """Draw one map for each of `real`, under its conditions and with its group."""
    conditions = {key: real[key].values for key in ("Omega_m", "sigma_8")}
    drawn = sciffusion.load(name).generate(real.sizes["sample"], conditions=conditions, seed=seed)
    return drawn.assign_coords(group=("sample", real["group"].values))


def halves_of(field: xr.DataArray, seed: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Return two halves of the simulations."""
    groups = np.random.default_rng(seed).permutation(np.unique(field["group"].values))
    first = np.isin(field["group"].values, groups[: len(groups) // 2])
    return field[first], field[~first]


def picture(page: Path, target: Path) -> None:
    """Take a picture of the top of a page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        print("no Chromium or Chrome: no picture of the report")
        return
    with tempfile.TemporaryDirectory() as profile:
        flags = [*FLAGS, f"--user-data-dir={profile}", "--window-size=1180,1400", f"--screenshot={target}"]
        subprocess.run([browser, *flags, page.resolve().as_uri()], check=True, capture_output=True, timeout=120)


def described(title: str, comparison: sciffusion.Comparison, seconds: float) -> str:
    """Return verdict, findings and the lines that are not gold."""
    verdict, sizes = comparison.scores["verdict"], comparison.scores["sizes"]
    rows = []
    for row in comparison.scores["statistics"]:
        if row["level"] not in ("gold", None):
            band = "" if row["k_max"] is None else f"{row['k_min']:.2g} to {row['k_max']:.3g}"
            numbers = (row["score"], row["floor"]["median"], row["floor"]["limit"])
            rows.append([row["label"], band, *("" if n is None else f"{n:.3g}" for n in numbers), row["level"]])
    said = "\n".join(f"- {each}" for each in comparison.findings) or "- nothing"
    counted = ", ".join(f"{number} {level}" for level, number in verdict["lines"].items() if number)
    lines = table(["line", "k [h/Mpc]", "score", "floor (median)", "limit", "level"], rows) if rows else ""
    return (
        f"## {title}\n\n{sizes['generated_samples']} maps beside {sizes['real_samples']} ({sizes['real_groups']} "
        f"simulations), {seconds:.0f} s. Verdict: **{comparison.level}** ({counted}; "
        f"{len(verdict['unresolved'])} unresolved).\n\n{said}\n\n{lines}\n"
    )


def main() -> None:
    """Draw, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="cdm")
    parser.add_argument("--out", required=True, type=Path, help="folder for the reports")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    every = sciffusion.main_variable(sciffusion.open_field(sciffusion.packaged_data("cdm"))).load()
    real, train = every[every["split"] == "test"], every[every["split"] != "test"]
    sets = {
        "Maps drawn by the packaged model": (real, drawn_beside(real, given.model, given.seed), train),
        "Simulations beside simulations": (*halves_of(train, given.seed), None),
    }
    text = f"# What the report says of the packaged model\n\n{circumstances()}\n\n"
    for title, (ours, theirs, training) in sets.items():
        began = time.monotonic()
        comparison = sciffusion.compare(ours, theirs, train=training, diagnostics="all", progress=True)
        text += described(title, comparison, time.monotonic() - began)
        comparison.write(given.out / title.split()[0].lower(), overwrite=True)
    picture(given.out / "maps" / "index.html", FIGURES / "validation_report.png")
    write("verdict.md", text)


if __name__ == "__main__":
    main()
