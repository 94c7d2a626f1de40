r"""How the power spectrum answers to what the fields are conditional on: the slopes :math:`d \ln P / d\theta`.

A generated set may have the right mean spectrum while it ignores its conditions. So :math:`\ln P(k)` of each sample is
regressed on the parameters that the samples carry as coordinates,

.. math:: \ln P_i(k) = a(k) + \sum_\theta R_\theta(k)\, (\theta_i - \bar\theta) + \epsilon_i(k),

by least squares. The mean of :math:`\ln P` over realizations is lower than the logarithm of the mean, by an amount that
depends on the number of modes alone in a Gaussian field, and so leaves the slopes as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sciffusion.statistics.asked import condition_names, conditions_of, groups_of, units_of
from sciffusion.statistics.extent import Views
from sciffusion.statistics.grid import Grid, name_of
from sciffusion.statistics.power import power_spectrum
from sciffusion.statistics.statistic import Averages, Measured, Parts, Score, Statistic
from sciffusion.units import inverse_unit

__all__ = ["Response", "power_response"]

_DEPENDENT = 1e-8
_HALF = 0.5


def power_response(field: xr.DataArray, parameters: Sequence[str] | None = None) -> xr.Dataset:
    r"""Return the slopes of :math:`\ln P(k)` along the parameters, with errors by groups.

    The slopes are those of a line, and partial ones: those of one parameter with the others held. The errors are the
    sandwich with clusters (Liang & Zeger 1986, eq. 7, of independent working correlation), times
    :math:`\frac{G}{G - 1} \frac{n - 1}{n - p - 1}` for G groups, n samples and p parameters (Cameron & Miller 2015,
    eq. 11 and 12): samples of one ``group`` may be correlated in any way, and the scatter may depend on the
    parameters. With few groups they are too small.

    Parameters
    ----------
    field : DataArray (sample, [channel,] *grid)
        Give the density contrast or the logarithm if their spectra are meant. Open axes are apodized. Samples of one
        value of the coordinate ``group`` belong together; without it each is its own.
    parameters : sequence of str, optional
        Coordinates along ``sample``. The default is what `condition_names` finds.

    Returns
    -------
    Dataset
        ``response`` and ``error`` ([channel,] parameter, k) [1 / units of the parameter], and the coordinates
        ``parameter_units`` and ``parameter_std``, the scatter of the parameter among the samples: times it, the
        responses to different parameters can be compared.

    Raises
    ------
    ValueError
        If a parameter is no finite number of each sample, does not vary, or is a linear function of the others, if
        there are not at least two groups more than parameters, a sample has no power in some shell, or as
        `power_spectrum`.

    Examples
    --------
    White noise of the variance :math:`e^{2 a}` has :math:`d \ln P / d a = 2`:

    >>> rng = np.random.default_rng(0)
    >>> a = rng.uniform(-1, 1, 300)
    >>> coords = {"x": np.arange(32.0), "a": ("sample", a)}
    >>> noise = xr.DataArray(np.exp(a)[:, None] * rng.normal(size=(300, 32)), dims=("sample", "x"), coords=coords)
    >>> found = power_response(noise, ["a"])
    >>> found.response.dims, round(float(found.response.mean()), 1)
    (('parameter', 'k'), 2.0)
    """
    names = condition_names(field)[0] if parameters is None else tuple(parameters)
    values = conditions_of(field, names)
    power = power_spectrum(field, window="hann")
    flat = power.values.reshape(len(values), -1)
    if not (flat > 0).all():
        worst = int(np.argmin((flat > 0).all(axis=1)))
        raise ValueError(f"sample {worst} of {name_of(field)} has no power in some shell, so no logarithm; drop it")
    std = values.std(axis=0)
    group = groups_of(field)
    slopes, errors = _regression((values - values.mean(axis=0)) / _positive(std, names, field), np.log(flat), group)
    kept = power.dims[1:]
    shape = (len(names), *power.shape[1:])
    dims = (*kept[:-1], "parameter", "k")
    units = [units_of(field, name) for name in names]
    variables = {}
    for key, found in (("response", slopes), ("error", errors)):
        labelled = xr.DataArray((found / std[:, None]).reshape(shape), dims=("parameter", *kept)).transpose(*dims)
        labelled.attrs = {"units": _common([inverse_unit(unit) for unit in units]), "long_name": f"{key} d ln P / dθ"}
        variables[key] = labelled
    coords = {name: power.coords[name] for name in ("channel", "k", "modes") if name in power.coords}
    coords |= {"parameter": list(names), "parameter_units": ("parameter", units), "parameter_std": ("parameter", std)}
    return xr.Dataset(variables, coords=coords, attrs={"nyquist": power.attrs["nyquist"]})


def _positive(std: np.ndarray, names: Sequence[str], field: xr.DataArray) -> np.ndarray:
    if not (std > 0).all():
        raise ValueError(f"{names[int(np.argmin(std))]!r} is the same in all samples of {name_of(field)}; leave it out")
    return std


def _common(units: list[str]) -> str:
    """Return the units that all have; else none, and the coordinate of the parameters tells them."""
    return units[0] if len(set(units)) == 1 else ""


def _regression(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the slopes (parameter, feature) of y (sample, feature) along x (sample, parameter), and their errors."""
    samples, parameters = x.shape
    groups = int(group.max()) + 1
    if groups < parameters + 2:
        raise ValueError(
            f"{parameters} parameters need at least {parameters + 2} groups of samples (simulations, objects), there "
            f"are {groups}; give fewer parameters or more groups"
        )
    design = np.concatenate([np.ones((samples, 1)), x], axis=1)
    normal = design.T @ design
    if np.linalg.cond(normal) > 1 / _DEPENDENT:
        raise ValueError("a parameter is a linear function of the others among these samples; leave it out")
    inverse = np.linalg.inv(normal)
    slopes = inverse @ (design.T @ y)
    residual = y - design @ slopes
    sums = np.zeros((groups, parameters + 1, y.shape[1]))
    np.add.at(sums, group, design[:, :, None] * residual[:, None, :])
    variance = ((inverse @ sums) ** 2).sum(axis=0)
    factor = groups / (groups - 1) * (samples - 1) / max(samples - parameters - 1, 1)
    return slopes[1:], np.sqrt(factor * variance[1:])


