"""Figures of the spectra drawn for an object: its image, the best match and the envelope of all candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_loaders.layout import main_variable
from sciffusion.draw import FLOOR, GENERATED, REAL, wavelength_axis
from sciffusion.statistics.grid import good_pixels
from sciffusion.units import label

__all__ = ["plot_candidates", "plot_objects"]

_LEVELS = ((95, 0.5), (68, 1.0))  # percent of the candidates, and how strongly their band is drawn
_RGB = ("i", "r", "g")
_ARCSEC = 3600.0
_NOISE = 3.0  # scatters of the sky that are shown linearly


def plot_candidates(
    drawn: xr.Dataset,
    sample: int,
    truth: xr.DataArray | None = None,
    image: xr.DataArray | None = None,
    axes: Any = None,
) -> np.ndarray:
    """Draw what was drawn for an object: its image, the chosen spectrum, and where 68 % and 95 % of all spectra lie.

    Parameters
    ----------
    drawn : Dataset
        From `sciffusion.pipeline.best_of`.
    sample : int
        Which of its objects.
    truth : DataArray (wavelength), optional
        The observed or noise-free spectrum, in the same units; its bad pixels are left out.
    image : DataArray ([band,] y, x), optional
        Of the object, with ``y`` and ``x`` [deg]: a composite of i, r and g, stretched by asinh. Where one of these is
        not known, the mean of the known bands in gray.
    axes : ndarray of Axes, optional
        For the image and the spectra; without an image for the spectra alone.

    Returns
    -------
    ndarray of Axes (2,) or (1,)

    Raises
    ------
    ValueError
        If the number of axes is another, or the units of `truth` are others.

    Examples
    --------
    >>> x = xr.DataArray(np.arange(4000.0, 4040, 8), dims="wavelength", attrs={"units": "Angstrom"})
    >>> samples = xr.DataArray(np.ones((2, 3, 5)), dims=("sample", "candidate", "wavelength"), coords={"wavelength": x})
    >>> drawn = xr.Dataset({"flux": samples[:, 0], "samples": samples}, attrs={"field": "flux"})
    >>> (ax,) = plot_candidates(drawn, 1)
    >>> ax.get_xlabel()
    'wavelength [Å]'
    """
    chosen = main_variable(drawn).isel(sample=sample)
    if truth is not None and truth.attrs.get("units", "") != chosen.attrs.get("units", ""):
        told = f"truth is in {truth.attrs.get('units', '')!r}, the spectra in {chosen.attrs.get('units', '')!r}"
        raise ValueError(f"{told}; convert it")
    count = 1 if image is None else 2
    if axes is None:
        figure = Figure(figsize=(7.2 if image is None else 9.6, 2.9), layout="constrained")
        axes = figure.subplots(1, count, squeeze=False, width_ratios=(1, 2.7)[-count:])[0]
    axes = np.atleast_1d(np.asarray(axes, dtype=object))
    if axes.shape != (count,):
        raise ValueError(f"expected {count} axes, got {axes.shape}")
    if image is not None:
        _draw_image(image, axes[0])
    _draw_spectra(drawn.isel(sample=sample), chosen, truth, axes[-1])
    return axes


def plot_objects(drawn: xr.Dataset, objects: xr.Dataset, num: int = 4) -> np.ndarray:
    """Draw the first objects one above the other, each by `plot_candidates`.

    Parameters
    ----------
    drawn : Dataset
        From `sciffusion.pipeline.best_of`.
    objects : Dataset
        What it was drawn by: an ``image`` is shown, and the spectra, where they are the main variable and on the
        same wavelengths, are the truth.
    num : int
        Most objects.

    Returns
    -------
    ndarray of Axes (num, 2) or (num, 1)
    """
    num, name = min(num, drawn.sizes["sample"]), drawn.attrs["field"]
    axis = drawn["wavelength"].values
    there = objects.attrs.get("field") == name and name in objects and objects.sizes["wavelength"] == len(axis)
    has_truth = there and np.allclose(objects["wavelength"].values, axis)
    columns = 2 if "image" in objects else 1
    figure = Figure(figsize=(9.6 if columns == 2 else 7.2, 2.6 * num + 0.3), layout="constrained")
    axes = figure.subplots(num, columns, squeeze=False, width_ratios=(1, 2.7)[-columns:])
    for i, row in enumerate(axes):
        truth = objects[name].isel(sample=i) if has_truth else None
        plot_candidates(drawn, i, truth, objects["image"].isel(sample=i) if columns == 2 else None, row)
    return axes


def _draw_spectra(drawn: xr.Dataset, chosen: xr.DataArray, truth: xr.DataArray | None, ax: Axes) -> None:
    x, x_label = wavelength_axis(chosen["wavelength"])
    samples = drawn["samples"].transpose("candidate", "wavelength").values
    for percent, alpha in _LEVELS:
        low, high = np.percentile(samples, (50 - percent / 2, 50 + percent / 2), axis=0)
        text = f"{percent} % of {len(samples)}"
        ax.fill_between(x, low, high, color=FLOOR, alpha=alpha, lw=0, label=text)
    text = str(chosen.attrs.get("choice", "chosen"))
    if "cosine" in drawn:
        text += f" (cosine {float(drawn['cosine'].max()):.2f})"
    ax.plot(x, chosen.values, color=GENERATED, lw=0.9, label=text)
    if truth is not None:
        seen = np.where(good_pixels(truth), truth.values, np.nan)
        ax.plot(wavelength_axis(truth["wavelength"])[0], seen, color=REAL, lw=0.8, label="truth")
    ax.set_xlim(x[0], x[-1])
    ax.set_xlabel(x_label)
    ax.set_ylabel(label("flux", str(chosen.attrs.get("units", ""))))
    ax.legend(frameon=False, fontsize="x-small")


def _draw_image(image: xr.DataArray, ax: Axes) -> None:
    sides = [image[dim].values * _ARCSEC for dim in ("x", "y")]
    halves = [0.5 * (side[-1] - side[0]) / max(len(side) - 1, 1) for side in sides]
    left, right, bottom, top = (
        float(edge) for side, half in zip(sides, halves) for edge in (side[0] - half, side[-1] + half)
    )
    ax.imshow(_composite(image), origin="lower", extent=(left, right, bottom, top), interpolation="nearest")
    ax.set_xlabel("x [arcsec]")
    ax.set_ylabel("y [arcsec]")


def _composite(image: xr.DataArray) -> np.ndarray:
    """Red, green and blue (y, x, 3) from 0 to 1: the mean of the bands by asinh, their ratios as they are.

    Lupton et al. 2004, PASP 116, 133.
    """
    image = image if "band" in image.dims else image.expand_dims("band")
    image = image.transpose("band", "y", "x").astype(np.float64)
    known = image.isel(band=image.notnull().any(dim=["y", "x"]).values)
    if not known.sizes["band"]:
        return np.full((*image.shape[1:], 3), 0.5)  # nothing is known of it
    there = [str(band) for band in known["band"].values] if "band" in known.coords else []
    if set(_RGB) <= set(there):
        color = known.isel(band=[there.index(band) for band in _RGB]).values
    else:
        color = np.broadcast_to(known.mean("band").values, (3, *known.shape[1:]))
    color = np.nan_to_num(color)
    light = color.mean(axis=0)
    # The sky is the darker half of the image; its scatter about the median by quantiles, which galaxies do not move.
    sky, scatter = np.median(light), np.median(light) - np.quantile(light, 0.16)
    soft = max(_NOISE * scatter, 1e-6 * np.ptp(light), 1e-30)
    bright = np.arcsinh(np.maximum(light - sky, 0) / soft) / np.arcsinh(max((light.max() - sky) / soft, 1e-6))
    ratio = np.maximum(color - sky, 0) / np.maximum(light - sky, soft)
    rgb = np.moveaxis(ratio * bright, 0, -1)
    return rgb / np.maximum(rgb.max(axis=-1, keepdims=True), 1)  # too bright in one band: its hue stays
