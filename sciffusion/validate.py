"""Two sets of fields or spectra beside each other: every number with its real-vs-real floor.

A figure without its floor says nothing: two halves of the real set differ too. So each distance is computed
between the generated set and a half of the real one, and between the two halves of the real one, whole
groups (simulations, objects) on one side, as many samples beside as many, over many splits. Every sample is
measured once; the splits are averages of these numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciffusion.calibrated import calibrated
from sciffusion.comparison import FILES, FORMAT_VERSION, Comparison, refuse_existing, written_files
from sciffusion.diagnosis import findings
from sciffusion.memory import Memory
from sciffusion.scorecard import LEVELS, calibrate, overall
from sciffusion.stacking import CANDIDATE, check_pairs, stacked
from sciffusion.statistics.channels import Coherence
from sciffusion.statistics.choice import DIAGNOSTICS, chosen, fitting
from sciffusion.statistics.grid import Grid, is_spectrum
from sciffusion.statistics.pairing import agreeing, by_channel, channel_names
from sciffusion.statistics.split import draw, halves, weights
from sciffusion.statistics.statistic import Statistic, measure, tabulate
from sciffusion.units import k_unit

__all__ = ["DIAGNOSTICS", "FILES", "Comparison", "compare", "refuse_existing", "subsets", "written_files"]

_EXAMPLES = 4
_MOST_ERRORS = 256  # samples that tell the typical error of a set
_FEWEST = 4
_OWN_SPLITS = 60  # of the generated set, for a 95th percentile


def compare(
    real: xr.DataArray,
    generated: xr.DataArray,
    *,
    train: xr.DataArray | None = None,
    log: bool | None = None,
    group: str | None = "group",
    seed: int = 0,
    splits: int = 200,
    diagnostics: Sequence[str] | str = (),
    tests: bool = True,
    symmetries: Sequence[str] | None = None,
    progress: bool = False,
) -> Comparison:
    """Compare two sets, fields by power spectra, distribution and peaks, spectra by what they are at each wavelength.

    Parameters
    ----------
    real, generated : DataArray (sample, [channel,] *grid)
        On the same grid; units that astropy can convert are converted into those of `real`. Channels (coordinates
        ``channel`` and ``channel_units``) are compared each by itself and pair by pair. Pixels of spectra that the
        coordinate ``mask`` calls bad do not count. The attribute ``noise`` says of which spectra the numbers speak
        ("noise-free", ...). Lazy fields are read twice, a few samples at a time. With the dim ``candidate`` the
        generated set holds draws for the same objects, sample by sample: whether they are calibrated is judged too
        (`sciffusion.calibrated`), and for all else each draw is a sample.
    train : DataArray (sample, [channel,] *grid), optional
        The training set of the model: generated samples that are near copies of its samples are found, beside the
        real ones, which must be held out.
    log : bool, optional
        Of fields on even grids: whether to compare the decimal logarithm too. By default, if all real values are
        positive.
    group : str or None
        Coordinate along ``sample`` whose values (simulation, object) are never shared by the two halves of
        a floor. Where it is missing, or with None, each sample is its own group. If both sets carry the
        same groups sample by sample, then the generated set of a split is the counterpart of the other real
        half.
    seed : int
        Of the splits.
    splits : int
        Number of splits.
    diagnostics : sequence of str, or "all"
        What is measured besides the usual, of `DIAGNOSTICS`; ``"all"``: whatever these data allow.
    tests : bool
        Whether to make the costly tests of two samples: permutations and a classifier.
    symmetries : sequence of str, optional
        Under which copies of training samples are looked for: ``roll``, ``flip``, ``rotate90``. By default all that
        the grid of a field allows, none for spectra.
    progress : bool
        Show progress bars.

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If a diagnostic is unknown or not for such data, dims, channels, grids or units differ, a value is
        not finite or (with a logarithm) not positive, the
        real set cannot be halved by groups, or draws are of other objects.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> x = ("x", np.arange(32.0), {"units": "Mpc/h"})
    >>> values = np.random.default_rng(0).lognormal(size=(2, 64, 32))
    >>> real, generated = (xr.DataArray(v, dims=("sample", "x"), coords={"x": x}, name="density") for v in values)
    >>> comparison = compare(real, generated)
    >>> comparison.level, str(comparison.table["statistic"][0]), comparison.table["k_max"].unit.to_string()
    ('gold', 'power', 'littleh / Mpc')
    >>> comparison.scores["sizes"]["half"]
    32
    """
    draws = check_pairs(real, generated, group) if CANDIDATE in generated.dims else 0
    generated = stacked(generated) if draws else generated
    fields = [(channel, *agreeing(*pair)) for channel, *pair in by_channel(real, generated)]
    names = chosen(diagnostics, real, generated)
    own = _groups(real, group)
    groups = own, own.repeat(draws) if draws else _groups(generated, group)
    halves_of = subsets(*groups, splits, np.random.default_rng(seed))
    weight = [weights(each, len(groups[which])) for each, which in zip(halves_of, (0, 0, 1, 1, 1))]
    sizes = {
        "real_samples": len(groups[0]),
        "real_groups": len(np.unique(groups[0])),
        "generated_samples": len(groups[1]),
        "candidates": draws or None,
        "half": halves_of[0].shape[1],
        "splits": splits,
        "seed": seed,
        "train_samples": None if train is None else train.sizes["sample"],
    }
    memory = None if train is None else Memory(train, symmetries, group)
    if memory is not None:
        memory.check(real)
    plan = _Plan(groups, weight, log, progress, memory, draws, len(fields), seed)
    found, floors = {}, []
    for channel, ours, theirs in fields:
        rows, floor, results = plan.compared(channel, ours, theirs, fitting(ours, theirs, log, names, tests))
        name = channel or real.name
        scores = _described(ours, theirs, name) | {"sizes": sizes, "statistics": rows}
        examples = _examples(ours).rename(name), _examples(theirs).rename(name)
        found[channel], floors = Comparison(scores, results, examples), floors + floor
    if "" in found:
        return _judged(found[""], floors)
    joint = (real, generated.isel(channel=[channel_names(generated).index(name) for name in found]))
    rows, floor, results = plan.tabulated(*joint, [] if is_spectrum(real) else [_coherence(real, found)])
    return _judged(_joined(found, rows, results), floors + floor)


_Table = tuple[list[dict[str, Any]], list[np.ndarray], dict[str, xr.Dataset]]


@dataclass(frozen=True)
class _Plan:
    """How every channel is compared: groups and splits of both sets, copies looked for, draws of each real sample."""

    groups: tuple[np.ndarray, np.ndarray]
    weight: Sequence[np.ndarray]
    log: bool | None
    progress: bool
    memory: Memory | None
    draws: int
    channels: int
    seed: int

    def compared(self, channel: str, ours: xr.DataArray, theirs: xr.DataArray, statistics: list[Statistic]) -> _Table:
        """Return the lines of a channel, their floors and curves; what is no distance of two sets has no floor."""
        rows, floors, results = self.tabulated(ours, theirs, statistics)
        more: list[dict[str, Any]] = []
        if self.memory is not None:
            remembered = self.memory.search(channel, ours, theirs, self.log)
            more, results = more + remembered.rows, results | {"nearest": remembered.distances}
        if self.draws:
            judged = calibrated(ours, theirs, self.groups[0], channels=self.channels, seed=self.seed)
            more, results = more + judged.rows, results | {"calibration": judged.curves}
        return rows + more, floors + [np.full(len(self.weight[0]), np.nan)] * len(more), results

    def tabulated(self, ours: xr.DataArray, theirs: xr.DataArray, statistics: list[Statistic]) -> _Table:
        """Measure both sets, and compare them."""
        samples = [measure(statistics, each, progress=self.progress) for each in (ours, theirs)]
        return tabulate(statistics, (samples[0], samples[1]), self.groups, self.weight)


def _coherence(real: xr.DataArray, channels: dict[str, Comparison]) -> Coherence:
    """Return the statistic of pairs; the logarithm is taken where it is of a channel alone."""
    return Coherence.of(real, tuple(channels), tuple("log_power_real" in each.spectra for each in channels.values()))


def _judged(comparison: Comparison, floors: Sequence[np.ndarray]) -> Comparison:
    """Give lines their limits and levels, jointly over all channels, and the whole its verdict."""
    rows = comparison.scores["statistics"]
    factor = calibrate(rows, floors, comparison.scores["sizes"]["real_groups"])
    said = []
    for channel, each in (comparison.channels or {"": comparison}).items():
        own = [row for row in rows if row.get("channel", "") == channel]
        each.scores["statistics"] = own
        said += [({"channel": channel} if channel else {}) | one for one in findings(own, each.results, each.scores)]
    pairs = [row for row in rows if row.get("channel", "") not in comparison.channels] if comparison.channels else []
    said += [{"channel": pair["channel"]} | one for pair in pairs for one in findings([pair], {}, comparison.scores)]
    comparison.scores["statistics"] = rows
    levels = [row["level"] for row in rows]
    comparison.scores["verdict"] = {
        "level": overall(rows),
        "findings": said,
        "lines": {level: levels.count(level) for level in reversed(LEVELS)},
        "unresolved": [row["name"] for row in rows if row["resolved"] is False and not row["differs"]],
        "joint_factor": factor,
    }
    for each in (comparison, *comparison.channels.values()):
        each.scores["files"] = list(each.files)
    return comparison


def _groups(field: xr.DataArray, group: str | None) -> np.ndarray:
    if group is None or group not in field.coords:
        return np.arange(field.sizes["sample"])
    return np.asarray(field[group].values)


def subsets(real: np.ndarray, generated: np.ndarray, splits: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Draw splits: two halves of the real set, as many generated samples, and two halves of the generated set.

    Parameters
    ----------
    real, generated : ndarray (sample,)
        Groups of the samples.
    splits : int
    rng : numpy.random.Generator

    Returns
    -------
    first, second, drawn : ndarray of int (splits, size)
        Numbers of the samples. Where both sets carry the same groups sample by sample, the generated ones are the
        counterparts of the second half; where each real sample has several draws, one after the other, one of the
        draws of each sample of the second half.
    own_first, own_second : ndarray of int (some splits, own size)
        Disjoint halves of the generated set, of at most that size, to tell how it scatters by itself; without groups
        where these cannot be halved. None where groups are counterparts: a half would lie beside its own.

    Raises
    ------
    ValueError
        If the real set cannot be halved by groups, or there are fewer than four generated samples.
    """
    if splits < 1 or len(generated) < _FEWEST:
        raise ValueError(
            f"at least 1 split and {_FEWEST} generated samples are needed; there are {splits} and {len(generated)}"
        )
    first, second = halves(real, splits, rng)
    some = min(splits, _OWN_SPLITS)
    draws = len(generated) // len(real)
    if (draws > 1 or len(np.unique(real)) < len(real)) and np.array_equal(real.repeat(draws), generated):
        return first, second, draws * second + rng.integers(draws, size=second.shape)
    size = min(first.shape[1], len(generated))
    drawn = draw(generated, splits, size, rng)
    alone = len(np.unique(generated)) < _FEWEST
    own = halves(np.arange(len(generated)) if alone else generated, some, rng)
    return first[:, :size], second[:, :size], drawn, *(half[:, :size] for half in own)


