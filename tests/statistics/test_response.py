"""Responses of spectra to parameters beside closed forms; errors beside the scatter of many sets."""

import numpy as np
import pytest
import xarray as xr
from known_conditions import SHAPES, conditional, latin, parts_of, rows_of

from sciffusion.statistics import power_response, power_spectrum
from sciffusion.statistics.asked import condition_names
from sciffusion.statistics.extent import Views
from sciffusion.statistics.response import Response
from sciffusion.statistics.statistic import measure


def statistic(real, generated):
    return Response.of(real, generated, Views.of(real, generated, False))


def shell_means(field, slopes):
    """Logarithms of the mean of (k / k_Nyquist)^slope over the modes of each shell (slope, shell), cubic pixels."""
    shape = field.shape[1:]
    longest = max(shape)
    axes = np.meshgrid(*(np.fft.fftfreq(n) * longest for n in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes)).ravel()
    shells = [radius[np.rint(radius) == i] for i in range(1, power_spectrum(field).sizes["k"] + 1)]
    return np.log([[np.mean((2 * r / longest) ** s) for r in shells] for s in slopes])


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_the_response_of_a_power_law_is_one_and_ln_k(ndim):
    field = conditional(*latin(400), SHAPES[ndim], seed=ndim)
    found = power_response(field, ["amplitude", "slope"])
    exact = np.polyfit(field.slope, shell_means(field, field.slope.values), 1)[0]
    np.testing.assert_allclose(exact[3:], np.log(found.k[3:] / np.pi), atol=0.02)
    for name, answer in (("amplitude", np.ones(len(exact))), ("slope", exact)):
        pull = ((found.response - answer) / found.error).sel(parameter=name)
        assert float(np.abs(pull).max()) < 3.5
        assert float(found.error.sel(parameter=name)[2:].max()) < 0.4
    assert found.parameter_units.values.tolist() == ["", "K"]
    assert found.response.dims == ("parameter", "k")
    np.testing.assert_allclose(found.parameter_std, [field.amplitude.std(), field.slope.std()])


@pytest.mark.parametrize("ndim", [1, 2, 3])
def test_a_window_of_open_axes_mixes_the_largest_scales_alone(ndim):
    found = power_response(conditional(*latin(400), SHAPES[ndim], seed=ndim, boundary="reflect"), ["slope"])
    # to second order in k_f / k the window adds (2 s + n - 2) k_f^2 / 6 k^2 to the response: 0.05 from k = 3 k_f on
    gap = np.abs(found.response[0] - np.log(found.k / np.pi))[2:]
    assert (gap < 4 * found.error[0][2:] + 0.05).all()


def brute_force(x, y, group):
    """The sandwich with clusters, one group after the other."""
    design = np.column_stack([np.ones(len(x)), x])
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ design.T @ y
    residual = y - design @ slopes
    meat = np.zeros((design.shape[1],) * 2)
    for number in np.unique(group):
        own = group == number
        score = design[own].T @ residual[own]
        meat += np.outer(score, score)
    count = len(np.unique(group))
    factor = count / (count - 1) * (len(x) - 1) / (len(x) - design.shape[1])
    return slopes, np.sqrt(factor * np.diag(inverse @ meat @ inverse))


def test_it_is_the_regression_with_the_sandwich_of_clusters():
    field = conditional(*latin(30, siblings=3), (16, 12))
    group = np.repeat(np.arange(30), 3) * 7
    found = power_response(field.assign_coords(group=("sample", group)), ["amplitude", "slope"])
    logs = np.log(power_spectrum(field, window="hann").values)
    x = np.column_stack([field.amplitude, field.slope])
    for i in range(logs.shape[1]):
        slopes, errors = brute_force(x, logs[:, i], group)
        np.testing.assert_allclose(found.response[:, i], slopes[1:], rtol=1e-9)
        np.testing.assert_allclose(found.error[:, i], errors[1:], rtol=1e-9)


