"""What a comparison of two sets found: numbers beside their floor, curves, examples, and the files made of them."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import xarray as xr
from astropy.table import Column, QTable

from data_loaders.files import replacing
from sciffusion.units import as_unit

__all__ = ["FILES", "FORMAT_VERSION", "Comparison", "refuse_existing", "written_files"]

FORMAT_VERSION = 2
PAGE, SCORES, TABLE = "index.html", "scores.json", "scores.ecsv"
TABLES = (
    "power",
    "structure_function",
    "delta_variance",
    "peaks",
    "minkowski",
    "bispectrum",
    "scattering",
    "response",
    "spectrum",
    "continuum",
)
"""Results that are written as a table."""
FIGURES = (
    "power",
    "pdf",
    "peaks",
    "power_correlation",
    "minkowski",
    "bispectrum",
    "scattering",
    "structure_function",
    "delta_variance",
    "coherence",
    "response",
    "recovery",
    "spectrum",
    "correlation",
    "colors",
    "lines",
    "continuum",
    "calibration",
    "nearest",
)
"""Results that are drawn."""
DRAWN = ("scorecard", "fields", *FIGURES)
FORMATS = ("png", "pdf")
FILES = (
    PAGE,
    SCORES,
    TABLE,
    *(f"{name}.ecsv" for name in TABLES),
    *(f"{name}.{suffix}" for name in DRAWN for suffix in FORMATS),
)
"""What `Comparison.write` may put into a folder, of fields without channels; which of them depends on the field."""


@dataclass(frozen=True)
class Comparison:
    """The result of `sciffusion.validate.compare`.

    Attributes
    ----------
    scores : dict
        Everything as plain numbers, for JSON: ``format_version``, ``sizes``, ``grid``, ``noise`` (of which spectra the
        numbers speak, or None), ``files``, ``verdict`` (``level``, ``findings`` in sentences, numbers of ``lines``),
        and ``statistics``, a list with for each line its name, band of k, ``score`` (generated against a half of the
        real set, mean over splits), ``floor`` (the same between the halves: median, 95th percentile and the joint
        limit), ``level``, ``all_samples`` (all against all), the values of both sets, and the channel, if there are
        several. ``scores.schema.json`` in the package describes it.
    results : mapping of Dataset
        Curves by the name of their statistic. Of fields: ``power`` (k): mean and standard deviation between samples of
        both sets, of ``power`` and, of positive fields, ``log_power``, their ratio with its error, and the 95 % range
        of the ratio of two real halves; ``pdf`` (value): probability density of the one-point field, and the 95 % range
        of real halves; ``peaks`` (threshold); and, of those that were measured, ``power_correlation``,
        ``structure_function``, ``delta_variance``, ``slope``, ``minkowski``, ``bispectrum``, ``scattering``,
        ``response``, ``recovery``. Of spectra: ``spectrum`` (wavelength), ``correlation`` (wavelength, wavelength_2),
        ``colors``, ``continuum``, ``lines``, ``redshift``. With a training set ``nearest``. With several channels each
        has results of its own; here then are those of the channels together: ``coherence`` (pair, k).
    examples : tuple of DataArray (sample, [channel,] *grid)
        A few real and generated fields.
    channels : mapping of Comparison
        The channels by their names, if there are several.
    """

    scores: dict[str, Any]
    results: Mapping[str, xr.Dataset]
    examples: tuple[xr.DataArray, xr.DataArray]
    channels: Mapping[str, Comparison] = field(default_factory=dict)

    @property
    def level(self) -> str:
        """The verdict: "gold", "silver", "bronze" or "none", the lowest level of all lines."""
        return self.scores["verdict"]["level"]

    @property
    def findings(self) -> list[str]:
        """What is wrong with the generated set, in sentences, the gravest first."""
        return [_said(found) for found in self.scores["verdict"]["findings"]]

    @property
    def spectra(self) -> xr.Dataset:
        """Power spectra of both sets (k)."""
        return self.results["power"]

    @property
    def distribution(self) -> xr.Dataset:
        """Probability density of the one-point field of both sets (value)."""
        return self.results["pdf"]

    @property
    def table(self) -> QTable:
        """The scores as an astropy table; the band of k carries units."""
        rows, k = self.scores["statistics"], _astropy(self.scores["grid"]["k_units"])
        columns: dict[str, Any] = {"channel": [row["channel"] for row in rows]} if self.channels else {}
        columns |= {
            "statistic": [row["name"] for row in rows],
            **{name: Column(_numbers(rows, name), unit=k) for name in ("k_min", "k_max")},
            "score": _numbers(rows, "score"),
            "floor": _numbers([row["floor"] for row in rows], "median"),
            "floor_95": _numbers([row["floor"] for row in rows], "p95"),
            "limit": _numbers([row["floor"] for row in rows], "limit"),
            "level": [row["level"] or "" for row in rows],
            **{name: _numbers(rows, name) for name in ("all_samples", "real", "generated", "p_value")},
            "units": [row["units"] for row in rows],
        }
        return QTable(columns, meta=self._meta())

    @property
    def power_table(self) -> QTable:
        """The power spectra as an astropy table with units, a row for each k."""
        return self.result_table("power")

    def result_table(self, name: str) -> QTable:
        """Return curves as an astropy table with units, a row for each k, lag or wavelength."""
        found = self.results[name]
        (dim,) = found.dims
        labels = [found[dim], *(coord for key, coord in found.coords.items() if key != dim and coord.dims == (dim,))]
        columns = {str(column.name): column for column in (*labels, *found.data_vars.values())}
        table = QTable({name: Column(column.values, unit=_column_unit(column)) for name, column in columns.items()})
        table.meta = self._meta()
        return table

    def _meta(self) -> dict[str, Any]:
        meta = {"format_version": FORMAT_VERSION, "sizes": self.scores["sizes"]}
        return meta | ({"noise": self.scores["noise"]} if self.scores["noise"] else {})

    def summary(self) -> str:
        """Return the table as short text."""
        sizes, rows = self.scores["sizes"], self.scores["statistics"]
        lines = [
            f"{sizes['generated_samples']} generated beside {sizes['real_samples']} real samples "
            f"({sizes['real_groups']} groups); "
            f"score and floor: {sizes['half']} beside {sizes['half']}, {sizes['splits']} splits by group"
        ]
        lines += [self.scores["noise"]] if self.scores["noise"] else []
        width = max(len(_title(row)) for row in rows) + 1
        units = self.scores["grid"]["k_units"]
        bands = [_band(row) for row in rows]
        heading = f"k [{units}]" if any(bands) else ""
        across = max(len(text) for text in (heading, *bands))
        names = "".join(f"{name:>8}" for name in ("score", "floor", "limit", "all"))
        lines.append(f"{'':{width}}{heading:>{across}}{names}{'real':>10}{'gen.':>10}  level")
        for row, band in zip(rows, bands):
            numbers = (row["score"], row["floor"]["median"], row["floor"]["limit"], row["all_samples"])
            # A number of four digits or more would run into its neighbor with four decimals.
            text = "".join(_text(n, "8.4f" if n is None or abs(n) < 100 else "8.2g") for n in numbers)
            text += "".join(_text(row[which], "10.3g") for which in ("real", "generated"))
            p_value = "" if row["p_value"] is None else f" (p = {row['p_value']:.2g})"
            lines.append(f"{_title(row):<{width}}{band:>{across}}{text}  {row['level'] or '–'}{p_value}")
        return "\n".join([*lines, self._verdict()])

    def _verdict(self) -> str:
        """Return the verdict and what is wrong, a line each."""
        lines = self.scores["verdict"]["lines"]
        counted = ", ".join(f"{number} {level}" for level, number in lines.items() if number)
        few = len(self.scores["verdict"]["unresolved"])
        told = f"; in {few} lines too few samples to tell what gold asks for" if few else ""
        return "\n".join([f"verdict: {self.level} ({counted}{told})", *(f"- {said}" for said in self.findings)])

    def __str__(self) -> str:
        return self.summary()

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that `write` puts into a folder; those of a channel end in its name."""
        parts = [_suffixed(name, channel) for channel, each in self.channels.items() for name in each._own_files()]
        return (PAGE, SCORES, TABLE, *_in_formats(["scorecard"]), *self._own_files(), *parts)

    def _own_files(self) -> list[str]:
        """Return the tables and figures of one field or channel."""
        tables = [f"{name}.ecsv" for name in TABLES if name in self.results]
        return tables + _in_formats(self._drawn())

    def _drawn(self) -> list[str]:
        return ([] if self.channels else ["fields"]) + [name for name in FIGURES if name in self.results]

    def write(self, directory: str | os.PathLike, overwrite: bool = False) -> None:
        """Write `files`: the page, scores, curves (ECSV with units) and figures, each put in place whole.

        Parameters
        ----------
        directory : path
            Made where it is missing.
        overwrite : bool
            Replace what an earlier comparison wrote; other files in the directory are left alone.

        Raises
        ------
        FileExistsError
            If a file of a comparison is there and `overwrite` is false; nothing is written then.
        """
        from sciffusion import plot
        from sciffusion.report import page

        folder = Path(directory)
        refuse_existing(folder, overwrite)
        stale = set(written_files(folder)) - set(self.files)
        with replacing(folder / TABLE, overwrite) as path:
            self.table.write(path, format="ascii.ecsv")
        pictures = [("scorecard", "", _drawn_in_formats(plot.plot_scorecard(self), folder, "scorecard", overwrite))]
        pictures += self._write_results(folder, "", overwrite)
        for channel, each in self.channels.items():
            pictures += each._write_results(folder, channel, overwrite)
        with replacing(folder / PAGE, overwrite) as path:
            path.write_text(page(self, pictures), encoding="utf-8")
        with replacing(folder / SCORES, overwrite) as path:  # the last: where it is, all else is
            text = json.dumps(self.scores, indent=1, ensure_ascii=False, allow_nan=False)
            path.write_text(text + "\n", encoding="utf-8")
        for name in stale:  # of an earlier comparison, which measured something else
            (folder / name).unlink()

    def _write_results(self, folder: Path, channel: str, overwrite: bool) -> list[tuple[str, str, str]]:
        """Write tables and figures; returns name, channel and SVG of each figure."""
        from sciffusion import plot

        for name in TABLES:
            if name in self.results:
                with replacing(folder / _suffixed(f"{name}.ecsv", channel), overwrite) as path:
                    self.result_table(name).write(path, format="ascii.ecsv")
        drawn = []
        for name in self._drawn():
            axes = plot.plot_fields(*self.examples) if name == "fields" else plot.draw_result(self, name)
            drawn.append((name, channel, _drawn_in_formats(axes, folder, _suffixed(name, channel), overwrite)))
        return drawn


