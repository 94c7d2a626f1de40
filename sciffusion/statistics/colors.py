"""Colors of two sets of spectra beside each other, and beside those of a catalogue or those that were asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.distribution import quantile_functions, quantile_of, robust_scatter, transport
from sciffusion.statistics.grid import name_of
from sciffusion.statistics.photometry import check_flux, covered_colors, synthetic_colors
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic, difference

__all__ = ["Colors"]

_COVERED = 0.97
"""Least part of a band that spectra cover: both sets are cut alike (of SDSS g, 4000 Angstrom and above is 98 %)."""


@dataclass(frozen=True)
class Colors(Statistic):
    """Distributions of the synthetic colors, and how far they are from the catalogue's or the asked ones.

    Attributes
    ----------
    colors : tuple of str
        Those whose bands the wavelengths cover.
    asked : tuple of str
        Colors that both sets carry as coordinates along ``sample``: those of a catalogue for real spectra, those that
        were asked for for generated ones.
    std : ndarray (color,)
        Robust scatter of the real colors [mag].
    """

    colors: tuple[str, ...]
    asked: tuple[str, ...]
    std: np.ndarray
    name: str = field(default="colors", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray) -> Colors:
        """Integrate the real spectra once, for their scatter.

        Raises
        ------
        ValueError
            If the bands of no color are covered, or a color has no scatter.
        """
        colors = synthetic_colors(real, covered=_COVERED)
        std = robust_scatter(_functions(colors.values))[0]
        if not np.all(std > 0):
            raise ValueError(
                f"the colors {', '.join(colors.color.values)} of {name_of(real)} have the scatter {std} mag; "
                "a comparison needs spectra that differ, with good pixels in the bands"
            )
        names = tuple(colors.color.values.tolist())
        asked = tuple(name for name in names if all(_has(each, name) for each in (real, generated)))
        return cls(names, asked, std)

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if spectra cover the bands of no color, or have flux per frequency."""
        check_flux(field)
        covered_colors(field, _COVERED)

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return ``synthetic`` (sample, color), ``asked`` and ``residual`` (sample, asked color) [mag]."""
        found = synthetic_colors(part, self.colors, covered=_COVERED)
        asked = [np.asarray(part[name].values, np.float64) for name in self.asked]
        shape = (part.sizes["sample"], len(asked))
        table = np.stack(asked, axis=1) if asked else np.zeros(shape)
        residual = found.sel(color=list(self.asked)).values.reshape(shape) - table
        return {"synthetic": found.values, "asked": table, "residual": residual}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the quantile functions (splits, color, probability) of colors and residuals."""
        return {name: quantile_functions(measured[name], weight) for name in ("synthetic", "residual")}

    def scores(self, real: Measured) -> list[Score]:
        """Return the distance of each color's distribution, and differences in bias and scatter of the residuals."""
        rows = [self._distance(i, name) for i, name in enumerate(self.colors)]
        for i, name in enumerate(self.asked):
            title = f"{_title(name)} less asked"
            bias = lambda a, i=i: quantile_of(a["residual"], 0.5)[:, i]  # noqa: E731
            scatter = lambda a, i=i: robust_scatter(a["residual"])[:, i]  # noqa: E731
            rows.append(difference(f"color_{name}_bias", f"{title}, median, difference [mag]", bias, units="mag"))
            rows.append(
                difference(f"color_{name}_scatter", f"{title}, scatter, difference [mag]", scatter, units="mag")
            )
        return rows

    def _distance(self, i: int, name: str) -> Score:
        def distance(a: Averages, b: Averages) -> np.ndarray:
            return transport(a["synthetic"], b["synthetic"])[:, i] / self.std[i]

        def median(a: Averages) -> np.ndarray:
            return quantile_of(a["synthetic"], 0.5)[:, i]

        return Score(f"color_{name}", f"{_title(name)}, Wasserstein distance / σ", distance, median, "mag")

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the synthetic and the asked colors of every sample (real and generated)."""
        found = {}
        for which, samples in zip(("real", "generated"), parts.samples):
            for i, name in enumerate(self.colors):
                found[f"{name}_{which}"] = (which, samples["synthetic"][:, i], {"units": "mag"})
            for i, name in enumerate(self.asked):
                found[f"{name}_asked_{which}"] = (which, samples["asked"][:, i], {"units": "mag"})
        return xr.Dataset(found)


def _functions(values: np.ndarray) -> np.ndarray:
    return quantile_functions(values, np.full((1, len(values)), 1 / len(values)))


def _has(field: xr.DataArray, name: str) -> bool:
    """Return whether a coordinate holds a color of most samples."""
    if name not in field.coords or field[name].dims != ("sample",):
        return False
    return bool(np.isfinite(field[name].values).mean() > 0.5)


def _title(name: str) -> str:
    return name.replace("_", "−")