def test_errors_are_the_scatter_between_sets_also_where_siblings_are_copies():
    found = []
    for seed in range(60):
        field = conditional(*latin(60, seed=seed), (48,), seed=seed)
        copies = field.isel(sample=np.repeat(np.arange(60), 4)).assign_coords(group=("sample", np.arange(240) // 4))
        found.append(power_response(copies, ["amplitude", "slope"]))
    every = xr.concat(found, dim="set")
    ratio = (every.error**2).mean("set") ** 0.5 / every.response.std("set")
    # 60 sets tell the scatter to 9 %, 23 shells together to 2 %; the sandwich of 60 groups is low by some per cent
    np.testing.assert_allclose(ratio.mean("k"), 1, atol=0.1)


def test_channels_keep_their_labels():
    field = conditional(*latin(40), (32,))
    both = xr.concat([field, -2 * field], dim="channel").transpose("sample", "x", "channel")
    found = power_response(both.assign_coords(channel=["a", "b"]), ["slope"])
    assert found.response.dims == ("channel", "parameter", "k")
    np.testing.assert_allclose(found.response[0], found.response[1], rtol=1e-9)
    assert found.response.attrs["units"] == "1/K"


def test_conditions_are_told_from_labels():
    rng = np.random.default_rng(0)
    field = conditional(*latin(30), (16,)).assign_coords(
        seed=("sample", np.arange(30)),
        object_id=("sample", np.arange(30.0)),
        flux_error=("sample", rng.random(30)),
        kind=("sample", np.arange(30) % 3 * 1.0),
        lost=("sample", np.where(np.arange(30) == 4, np.nan, 1.0)),
        twice=("sample", 0.0 + 2 * latin(30)[0]),
        level=3.0,
    )
    names, skipped = condition_names(field, field)
    assert names == ("amplitude", "slope")
    assert skipped == {
        "seed": "a label",
        "object_id": "a label",
        "flux_error": "a label",
        "kind": "fewer than 6 values",
        "lost": "not known of all samples",
        "twice": "a linear function of amplitude, slope",
    }
    assert condition_names(field, field.drop_vars("slope"))[1]["slope"] == "not in all sets"


def test_a_set_of_the_same_conditions_is_within_the_floor_and_shuffled_ones_have_no_response():
    real, perfect = (conditional(*latin(300, seed=s), (24, 24), seed=s) for s in (1, 2))
    stat = statistic(real, perfect)
    good = rows_of(stat, parts_of(stat, real, perfect))
    assert list(good) == ["response_amplitude", "response_slope"]
    order = np.random.default_rng(0).permutation(300)
    shuffled = perfect.assign_coords({n: ("sample", perfect[n].values[order]) for n in ("amplitude", "slope")})
    bad = rows_of(stat, parts_of(stat, real, shuffled))
    for name, row in good.items():
        assert row["score"] < 1.5 * row["p95"]
        assert bad[name]["score"] == pytest.approx(1, abs=0.3)
        assert bad[name]["generated"] == pytest.approx(0, abs=0.2)
    assert good["response_amplitude"]["real"] == pytest.approx(1, abs=0.05)
    assert good["response_slope"]["units"] == "1/K"
    assert good["response_slope"]["band"] == pytest.approx((0, np.pi / 2))


def test_the_averages_of_the_statistic_are_the_regression_of_the_subset():
    real = conditional(*latin(60), (16, 12)).rename("real")
    stat = statistic(real, real)
    measured = measure([stat], real)[0]
    subset = np.arange(60) % 2 == 0
    found = stat.averages(measured, np.stack([np.full(60, 1 / 60), subset / 30]))
    for row, field in enumerate((real, real.isel(sample=subset))):
        exact = power_response(field, ["amplitude", "slope"]).response
        for name in ("amplitude", "slope"):
            np.testing.assert_allclose(found[name][row], exact.sel(parameter=name), rtol=1e-8)


def test_curves_hold_both_sets_and_the_floor():
    real, other = (conditional(*latin(80, seed=s), (40,), seed=s) for s in (1, 2))
    stat = statistic(real, other)
    curves = stat.curves(parts_of(stat, real, other))
    assert {f"slope_{key}" for key in ("real", "generated", "floor_low", "floor_high")} <= set(curves)
    assert (curves.amplitude_floor_low < curves.amplitude_floor_high).all()
    assert curves.slope_real.attrs["units"] == "1/K"
    assert curves.k.attrs["units"] == "1/Mpc"


def test_samples_without_power_have_no_weight_and_too_few_samples_no_number():
    real = conditional(*latin(60), (32,))
    stat = statistic(real, real)
    dark = real.copy(data=np.where(np.arange(60)[:, None] == 7, 0.0, real.values))
    measured = measure([stat], dark)[0]
    others = np.arange(60) != 7
    found = stat.averages(measured, np.full((1, 60), 1 / 60))
    exact = power_response(real.isel(sample=others), ["amplitude", "slope"]).response
    np.testing.assert_allclose(found["slope"][0], exact.sel(parameter="slope"), rtol=1e-8)
    two = np.zeros((1, 60))
    two[0, :2] = 0.5
    assert np.isnan(stat.averages(measured, two)["slope"]).all()


def test_what_does_not_fit_is_refused_in_words():
    field = conditional(*latin(30), (16,))
    with pytest.raises(ValueError, match="no number 'Omega_m' along 'sample'; it has amplitude, slope"):
        power_response(field, ["Omega_m"])
    with pytest.raises(ValueError, match=r"'map' has no condition; .* Left out: seed"):
        power_response(field.drop_vars(["amplitude", "slope"]).assign_coords(seed=("sample", np.arange(30))))
    lost = field.assign_coords(slope=("sample", np.where(np.arange(30) == 5, np.nan, 0)))
    with pytest.raises(ValueError, match="'slope' of sample 5 of 'map' is not finite"):
        power_response(lost, ["slope"])
    with pytest.raises(ValueError, match="'slope' is the same in all samples"):
        power_response(field.assign_coords(slope=("sample", np.ones(30))), ["slope"])
    with pytest.raises(ValueError, match="linear function of the others"):
        power_response(field.assign_coords(twice=2 * field.slope), ["slope", "twice"])
    with pytest.raises(ValueError, match=r"at least 4 groups .* there are 3"):
        power_response(field.assign_coords(group=("sample", np.arange(30) % 3)), ["amplitude", "slope"])
    dark = field.copy(data=np.where(np.arange(30)[:, None] == 3, 0.0, field.values))
    with pytest.raises(ValueError, match="sample 3 of 'map' has no power"):
        power_response(dark)
    with pytest.raises(ValueError, match="has no condition"):
        Response.check(field.drop_vars(["amplitude", "slope"]))
    Response.check(field)
