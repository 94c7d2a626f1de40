"""How one field is drawn, whatever its number of grid dims: what the figures of `plot` have in common."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage

from sciffusion.statistics.grid import grid_dims
from sciffusion.units import label

__all__ = ["REAL", "color_scale", "draw_field", "label_outer"]

REAL = "0.15"
_MAP = "inferno"


def color_scale(real: xr.DataArray) -> Normalize:
    """Return the scale of a set: logarithmic for positive values, from the 0.5 % to the 99.9 % quantile."""
    values = np.asarray(real.values, dtype=np.float64)
    low, high = np.quantile(values, [0.005, 0.999])
    if low == high:
        low, high = low - 0.5 * abs(low) - 1e-30, high + 0.5 * abs(high) + 1e-30
    return LogNorm(low, high) if values.min() > 0 else Normalize(low, high)


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
    ax.plot(_centers(line, dim), line.values, color=REAL, lw=0.8)
    ax.set_xlim(*_limits(line, dim))
    if isinstance(norm, LogNorm):
        ax.set_yscale("log")


def _centers(field: xr.DataArray, dim: str) -> np.ndarray:
    return np.asarray(field[dim].values, dtype=np.float64)


def _limits(field: xr.DataArray, dim: str) -> tuple[float, float]:
    """Return the outer borders of the first and the last pixel; of a dim without coordinate, in pixels."""
    centers = _centers(field, dim)
    half = 0.5 * (centers[-1] - centers[0]) / max(len(centers) - 1, 1) or 0.5
    return float(centers[0] - half), float(centers[-1] + half)


def _axis_label(field: xr.DataArray, dim: str) -> str:
    return label(dim, str(field[dim].attrs.get("units", ""))) if dim in field.coords else f"{dim} [pixel]"


def label_outer(axes: np.ndarray, field: xr.DataArray) -> None:
    """Label the lowest row and the first column with the dims of the planes (for lines: with the values)."""
    *vertical, horizontal = grid_dims(field)[-2:]
    values = label(str(field.name or "value"), str(field.attrs.get("units", "")))
    for ax in axes[-1]:
        ax.set_xlabel(_axis_label(field, horizontal))
    for ax in axes[:, 0]:
        ax.set_ylabel(_axis_label(field, vertical[0]) if vertical else values)
