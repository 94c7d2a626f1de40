"""Two sets of fields beside each other: every number with its real-vs-real floor.

A figure without its floor says nothing: two halves of the real set differ too. So each distance is computed
between the generated set and a half of the real one, and between the two halves of the real one, whole
groups (simulations, objects) on one side, as many samples beside as many, over many splits. Every sample is
measured once; the splits are averages of these numbers.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.table import Column, QTable

from data_loaders.files import replacing
from sciffusion.statistics.floor import Parts, mean_errors
from sciffusion.statistics.grid import Grid, agreeing
from sciffusion.statistics.score import scores
from sciffusion.statistics.split import draw, halves, weights
from sciffusion.statistics.summary import Summary, averages
from sciffusion.units import as_unit

__all__ = ["DIAGNOSTICS", "FILES", "Comparison", "compare"]

FORMAT_VERSION = 1
DIAGNOSTICS = ("slope", "structure_function", "colors")
"""What may be asked for besides the usual."""
FILES = ("scores.json", "power.ecsv", "fields.png", "power.png", "pdf.png")
"""What `Comparison.write` puts into a folder."""
_EXAMPLES = 4


@dataclass(frozen=True)
class Comparison:
    """The result of `compare`.

    Attributes
    ----------
    scores : dict
        Everything as plain numbers, for JSON: ``format_version``, ``sizes``, ``grid``, and ``statistics``,
        a list with for each line its name, band of k, ``score`` (generated against a half of the real set,
        mean over splits), ``floor`` (the same between the halves: median and 95th percentile),
        ``all_samples`` (all against all), and the values of both sets.
    spectra : Dataset (k)
        For ``power`` and, of positive fields, ``log_power``: mean and standard deviation between samples of
        both sets, ratio with its error, and the 95 % range of the ratio of two real halves.
    distribution : Dataset (value)
        Probability density of the one-point field of both sets, and the 95 % range of real halves.
    examples : tuple of DataArray (sample, *grid)
        A few real and generated fields.
    """

    scores: dict[str, Any]
    spectra: xr.Dataset
    distribution: xr.Dataset
    examples: tuple[xr.DataArray, xr.DataArray]

    @property
    def table(self) -> QTable:
        """The scores as an astropy table; the band of k carries units."""
        rows, k = self.scores["statistics"], _astropy(self.scores["grid"]["k_units"])
        return QTable(
            {
                "statistic": [row["name"] for row in rows],
                "k_min": np.array([row["k_min"] for row in rows], dtype=float) * k,
                "k_max": np.array([row["k_max"] for row in rows], dtype=float) * k,
                "score": [row["score"] for row in rows],
                "floor": [row["floor"]["median"] for row in rows],
                "floor_95": [row["floor"]["p95"] for row in rows],
                "all_samples": [row["all_samples"] for row in rows],
            },
            meta={"format_version": FORMAT_VERSION, "sizes": self.scores["sizes"]},
        )

    @property
    def power_table(self) -> QTable:
        """The spectra as an astropy table with units, a row for each k."""
        columns = {"k": self.spectra.k, "modes": self.spectra.modes, **self.spectra.data_vars}
        units = {name: _astropy(column.attrs["units"]) for name, column in columns.items()}
        table = QTable({name: Column(column.values, unit=units[name]) for name, column in columns.items()})
        table.meta = {"format_version": FORMAT_VERSION, "sizes": self.scores["sizes"]}
        return table

    def summary(self) -> str:
        """Return the table as short text."""
        sizes, units = self.scores["sizes"], self.scores["grid"]["k_units"]
        lines = [
            f"{sizes['generated_samples']} generated beside {sizes['real_samples']} real samples "
            f"({sizes['real_groups']} groups); "
            f"score and floor: {sizes['half']} beside {sizes['half']}, {sizes['splits']} splits by group",
            f"{'':44}{'k [' + units + ']':>14}{'score':>9}{'floor':>9}{'(95 %)':>9}{'all':>9}",
        ]
        for row in self.scores["statistics"]:
            band = "" if row["k_max"] is None else f"{row['k_min']:.3g} - {row['k_max']:.3g}"
            numbers = (row["score"], row["floor"]["median"], row["floor"]["p95"], row["all_samples"])
            lines.append(f"{row['label']:<44}{band:>14}" + "".join(f"{number:9.4f}" for number in numbers))
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def write(self, directory: str | os.PathLike, overwrite: bool = False) -> None:
        """Write `FILES`: scores, spectra (ECSV with units) and figures, each put in place whole.

        Parameters
        ----------
        directory : path
            Made where it is missing.
        overwrite : bool
            Replace files of these names; others in the directory are left alone.

        Raises
        ------
        FileExistsError
            If one of the files is there and `overwrite` is false; nothing is written then.
        """
        from sciffusion import plot

        folder = Path(directory)
        refuse_existing(folder, overwrite)
        with replacing(folder / "scores.json", overwrite) as path:
            text = json.dumps(self.scores, indent=1, ensure_ascii=False, allow_nan=False)
            path.write_text(text + "\n", encoding="utf-8")
        with replacing(folder / "power.ecsv", overwrite) as path:
            self.power_table.write(path, format="ascii.ecsv")
        plot.save(plot.plot_fields(*self.examples), folder / "fields.png", overwrite)
        plot.save(plot.plot_power(self), folder / "power.png", overwrite)
        plot.save(plot.plot_pdf(self), folder / "pdf.png", overwrite)


def refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raise `FileExistsError` if `Comparison.write` would replace a file of the folder without leave."""
    there = [name for name in FILES if (folder / name).exists()]
    if there and not overwrite:
        raise FileExistsError(
            f"{folder} holds {', '.join(there)}: give another folder, or overwrite=True (--overwrite)"
        )


