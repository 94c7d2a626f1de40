"""How one field is drawn, whatever its number of grid dims: what the figures of `plot` have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage
from matplotlib.ticker import LogLocator

from sciffusion.statistics.grid import good_pixels, grid_dims, is_spectrum
from sciffusion.units import label

__all__ = [
    "FLOOR",
    "GENERATED",
    "REAL",
    "color_scale",
    "decade_labels",
    "draw_field",
    "label_outer",
    "wavelength_axis",
]

REAL, GENERATED, FLOOR = "0.15", "#c1440e", "0.75"
_MAP = "inferno"
_MICRON = 1e4  # Angstrom


def color_scale(real: xr.DataArray) -> Normalize:
    """Return the scale of a set: logarithmic for positive values, from the 0.5 % to the 99.9 % quantile."""
    values = np.asarray(real.values, dtype=np.float64)
    low, high = np.quantile(values, [0.005, 0.999])
    if low == high:
        low, high = low - 0.5 * abs(low) - 1e-30, high + 0.5 * abs(high) + 1e-30
    return LogNorm(low, high) if values.min() > 0 else Normalize(low, high)


def decade_labels(ax: Any) -> None:
    """Label a logarithmic axis of a decade or two: it needs more labels than the powers of ten."""
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")


def _plane(field: xr.DataArray) -> xr.DataArray:
    """Return the middle slice through all grid dims but the last two."""
    return field.isel({dim: field.sizes[dim] // 2 for dim in grid_dims(field)[:-2]})


def draw_field(field: xr.DataArray, ax: Axes, norm: Normalize) -> AxesImage | None:
    """Draw one field; returns the image, or None for a line."""
    plane = _plane(field.squeeze("channel", drop=True) if "channel" in field.dims else field)
    dims = grid_dims(plane)
    return (_draw_map if dims[1:] else _draw_line)(plane, dims, ax, norm)


def _draw_map(plane: xr.DataArray, dims: tuple[str, ...], ax: Axes, norm: Normalize) -> AxesImage:
    vertical, horizontal = dims
    return ax.imshow(
        np.asarray(plane.values, dtype=np.float64),
        origin="lower",
        extent=(*_limits(plane, horizontal), *_limits(plane, vertical)),
        norm=norm,
        cmap=_MAP,
        interpolation="nearest",
    )


def _draw_line(line: xr.DataArray, dims: tuple[str, ...], ax: Axes, norm: Normalize) -> None:
    (dim,) = dims
    # what is under a mask was filled in for the network, and is no data
    ax.plot(_axis(line, dim)[0], np.where(good_pixels(line), line.values, np.nan), color=REAL, lw=0.8)
    ax.set_xlim(*_limits(line, dim))
    if isinstance(norm, LogNorm) and not is_spectrum(line):  # noise has both signs
        ax.set_yscale("log")


def wavelength_axis(wavelength: xr.DataArray) -> tuple[np.ndarray, str]:
    """Return wavelengths as an axis has them, and its label: long ones in microns.

    Examples
    --------
    >>> values = xr.DataArray([8500.0, 24000.0], dims="wavelength", attrs={"units": "Angstrom"})
    >>> wavelength_axis(values)
    (array([0.85, 2.4 ]), 'wavelength [µm]')
    """
    values, units = np.asarray(wavelength.values, dtype=np.float64), str(wavelength.attrs.get("units", ""))
    if units in ("Angstrom", "AA") and values.max() - values.min() > _MICRON:
        return values / _MICRON, "wavelength [µm]"
    return values, label("wavelength", units)


def _axis(field: xr.DataArray, dim: str) -> tuple[np.ndarray, str]:
    """Return the pixel centers of a dim and the label of its axis; without a coordinate, in pixels."""
    if dim == "wavelength" and dim in field.coords:
        return wavelength_axis(field[dim])
    text = label(dim, str(field[dim].attrs.get("units", ""))) if dim in field.coords else f"{dim} [pixel]"
    return np.asarray(field[dim].values, dtype=np.float64), text


def _limits(field: xr.DataArray, dim: str) -> tuple[float, float]:
    """Return the outer borders of the first and the last pixel; of a dim without coordinate, in pixels."""
    centers = _axis(field, dim)[0]
    half = 0.5 * (centers[-1] - centers[0]) / max(len(centers) - 1, 1) or 0.5
    return float(centers[0] - half), float(centers[-1] + half)


def label_outer(axes: np.ndarray, field: xr.DataArray) -> None:
    """Label the lowest row and the first column with the dims of the planes (for lines: with the values)."""
    *vertical, horizontal = grid_dims(field)[-2:]
    values = label(str(field.name or "value"), str(field.attrs.get("units", "")))
    for ax in axes[-1]:
        ax.set_xlabel(_axis(field, horizontal)[1])
    for ax in axes[:, 0]:
        ax.set_ylabel(_axis(field, vertical[0])[1] if vertical else values)