def _described(real: xr.DataArray, generated: xr.DataArray, name: Any) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "field": str(real.attrs.get("long_name", name or "field")),
        "units": str(real.attrs.get("units", "")),
        "noise": _noise(real, generated),
        "grid": _described_grid(real),
    }


def _described_grid(real: xr.DataArray) -> dict[str, Any]:
    if is_spectrum(real):
        wavelength = real["wavelength"]
        ends = [float(wavelength[0]), float(wavelength[-1])]
        units = str(wavelength.attrs.get("units", ""))
        return {"dims": {"wavelength": wavelength.size}, "range": ends, "units": units, "k_units": ""}
    grid = Grid.of(real)
    return {
        "dims": dict(zip(grid.dims, grid.sizes)),
        "lengths": list(grid.lengths),
        "units": grid.units,
        "nyquist": grid.nyquist,
        "k_units": k_unit(grid.units),
    }


def _noise(real: xr.DataArray, generated: xr.DataArray) -> str | None:
    """Return in words which spectra are compared; of spectra also if nothing is known."""
    ours, theirs = (_told_noise(field) for field in (real, generated))
    if not (ours or theirs or is_spectrum(real)):
        return None
    if ours == theirs:
        return f"noise: {ours or 'not stated'}"
    return f"noise: real {ours or 'not stated'}; generated {theirs or 'not stated'}"