@dataclass(frozen=True)
class Response(Statistic):
    """Slopes of ln P(k) of the linear field along the conditions of the samples, below half the Nyquist frequency.

    Attributes
    ----------
    views : Views
    template : DataArray (k,)
        The power spectrum of one sample: it holds k.
    conditions : mapping of tuple
        For each parameter its mean and standard deviation in the real set, and its units.
    skipped : mapping of str
        Coordinates that are no conditions, and why.
    """

    views: Views
    template: xr.DataArray
    conditions: dict[str, tuple[float, float, str]]
    skipped: dict[str, str]
    name: str = field(default="response", init=False)

    @classmethod
    def of(cls, real: xr.DataArray, generated: xr.DataArray, views: Views) -> Response:
        """Find the conditions that both sets carry.

        Raises
        ------
        ValueError
            If there is none.
        """
        names, skipped = condition_names(real, generated)
        values = conditions_of(real, names)
        pairs = zip(names, values.mean(axis=0), values.std(axis=0))
        found = {name: (float(mean), float(std), units_of(real, name)) for name, mean, std in pairs}
        one = power_spectrum(views.linear(real.isel(sample=slice(1))), window="hann").isel(sample=0, drop=True)
        return cls(views, one.drop_vars([key for key in one.coords if key not in ("k", "modes")]), found, skipped)

    @staticmethod
    def check(field: xr.DataArray) -> None:
        """Raise `ValueError` if the samples carry no condition, or the grid is uneven."""
        Grid.of(field)
        conditions_of(field, condition_names(field)[0])

    def measure(self, part: xr.DataArray) -> dict[str, np.ndarray]:
        """Return the products of which the normal equations are sums, (sample, 1 + parameters, 1 + parameters + k).

        A sample without power in some shell has no logarithm: its products are zero, so that it has no weight.
        """
        power = power_spectrum(self.views.linear(part), window="hann").values
        known = (power > 0).all(axis=1, keepdims=True)
        scale = np.array([each[:2] for each in self.conditions.values()])
        values = (conditions_of(part, list(self.conditions)) - scale[:, 0]) / scale[:, 1]
        design = np.where(known, np.concatenate([np.ones((len(power), 1)), values], axis=1), 0)
        both = np.concatenate([design, np.log(np.where(known, power, 1))], axis=1)
        return {"products": (design[:, :, None] * both[:, None, :]).reshape(len(power), -1)}

    def averages(self, measured: Measured, weight: np.ndarray) -> dict[str, np.ndarray]:
        """Return the slopes (splits, k) by the names of the parameters; nan where these are not independent."""
        size = len(self.conditions) + 1
        rows = (weight @ measured["products"]).reshape(len(weight), size, -1)
        normal, right = rows[:, :, :size], rows[:, :, size:]
        values = np.linalg.eigvalsh(normal)
        known = values[:, 0] > _DEPENDENT * values[:, -1]
        slopes = np.full(right.shape, np.nan)
        slopes[known] = np.linalg.solve(normal[known], right[known])
        return {name: slopes[:, i + 1] / std for i, (name, (_, std, _)) in enumerate(self.conditions.items())}

    def scores(self, real: Measured) -> list[Score]:
        """Return the relative difference of the responses to each parameter."""
        band = (0.0, _HALF * self.template.attrs["nyquist"])
        inside = np.asarray(self.template["k"] < band[1])
        return [self._score(name, inside, band) for name in self.conditions] if inside.any() else []

    def _score(self, name: str, inside: np.ndarray, band: tuple[float, float]) -> Score:
        def distance(a: Averages, b: Averages) -> np.ndarray:
            gap = np.abs(a[name][:, inside] - b[name][:, inside]).mean(axis=1)
            return gap / np.abs(b[name][:, inside]).mean(axis=1)

        def value(a: Averages) -> np.ndarray:
            return a[name][:, inside].mean(axis=1)

        label = f"d ln P / d {name} of {self.views.title('power')}, relative"
        return Score(f"response_{name}", label, distance, value, inverse_unit(self.conditions[name][2]), band)

    def curves(self, parts: Parts) -> xr.Dataset:
        """Return the responses of both sets, and the range of those of real halves (k)."""
        found = {}
        for name, (_, _, units) in self.conditions.items():
            low, high = parts.floor(lambda a, _, name=name: a[name])
            columns = {"real": parts.real[name][0], "generated": parts.generated[name][0]}
            columns |= {"floor_low": low, "floor_high": high}
            attrs = {"units": inverse_unit(units), "long_name": f"d ln P / d {name}"}
            found |= {f"{name}_{key}": ("k", each, attrs) for key, each in columns.items()}
        told = "; ".join(f"{name}: {why}" for name, why in self.skipped.items())
        attrs = {"nyquist": self.template.attrs["nyquist"], "of": self.views.title("power"), "skipped": told}
        return xr.Dataset(found, coords=self.template.coords, attrs=attrs)
