"""Are the parameters that were asked for in the fields? A regressor that saw real fields alone reads them back.

A ridge regression on summaries that any field has (power spectra, quantiles) is trained on real fields and applied to
generated ones. It need not be the best: real fields that it has not seen are judged beside, and say how far a perfect
generated set would go. A real sample is predicted by the model that did not see its group; so is a generated one under
the conditions of a real group, and any other by one of the models in turn, so that both kinds are predicted alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.asked import condition_names, conditions_of, groups_of, units_of
from sciffusion.statistics.extent import Views
from sciffusion.statistics.grid import Grid, chunks
from sciffusion.statistics.regressor import LEVELS, Regressor
from sciffusion.statistics.resampling import bootstrap_weights
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic, difference

__all__ = ["Recovery", "recover_parameters"]

_FOLDS = 5
_LEAST_SHARE = 0.1
"""Least squared correlation of prediction and truth of real fields: below it they do not tell the parameter."""
_DRAWS = 500


def recover_parameters(
    real: xr.DataArray,
    generated: xr.DataArray,
    parameters: Sequence[str] | None = None,
    *,
    log: bool | None = None,
    folds: int = _FOLDS,
    seed: int = 0,
) -> xr.Dataset:
    r"""Predict the parameters of real and generated fields by a regressor trained on real ones.

    Features are :math:`\ln P` in at most 16 bins of k of the linear field and of the logarithm, and nine quantiles of
    the values; they, standardized, and their squares enter a ridge regression for each parameter. Its penalty is the
    one that predicts whole folds best among those that the model is trained on.

    Parameters
    ----------
    real, generated : DataArray (sample, *grid)
        On one grid, in the same units. Samples of one value of the coordinate ``group`` are never on both sides of a
        training; without it those of the same parameters.
    parameters : sequence of str, optional
        Coordinates along ``sample`` of both. The default is what `sciffusion.statistics.asked.condition_names` finds.
    log : bool, optional
        Whether the logarithm is looked at too; by default if all real values are positive.
    folds : int
        Number of models, at least 3: each is trained on all folds but one.
    seed : int
        Of the folds and of the bootstrap.

    Returns
    -------
    Dataset
        ``truth_real``, ``prediction_real`` (real, parameter), ``truth_generated``, ``prediction_generated`` (generated,
        parameter) [units of the parameter]; along ``set`` (real, generated) and ``parameter`` the ``slope`` of the
        prediction over the truth, the ``bias`` (mean prediction less truth), and along ``level`` too the ``coverage``:
        the share of truths inside the central 68 % and 95 % of the residuals of real fields; each with its ``_error``
        by a bootstrap over groups. ``scatter`` (parameter) is the standard deviation of these residuals.
        ``parameter_units`` holds units.

    Raises
    ------
    ValueError
        If there is a dim ``channel``, there are fewer groups than folds, a parameter is no finite number of each
        sample, or values have no logarithm.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> def noise(a):
    ...     x = ("x", np.arange(64.0), {"boundary": "periodic"})
    ...     values = np.exp(a)[:, None] * rng.normal(size=(len(a), 64))
    ...     return xr.DataArray(values, dims=("sample", "x"), coords={"x": x, "a": ("sample", a)})
    >>> found = recover_parameters(*(noise(rng.uniform(-1, 1, 300)) for _ in range(2)))
    >>> found.slope.sel(parameter="a").round(1).values.tolist()
    [1.0, 1.0]
    """
    names = condition_names(real, generated)[0] if parameters is None else tuple(parameters)
    conditions_of(generated, names)
    regressor = Regressor.of(real, Views.of(real, generated, log), names, folds, seed)
    variables: dict = {}
    numbers = []
    for which, each in (("real", real), ("generated", generated)):
        found = [regressor.predict(part) for part in chunks(each)]
        truth, prediction = (np.concatenate(rows) for rows in zip(*found))
        variables |= {f"truth_{which}": ((which, "parameter"), truth)}
        variables |= {f"prediction_{which}": ((which, "parameter"), prediction)}
        numbers.append(_summary(regressor.moments(truth, prediction), groups_of(each), regressor, seed))
    for key in numbers[0]:
        dims = ("set", "parameter", "level")[: numbers[0][key].ndim + 1]
        variables[key] = (dims, np.stack([each[key] for each in numbers]))
    variables["scatter"] = ("parameter", regressor.scatter)
    units = [units_of(real, name) for name in names]
    coords = {"set": ["real", "generated"], "parameter": list(names), "level": list(LEVELS)}
    found = xr.Dataset(variables, coords={**coords, "parameter_units": ("parameter", units)})
    return _with_units(found, units)


def _slope(a: Averages) -> np.ndarray:
    """Return the slope of the prediction over the truth (splits, parameter); nan where the truths are alike."""
    variance = a["xx"] - a["x"] ** 2
    return (a["xy"] - a["x"] * a["y"]) / np.where(variance > 1e-9, variance, np.nan)


def _summary(moments: Measured, group: np.ndarray, regressor: Regressor, seed: int) -> dict[str, np.ndarray]:
    """Return slope, bias (parameter) and coverage (parameter, level), with errors."""
    weights = bootstrap_weights(group, _DRAWS, seed)
    weights = np.concatenate([np.ones((1, len(group))), weights])
    means = {key: weights @ each / weights.sum(axis=1, keepdims=True) for key, each in moments.items()}
    coverage = np.stack([means[f"inside_{level:g}"] for level in LEVELS], axis=-1)
    found = {}
    for key, each in (("slope", _slope(means)), ("bias", means["residual"]), ("coverage", coverage)):
        found |= {key: each[0], f"{key}_error": np.nanstd(each[1:], axis=0, ddof=1)}
    return found


def _with_units(found: xr.Dataset, units: list[str]) -> xr.Dataset:
    """Put units on the variables: those of the parameters, where these have units of their own, are in a coordinate."""
    common = units[0] if len(set(units)) == 1 else ""
    words = {"truth": "what was asked for", "prediction": "read back", "bias": "mean of prediction less truth"}
    words |= {"scatter": "scatter of prediction less truth", "slope": "slope of prediction over truth"}
    for key, each in found.items():
        kind = str(key).split("_")[0]
        each.attrs = {"units": "" if kind in ("slope", "coverage") else common, "long_name": words.get(kind, kind)}
    return found


@dataclass(frozen=True)
class Recovery(Statistic):
    """Slope, bias and coverage of the parameters read back from the fields, generated beside real.

    Attributes
    ----------
    regressor : Regressor
        Trained on the real fields.
    units : tuple of str
        Of the parameters.
    skipped : mapping of str
        Coordinates that are no conditions, or that real fields do not tell, and why.
    """

    regressor: Regressor
    units: tuple[str, ...]
    skipped: dict[str, str]
    name: str = field(default="recovery", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray, views: Views) -> Recovery:
        """Train on the real fields.

        Raises
        ------
        ValueError
            If both sets have no condition in common, or there are fewer than five groups.
        """
        names, skipped = condition_names(real, generated)
        regressor = Regressor.of(real, views, names, _FOLDS, 0)
        lost = {
            n: f"real fields do not tell it (r² = {r:.2f})" for n, r in zip(names, regressor.share) if r < _LEAST_SHARE
        }
        return cls(regressor, tuple(units_of(real, name) for name in names), skipped | lost)

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if the samples carry no condition, or the grid is uneven."""
        Grid.of(field)
        conditions_of(field, condition_names(field)[0])

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return truth and prediction, and the products of which slopes are made (sample, parameter)."""
        truth, prediction = self.regressor.predict(part)
        return {"truth": truth, "prediction": prediction, **self.regressor.moments(truth, prediction)}

    def scores(self, real: Measured) -> list[Score]:
        """Return differences of slope, bias and coverage of the parameters that real fields tell."""
        slopes = _slope({key: values.mean(axis=0) for key, values in real.items()})
        rows = []
        for i, (name, units) in enumerate(zip(self.regressor.names, self.units)):
            if name in self.skipped:
                continue
            title, key = f"{name} read back", f"recovery_{name}"
            slope = lambda a, i=i: _slope(a)[:, i]  # noqa: E731
            bias = lambda a, i=i: a["residual"][:, i]  # noqa: E731
            inside = lambda a, i=i: a[f"inside_{LEVELS[0]:g}"][:, i]  # noqa: E731
            rows.append(difference(f"{key}_slope", f"{title}, slope, relative", slope, abs(float(slopes[i]))))
            scatter = float(self.regressor.scatter[i])
            rows.append(difference(f"{key}_bias", f"{title}, bias, difference / σ", bias, scatter, units))
            label = f"{title}, coverage of {LEVELS[0]:.0%} interval, difference"
            rows.append(difference(f"{key}_coverage", label, inside))
        return rows

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return asked and predicted parameters of every sample (real and generated)."""
        found = {}
        for which, samples in zip(("real", "generated"), parts.samples):
            for i, (name, units) in enumerate(zip(self.regressor.names, self.units)):
                found[f"{name}_{which}"] = (which, samples["prediction"][:, i], {"units": units})
                found[f"{name}_asked_{which}"] = (which, samples["truth"][:, i], {"units": units})
        told = "; ".join(f"{name}: {why}" for name, why in self.skipped.items())
        return xr.Dataset(found, attrs={"skipped": told})
