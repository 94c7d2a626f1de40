"""How well a matcher finds, among held-out fields, the one that belongs to an object: retrieval in pools."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from astropy.table import Table, vstack

from data_loaders.files import replacing
from sciffusion.conditions import field_of
from sciffusion.dataset import groups_of
from sciffusion.match import Matcher
from sciffusion.statistics.ranking import redshift_bins, retrieval_scores, within_bins

__all__ = ["POOLS", "Retrieval", "judge", "retrieval_table"]

FORMAT_VERSION = 1
POOLS = (500, 2000)
"""Sizes of the pools that the partner is looked for in, as far as there are as many held-out objects."""
SCORES, TABLE = "scores.json", "scores.ecsv"
_BINS, _LEAST_IN_BIN = 8, 20


@dataclass(frozen=True)
class Retrieval:
    """What was found.

    Parameters
    ----------
    table : astropy.table.Table
        A row for each score: ``direction``, ``pool``, ``within``, ``score``, ``value``, ``error`` (bootstrap over
        objects), ``chance``.
    facts : mapping
        What the numbers are of: number of objects, temperature.
    """

    table: Table
    facts: Mapping[str, Any]

    @property
    def scores(self) -> dict[str, Any]:
        """The table as plain numbers, by name."""
        names = self.table.colnames
        rows = [{name: _plain(self.table[name][i]) for name in names} for i in range(len(self.table))]
        return {"format_version": FORMAT_VERSION, **self.facts, "retrieval": rows}

    def summary(self) -> str:
        """Return the table as text."""
        lines = ["", f"retrieval among {self.facts['objects']} held-out objects (in brackets what chance gives)"]
        keys = list(dict.fromkeys(zip(*(self.table[name] for name in ("direction", "pool", "within")))))
        for direction, pool, within in keys:
            chosen = self.table[
                (self.table["direction"] == direction) & (self.table["pool"] == pool) & (self.table["within"] == within)
            ]
            parts = [f"{row['score']} {row['value']:.3g} +- {row['error']:.2g} ({row['chance']:.2g})" for row in chosen]
            place = f", {within}" if within else ""
            lines.append(f"  {direction}, pools of {pool}{place}: " + ", ".join(parts))
        return "\n".join(lines)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that `write` makes."""
        return SCORES, TABLE

    def write(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write scores.json and a table into `folder`."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / SCORES, overwrite=overwrite) as temporary:
            Path(temporary).write_text(json.dumps(self.scores, indent=1), encoding="utf-8")
        with replacing(folder / TABLE, overwrite=overwrite) as temporary:
            self.table.write(temporary, format="ascii.ecsv", overwrite=True)


def judge(matcher: Matcher, held: xr.DataArray | xr.Dataset, pools: tuple[int, ...] = POOLS) -> Retrieval:
    """Look for the field of each held-out object by its conditions, and for the conditions by the field.

    Parameters
    ----------
    matcher : Matcher
        Trained without these objects.
    held : xarray.DataArray or xarray.Dataset
        Fields with the matcher's conditions, ``(sample, ...)``. With a coordinate ``redshift`` the partner is also
        looked for among objects of the same redshift: who finds redshifts alone does no better there than chance.
    pools : tuple of int
        Sizes of the pools; those larger than the set are replaced by one of all objects.

    Returns
    -------
    Retrieval
        Recall at 1, 5 and 10, mean reciprocal rank and median rank, each with its error and chance level.
    """
    field = field_of(held)
    sides = matcher.embed_conditions(_known_conditions(matcher, held)).values, matcher.embed(field).values
    group = groups_of(field)
    redshift = field["redshift"].values if "redshift" in field.coords else None
    facts = {"objects": len(group), "temperature": 1 / matcher.scale}
    return Retrieval(retrieval_table(*sides, group, redshift, pools), facts)


def retrieval_table(
    conditions: np.ndarray,
    fields: np.ndarray,
    group: np.ndarray,
    redshift: np.ndarray | None = None,
    pools: tuple[int, ...] = POOLS,
) -> Table:
    """Search in both directions, in pools of several sizes and in bins of redshift.

    Parameters
    ----------
    conditions, fields : numpy.ndarray
        ``(object, dim)``, similar by their scalar product: embeddings, or a matrix of similarities and the identity.
    group : numpy.ndarray
        ``(object,)``: others of a group are no wrong answers.
    redshift : numpy.ndarray, optional
        ``(object,)``.
    pools : tuple of int
        As for `judge`.

    Returns
    -------
    astropy.table.Table
        As of `Retrieval`.
    """
    most = int(len(group) - np.unique(group, return_counts=True)[1].max()) + 1
    sizes, tables = sorted({min(pool, most) for pool in pools}), []
    known = 0 if redshift is None else len(np.unique(group[np.isfinite(np.asarray(redshift, np.float64))]))
    number = min(_BINS, known // _LEAST_IN_BIN)  # without enough objects no bins
    directions = {"conditions to field": (conditions, fields), "field to conditions": (fields, conditions)}
    for direction, (left, right) in directions.items():
        tables += [_labelled(retrieval_scores(left, right, pool, group=group), direction) for pool in sizes]
        if number:
            inside = within_bins(left, right, redshift_bins(np.asarray(redshift, np.float64), number), group=group)
            tables.append(_labelled(inside, direction, f"within one of {number} bins of redshift"))
    return vstack(tables, metadata_conflicts="silent")


def _known_conditions(matcher: Matcher, held: xr.DataArray | xr.Dataset) -> xr.DataArray | xr.Dataset:
    """What the matcher's side of conditions takes of the held-out data: nothing of the field itself."""
    known = matcher.conditions
    there = held.coords if isinstance(held, xr.DataArray) else held
    return xr.Dataset({name: there[name].reset_coords(drop=True) for name in (*known.scalars, *known.contexts)})


def _labelled(table: Table, direction: str, within: str = "") -> Table:
    """Add to the rows of scores which search they are of."""
    table = table.copy()
    labels = {"direction": direction, "pool": int((table.meta or {})["pool"]), "within": within}
    for place, (name, value) in enumerate(labels.items()):
        table.add_column([value] * len(table), name=name, index=place)
    return table


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
