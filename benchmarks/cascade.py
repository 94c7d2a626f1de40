"""How far the second model of a cascade keeps to the spectra of low resolution that it is given.

Needs two runs of ``sciffusion-train --field galaxy_spectra``: the usual one, and one with ``--preset
galaxy_spectra_fine``. Writes ``results/cascade.md`` and ``docs/figures/cascade.png``.

    python benchmarks/cascade.py runs/galaxy_spectra runs/galaxy_spectra_fine [--num 48] [--results DIR]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from record import FIGURES, RESULTS, circumstances, table

from data_loaders.spectra import coarse_shape, rebin
from sciffusion.cascade import Cascade, departure, load_cascade
from sciffusion.fields.galaxies import galaxy_spectra

LEVELS = (0.0, 0.1, 0.25, 0.5)
LINE, SHOWN = 6564.6, 4  # H alpha in vacuum [Angstrom]
_BETWEEN = 12  # Angstrom from the line to where its continuum is seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("coarse", type=Path)
    parser.add_argument("fine", type=Path)
    parser.add_argument("--num", type=int, default=48, help="held-out galaxies")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--figures", type=Path, default=FIGURES)
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message=".*outside the training set's range")
    cascade = load_cascade(given.coarse, given.fine)
    real = held_out(cascade, given.num)
    low = at_low_resolution(real, cascade)
    drawn = {level: refined(cascade, real, level) for level in LEVELS}
    rows = [row("true spectra", real["flux"], low, real), row("coarse, interpolated", interpolated(real), low, real)]
    rows += [row(f"drawn, noise {level:g}", out, low, real) for level, out in drawn.items()]
    whole, first = both(cascade, real)
    rows += [row("cascade, beside its own first stage", whole, first, real)]
    made = cascade.stages[1].header["provenance"]
    seen = f"trained on {made['training_maps']} galaxies, {made['samples_seen']} draws of them"
    text = f"# The second stage of a cascade\n\n{circumstances()}\n\n"
    text += f"{given.num} held-out galaxies; the second model was {seen}.\n\n{table(COLUMNS, rows)}\n{NOTES}"
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "cascade.md").write_text(text, encoding="utf-8")
    print(text)
    figure(real, low, drawn[LEVELS[1]], given.figures / "cascade.png")


def held_out(cascade: Cascade, num: int) -> xr.Dataset:
    """The first test galaxies of the fine model, as it was given them."""
    header = cascade.stages[1].header
    ds = galaxy_spectra.read(header["config"]["data"], **header["config"]["options"])
    test = np.flatnonzero(np.isin(ds["group"].values, header["split"]["test"]))[:num]
    return ds.isel(sample=test).load()


def at_low_resolution(real: xr.Dataset, cascade: Cascade) -> xr.DataArray:
    """True spectra in the pixels of the first model, with the error of each pixel."""
    grid = cascade.stages[0].checkpoint.coords["wavelength"]
    arrays = (real[name].values for name in ("flux", "ivar", "mask"))
    flux, ivar, mask = rebin(real["wavelength"].values, grid.values, *arrays)
    flux = np.where(mask, np.nan, flux)
    error = np.where(ivar > 0, 1 / np.sqrt(np.where(ivar > 0, ivar, 1)), np.nan)
    coords = {"wavelength": grid, "error": (("sample", "wavelength"), error)}
    return xr.DataArray(flux, dims=("sample", "wavelength"), coords=coords, attrs=real["flux"].attrs)


def interpolated(real: xr.Dataset) -> xr.DataArray:
    """What the second model is given, as flux on its own pixels."""
    return real["flux"].copy(data=np.sinh(real["coarse"].values) * 10 ** real["log_norm"].values[:, None])


def refined(cascade: Cascade, real: xr.Dataset, level: float) -> xr.DataArray:
    """Spectra that the second model draws of what the true ones are at low resolution."""
    fine = cascade.stages[1]
    conditions = {name: real[name].values for name in ("coarse", "log_norm")}
    return fine.generate(real.sizes["sample"], conditions=conditions, sampling={"augmentation": level}, progress=False)


def both(cascade: Cascade, real: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Spectra of the cascade for the held-out galaxies, and those of its first stage."""
    names = [name for name in cascade.stages[0].conditions.names if name != "mask" and name in real]
    asked = {"conditions": {name: real[name].drop_vars("sample", errors="ignore") for name in names}, "progress": False}
    num = real.sizes["sample"]
    return cascade.generate(num, **asked), cascade.stages[0].generate(num, **asked)