def _in_formats(names: Sequence[str]) -> list[str]:
    return [f"{name}.{suffix}" for name in names for suffix in FORMATS]


def _drawn_in_formats(axes: Any, folder: Path, name: str, overwrite: bool) -> str:
    """Save a figure, and return it as SVG for the page."""
    from sciffusion import plot
    from sciffusion.report import svg

    figure = plot.figure_of(axes)
    for suffix in FORMATS:
        plot.save(figure, folder / f"{name}.{suffix}", overwrite)
        figure.set_layout_engine("none")  # laid out by now; to do so again would take as long as to draw
    return svg(figure, name)


def written_files(folder: Path) -> list[str]:
    """Return the names of the files in a folder that comparisons write, those of channels by the list in the scores."""
    names = list(FILES)
    # without them it holds no scores, or not those of a comparison
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        names += json.loads((folder / SCORES).read_text(encoding="utf-8"))["files"]
    known = dict.fromkeys(name for name in names if isinstance(name, str) and name == Path(name).name)
    return [name for name in known if (folder / name).is_file()]


def refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raise `FileExistsError` if a folder holds files of a comparison and there is no leave to replace them."""
    there = written_files(folder)
    if there and not overwrite:
        raise FileExistsError(
            f"{folder} holds {', '.join(there)}: give another folder, or overwrite=True (--overwrite)"
        )


def _suffixed(name: str, channel: str) -> str:
    """Return a name with that of a channel in it."""
    stem, dot, suffix = name.partition(".")
    return "".join([stem, "_", re.sub(r"[^\w+-]+", "_", channel), dot, suffix]) if channel else name


def _said(found: Mapping[str, Any]) -> str:
    return f"{found['channel']}: {found['text']}" if "channel" in found else found["text"]


def _title(row: Mapping[str, Any]) -> str:
    return f"{row['channel']}: {row['label']}" if "channel" in row else row["label"]


def _band(row: Mapping[str, Any]) -> str:
    return "" if row["k_max"] is None else f"{row['k_min']:.3g} - {row['k_max']:.3g}"


def _numbers(rows: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Return a column; nan where there is no number."""
    return np.array([row[name] for row in rows], dtype=float)


def _text(number: float | None, form: str) -> str:
    """Return a number in columns; a dash where there is none."""
    return f"{'–':>{form.split('.')[0]}}" if number is None else f"{number:{form}}"


def _column_unit(column: xr.DataArray) -> Any:
    return None if column.dtype.kind in "US" else _astropy(str(column.attrs.get("units", "")))


def _astropy(units: str) -> Any:
    """Return the unit for a table; one that is unknown to astropy is carried by its name."""
    try:
        return as_unit(units)
    except ValueError:
        return u.UnrecognizedUnit(units)