def _told_noise(field: xr.DataArray) -> str:
    """Return the attribute ``noise``, with the typical error where the coordinate ``log_error`` [dex] tells each."""
    said = str(field.attrs.get("noise", ""))
    if "log_error" not in field.coords:
        return said
    size = field.sizes["sample"]
    some = field["log_error"].isel(sample=np.unique(np.linspace(0, size - 1, min(size, _MOST_ERRORS)).astype(int)))
    known = some.values[np.isfinite(some.values)]
    return f"{said}, median {np.median(known):.2f} dex".lstrip(", ") if known.size else said


def _examples(field: xr.DataArray) -> xr.DataArray:
    """Load a few fields from all over the set."""
    size = field.sizes["sample"]
    return field.isel(sample=np.unique(np.linspace(0, size - 1, min(size, _EXAMPLES)).astype(int))).load()


def _joined(channels: dict[str, Comparison], pairs: list[dict[str, Any]], results: dict[str, xr.Dataset]) -> Comparison:
    """Put the comparisons of channels and of their pairs together."""
    first, *_ = channels.values()
    described = {name: {key: each.scores[key] for key in ("field", "units")} for name, each in channels.items()}
    rows = [{"channel": name, **row} for name, each in channels.items() for row in each.scores["statistics"]]
    titles = results["coherence"]["pair"].values.tolist() if results else []
    rows += [{"channel": title, **row} for title, row in zip(titles, pairs)]
    scores = first.scores | {"field": ", ".join(channels), "units": "", "channels": described, "statistics": rows}
    return Comparison(scores, results, first.examples, channels)
