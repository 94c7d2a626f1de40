"""Figures of the forward and the reverse process: strips of times, and animations."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from data_loaders.files import replacing
from sciffusion.draw import draw_field

__all__ = ["animate_trajectory", "plot_trajectory"]


def plot_trajectory(
    states: Sequence[xr.DataArray] | Mapping[str, Sequence[xr.DataArray]],
    times: Sequence[float],
    *,
    columns: int = 8,
    axes: Any = None,
) -> np.ndarray:
    """Draw a strip of times: how a field becomes noise, and noise a field.

    Parameters
    ----------
    states : sequence of DataArray ([sample, channel,] *grid), or mapping of such sequences
        The field at each time, in the units of the network; the first sample and channel are drawn. A mapping, such as
        ``{"forward": [...], "reverse": [...]}``, gives a row each.
    times : sequence of float
        The time of each state, one for all rows.
    columns : int
        Most times to draw, evenly chosen, the first and the last included.
    axes : ndarray of Axes (rows, columns), optional

    Returns
    -------
    ndarray of Axes (rows, columns)

    Raises
    ------
    ValueError
        If a row has not one state for each time, or given axes have another shape.
    """
    rows = states if isinstance(states, Mapping) else {"": states}
    if odd := [name for name, row in rows.items() if len(row) != len(times)]:
        raise ValueError(
            f"expected {len(times)} states, one for each time, in the row {odd[0]!r}; got {len(rows[odd[0]])}"
        )
    chosen = np.unique(np.linspace(0, len(times) - 1, min(columns, len(times))).round().astype(int))
    if axes is None:
        figure = Figure(figsize=(1.7 * len(chosen) + 0.4, 1.9 * len(rows) + 0.3), layout="constrained")
        axes = figure.subplots(len(rows), len(chosen), squeeze=False, sharex=True, sharey=True)
    axes = np.asarray(axes)
    if axes.shape != (len(rows), len(chosen)):
        raise ValueError(f"expected axes ({len(rows)}, {len(chosen)}), got {axes.shape}")
    for ax_row, (name, row) in zip(axes, rows.items()):
        norm = _common_scale([row[i] for i in chosen])
        for ax, i in zip(ax_row, chosen):
            _frame(row[i], ax, norm)
            ax.set_title(f"t = {times[i]:.2f}", fontsize="small")
        ax_row[0].set_ylabel(name)
    return axes


def animate_trajectory(
    states: Sequence[xr.DataArray],
    times: Sequence[float],
    path: str | os.PathLike,
    *,
    frames_per_second: float = 12.0,
    overwrite: bool = False,
) -> None:
    """Write an animation (GIF) of the states of one sample, which stays on the last one for a second.

    Parameters
    ----------
    states, times
        As in `plot_trajectory`, one row.
    path : path
        Ends in ``.gif``.
    frames_per_second : float
    overwrite : bool

    Raises
    ------
    FileExistsError
        If the file is there and `overwrite` is false.
    ValueError
        If the path does not end in ``.gif``, or there is not one state for each time.
    """
    from PIL import Image

    if not str(path).endswith(".gif"):
        raise ValueError(f"{path}: an animation is a .gif")
    if len(states) != len(times) or not len(times):
        raise ValueError(f"expected one state for each time; got {len(states)} and {len(times)}")
    norm, frames = _common_scale(states), []
    for state, t in zip(states, times):
        figure = Figure(figsize=(3.2, 3.4), layout="constrained")
        canvas, ax = FigureCanvasAgg(figure), figure.subplots()
        _frame(state, ax, norm)
        ax.set_title(f"t = {t:.3f}")
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("P", palette=Image.Palette.ADAPTIVE))
    pause = round(1000 / frames_per_second)
    with replacing(path, overwrite) as temporary:
        frames[0].save(
            temporary, save_all=True, append_images=frames[1:], duration=[*[pause] * (len(frames) - 1), 1000], loop=0
        )


def _common_scale(states: Sequence[xr.DataArray]) -> Normalize:
    ends = np.array([np.quantile(_first(state).values, [0.005, 0.995]) for state in states], dtype=np.float64)
    return Normalize(ends[:, 0].min(), ends[:, 1].max())


def _first(state: xr.DataArray) -> xr.DataArray:
    return state.isel({dim: 0 for dim in ("sample", "channel") if dim in state.dims}, drop=True)


def _frame(state: xr.DataArray, ax: Axes, norm: Normalize) -> None:
    if draw_field(_first(state), ax, norm) is None:
        ax.set_ylim(norm.vmin, norm.vmax)
    ax.set_xticks([])
    ax.set_yticks([])