COLUMNS = ["spectra", "departure / norm", "departure / error", "amplitude [dex]", "noise of 1 Å", "Hα peak"]
NOTES = """\
Departure: fine spectra, rebinned, minus the coarse ones that they were given, rms over pixels of 8 Å beside the mean
flux of the window (median galaxy), and beside the error of a coarse pixel of the true spectrum (robust scatter).
Amplitude: rms difference of the mean flux in the window. Of the drawn spectra over the true ones: the scatter between
neighboring pixels of 1 Å, and the height of Hα above the continuum, of the galaxies where it is strong.
"""


def row(name: str, fine: xr.DataArray, low: xr.DataArray, real: xr.Dataset) -> list[str]:
    """One line of the table."""
    good = low.fillna(0.0)
    apart = departure(fine, good).where(low.notnull().values)
    norm = 10 ** coarse_shape(good.values, low["wavelength"].values, low["wavelength"].values)[1]
    error = low["error"].values if "error" in low.coords else np.full(low.shape, np.nan)
    rms = np.sqrt(np.nanmean(apart.values**2, axis=1))
    sigma = np.abs(apart.values * norm[:, None] / error)
    fine_norm = 10 ** coarse_shape(fine.values, fine["wavelength"].values, fine["wavelength"].values)[1]
    amplitude = np.sqrt(np.mean(np.log10(fine_norm / norm) ** 2))
    known = np.isfinite(sigma).any()
    return [
        name,
        f"{np.median(rms):.4f}",
        f"{np.nanmedian(sigma) / 0.6745:.2f}" if known else "",
        f"{amplitude:.4f}",
        f"{np.median(roughness(fine) / roughness(real['flux'])):.2f}",
        f"{np.median(heights(fine, real) / heights(real['flux'], real)):.2f}" if known else "",
    ]


def roughness(field: xr.DataArray) -> np.ndarray:
    """Robust scatter of the second differences of each spectrum, over its mean: noise, for smooth spectra."""
    values = field.values / np.abs(field.values.mean(1, keepdims=True))
    return np.median(np.abs(np.diff(values, 2, axis=1)), axis=1)


def heights(field: xr.DataArray, real: xr.Dataset) -> np.ndarray:
    """Height of H alpha above the continuum beside it, of the galaxies where it is strong."""
    flux = real["Halpha"].values
    out = []
    for i in np.flatnonzero(flux > np.quantile(flux, 0.6)):
        offset = np.abs(field["wavelength"].values - LINE * (1 + real["redshift"].values[i]))
        beside = np.median(field.values[i, (offset > 4 * _BETWEEN) & (offset < 10 * _BETWEEN)])
        out.append(field.values[i, offset < _BETWEEN / 4].max() - beside)
    return np.array(out)


def figure(real: xr.Dataset, low: xr.DataArray, drawn: xr.DataArray, path: Path) -> None:
    """True, coarse and drawn spectra: whole, and around H beta and H alpha."""
    chosen = np.argsort(real["Halpha"].values)[:: -(-real.sizes["sample"] // SHOWN)][:SHOWN]
    fig, axes = plt.subplots(
        len(chosen), 3, figsize=(13, 2.3 * len(chosen)), width_ratios=(2, 1, 1), layout="constrained"
    )
    for line, i in zip(axes, chosen):
        z = real["redshift"].values[i]
        windows = [(4000, 8500), (4830 * (1 + z), 5040 * (1 + z)), (6500 * (1 + z), 6630 * (1 + z))]
        for ax, (left, right) in zip(line, windows):
            ax.plot(real["wavelength"], real["flux"][i], color="0.7", lw=0.8, label="true, 1 Å")
            ax.plot(drawn["wavelength"], drawn[i], color="C0", lw=0.8, label="drawn, 1 Å")
            ax.step(low["wavelength"], low[i], color="C3", lw=0.8, where="mid", label="given, 8 Å")
            ax.set_xlim(left, right)
            inside = (real["wavelength"] > left) & (real["wavelength"] < right)
            seen = np.concatenate([real["flux"][i].values[inside], drawn[i].values[inside]])
            ax.set_ylim(*np.quantile(seen, [0.001, 1.0]) * [0.9, 1.05])
    axes[0, 0].legend(fontsize=7)
    for ax in axes[-1]:
        ax.set_xlabel("wavelength [Å]")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)
    print(path)


if __name__ == "__main__":
    main()