def compare(
    real: xr.DataArray,
    generated: xr.DataArray,
    *,
    log: bool | None = None,
    group: str | None = "group",
    seed: int = 0,
    splits: int = 200,
    diagnostics: Sequence[str] = (),
) -> Comparison:
    """Compare two sets of fields by their power spectra, one-point distribution and peaks.

    Parameters
    ----------
    real, generated : DataArray (sample, *grid)
        On the same grid; units that astropy can convert are converted into those of `real`. Lazy fields are
        read twice, a few samples at a time.
    log : bool, optional
        Whether to compare the decimal logarithm too. By default, if all real values are positive.
    group : str or None
        Coordinate along ``sample`` whose values (simulation, object) are never shared by the two halves of
        a floor. Where it is missing, or with None, each sample is its own group. If both sets carry the
        same groups sample by sample, then the generated set of a split is the counterpart of the other real
        half.
    seed : int
        Of the splits.
    splits : int
        Number of splits.
    diagnostics : sequence of str
        What is measured besides the usual, of `DIAGNOSTICS`.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If a diagnostic is not known, dims, grids or units differ, a value is not finite or (with a logarithm) not positive, or the
        real set cannot be halved by groups.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> x = ("x", np.arange(32.0), {"units": "Mpc/h"})
    >>> values = np.random.default_rng(0).lognormal(size=(2, 64, 32))
    >>> real, generated = (xr.DataArray(v, dims=("sample", "x"), coords={"x": x}, name="density") for v in values)
    >>> comparison = compare(real, generated)
    >>> str(comparison.table["statistic"][0]), comparison.table["k_max"].unit.to_string()
    ('power', 'littleh / Mpc')
    >>> comparison.scores["sizes"]["half"]
    32
    """
    unknown = [name for name in diagnostics if name not in DIAGNOSTICS]
    if unknown:
        raise ValueError(f"unknown diagnostic {unknown[0]!r}; known are {', '.join(DIAGNOSTICS)}")
    name = real.name
    real, generated = agreeing(real, generated)
    summary = Summary.of(real, generated, log)
    groups = _groups(real, group), _groups(generated, group)
    first, second, drawn = _subsets(*groups, splits, np.random.default_rng(seed))
    measured = summary.measure(real), summary.measure(generated)
    number_real, number_generated = (len(g) for g in groups)
    parts = Parts(
        real=averages(measured[0], np.full((1, number_real), 1 / number_real)),
        generated=averages(measured[1], np.full((1, number_generated), 1 / number_generated)),
        first=averages(measured[0], weights(first, number_real)),
        second=averages(measured[0], weights(second, number_real)),
        drawn=averages(measured[1], weights(drawn, number_generated)),
    )
    sizes = {
        "real_samples": number_real,
        "real_groups": len(np.unique(groups[0])),
        "generated_samples": number_generated,
        "half": first.shape[1],
        "splits": splits,
        "seed": seed,
    }
    numbers = _described(real, name, summary) | {
        "sizes": sizes,
        "statistics": [parts.row(score) for score in scores(summary, measured[0])],
    }
    errors = [mean_errors(m, g, summary.powers) for m, g in zip(measured, groups)]
    examples = _examples(real).rename(name), _examples(generated).rename(name)
    return Comparison(numbers, parts.spectra(summary, *errors), parts.distribution(summary), examples)


def _groups(field: xr.DataArray, group: str | None) -> np.ndarray:
    if group is None or group not in field.coords:
        return np.arange(field.sizes["sample"])
    return np.asarray(field[group].values)


def _subsets(
    real: np.ndarray, generated: np.ndarray, splits: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return two halves of the real set and as many generated samples, (splits, size) each."""
    if splits < 1 or len(generated) < 2:
        raise ValueError(
            f"at least 1 split and 2 generated samples are needed; there are {splits} and {len(generated)}"
        )
    first, second = halves(real, splits, rng)
    if len(np.unique(real)) < len(real) and np.array_equal(real, generated):
        return first, second, second
    size = min(first.shape[1], len(generated))
    return first[:, :size], second[:, :size], draw(generated, splits, size, rng)


def _described(real: xr.DataArray, name: Any, summary: Summary) -> dict[str, Any]:
    grid = Grid.of(real)
    return {
        "format_version": FORMAT_VERSION,
        "field": str(real.attrs.get("long_name", name or "field")),
        "units": str(real.attrs.get("units", "")),
        "grid": {
            "dims": dict(zip(grid.dims, grid.sizes)),
            "lengths": list(grid.lengths),
            "units": grid.units,
            "nyquist": grid.nyquist,
            "k_units": summary.k.attrs["units"],
        },
    }


def _examples(field: xr.DataArray) -> xr.DataArray:
    """Load a few fields from all over the set."""
    size = field.sizes["sample"]
    return field.isel(sample=np.unique(np.linspace(0, size - 1, min(size, _EXAMPLES)).astype(int))).load()


def _astropy(units: str) -> Any:
    """Return the unit for a table; one that is unknown to astropy is carried by its name."""
    try:
        return as_unit(units)
    except ValueError:
        return u.UnrecognizedUnit(units)
