"""Covariances of power spectra: Wishart matrices, Gaussian fields, siblings, and the lines of a comparison."""

import numpy as np
import pytest
import xarray as xr

from sciffusion.statistics import hartlap_factor, power_covariance, power_spectrum
from sciffusion.statistics.covariance import Moments, bin_matrix, leave_one_out_chi2
from sciffusion.statistics.extent import Views
from sciffusion.statistics.fieldpower import Power, PowerCorrelation, Slope
from sciffusion.statistics.statistic import Parts, measure

TRUE = np.array([[4.0, 1.2, 0.0], [1.2, 1.0, -0.3], [0.0, -0.3, 2.0]])


def spectra(values, group=None):
    coords = {"k": ("k", np.arange(1.0, values.shape[-1] + 1), {"units": "1/deg"})}
    if group is not None:
        coords["group"] = ("sample", group)
    dims = ("sample", *(("channel",) if values[0].shape != values.shape[-1:] else ()), "k")
    return xr.DataArray(values, dims=dims, coords=coords, name="power", attrs={"units": "K^2 deg"})


def correlated(samples, seed, covariance=TRUE):
    return np.random.default_rng(seed).multivariate_normal(np.full(len(covariance), 5.0), covariance, samples)


def labelled(values, boundary="periodic"):
    dims = ("z", "y", "x")[-(values.ndim - 1) :]
    attrs = {"units": "Mpc/h", "boundary": boundary}
    coords = {dim: (dim, np.arange(n) * 0.5, attrs) for dim, n in zip(dims, values.shape[1:])}
    return xr.DataArray(values, dims=("sample", *dims), coords=coords, name="field", attrs={"units": "K"})


def test_hartlap_factor_is_that_of_the_paper():
    assert hartlap_factor(100, 8) == pytest.approx(90 / 99)
    assert hartlap_factor(11, 8) == pytest.approx(1 / 10)
    for samples in (10, 9, 1):
        with pytest.raises(ValueError, match=f"8 bins needs more than 10 independent samples, there are {samples};"):
            hartlap_factor(samples, 8)


def test_without_groups_it_is_the_usual_covariance():
    values = correlated(40, 0)
    found = power_covariance(spectra(values))
    np.testing.assert_allclose(found["covariance"], np.cov(values.T), rtol=1e-10)
    np.testing.assert_allclose(found["correlation"], np.corrcoef(values.T), rtol=1e-10)
    np.testing.assert_allclose(found["precision"], hartlap_factor(40, 3) * np.linalg.inv(np.cov(values.T)), rtol=1e-9)
    assert found.sizes == {"k": 3, "k_2": 3}
    assert found.attrs == {"samples": 40, "groups": 40, "hartlap": hartlap_factor(40, 3)}
    units = [found[name].attrs["units"] for name in ("covariance", "correlation", "precision")]
    assert units == ["(K^2 deg)^2", "", "1/((K^2 deg)^2)"]
    assert found.k.attrs["units"] == found.k_2.attrs["units"] == "1/deg"


def test_it_is_the_mean_over_the_pairs_of_different_groups():
    values, group = correlated(17, 1), np.array([3, 3, 9, 9, 9, 9, 1, 2, 2, 5, 6, 6, 6, 7, 8, 3, 0])
    expected, pairs = np.zeros((3, 3)), 0
    for i in range(17):
        for j in range(i):
            if group[i] != group[j]:
                expected += 0.5 * np.outer(values[i] - values[j], values[i] - values[j])
                pairs += 1
    found = power_covariance(spectra(values, group))
    np.testing.assert_allclose(found["covariance"], expected / pairs, rtol=1e-10)
    assert found.attrs["groups"] == 9


def test_copies_are_worth_one_and_siblings_do_not_bias():
    values = correlated(30, 2)
    once = power_covariance(spectra(values))
    copies = power_covariance(spectra(values.repeat(5, axis=0), np.arange(30).repeat(5)))
    for name in ("covariance", "correlation", "precision"):
        np.testing.assert_allclose(copies[name], once[name], rtol=1e-9)
    # siblings that share half of their variance, in groups of very different sizes; a set is a channel
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(12), [1, 1, 1, 2, 2, 3, 4, 6, 8, 1, 1, 10])
    shared, own = (rng.multivariate_normal(np.zeros(3), TRUE / 2, (n, 1500)) for n in (12, 40))
    many = xr.DataArray(shared[group] + own, dims=("sample", "channel", "k"), coords={"group": ("sample", group)})
    found = power_covariance(many)["covariance"].values
    error = found.std(axis=0) / np.sqrt(1500)
    assert (np.abs(found.mean(axis=0) - TRUE) < 4.5 * error).all()


@pytest.mark.parametrize("samples", [8, 12, 40])
def test_the_precision_is_unbiased(samples):
    """Of Wishart matrices, in the mean over many sets; without the factor it would be too large."""
    sets = 4000
    values = correlated(sets * samples, 4).reshape(sets, samples, 3).transpose(1, 0, 2)
    power = xr.DataArray(values, dims=("sample", "channel", "k"))
    found = power_covariance(power)["precision"]
    inverse = np.linalg.inv(TRUE)
    error = found.std("channel").values / np.sqrt(sets)
    assert (np.abs(found.mean("channel").values - inverse) < 4.5 * error).all()
    assert (error < 0.1 * np.abs(inverse).max()).all()
    scale = np.trace(found.mean("channel").values @ TRUE) / 3
    assert scale == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("shape", [(48,), (20, 20), (10, 10, 10)])
def test_shells_of_gaussian_fields_are_independent_with_the_variance_of_their_modes(shape):
    power = power_spectrum(labelled(np.random.default_rng(5).normal(size=(3000, *shape))))
    found = power_covariance(power)
    mean = power.mean("sample").values
    np.testing.assert_allclose(np.diag(found["covariance"]), mean**2 / power.modes, rtol=0.12)
    off = found["correlation"].values[~np.eye(power.sizes["k"], dtype=bool)]
    assert np.abs(off).max() < 4.5 / np.sqrt(3000)
    np.testing.assert_allclose(np.diag(found["correlation"]), 1)


def test_bins_are_averages_weighted_by_modes():
    power = power_spectrum(labelled(np.random.default_rng(6).normal(size=(300, 32, 32))))
    found = power_covariance(power, bins=4)
    assert found.sizes == {"k": 4, "k_2": 4}
    assert float(found.modes.sum()) == float(power.modes.sum())
    assert np.ptp(np.diff(np.log(found.k))) < 0.6
    np.testing.assert_allclose((found.k * found.modes).sum(), (power.k * power.modes).sum())
    variance = np.diag(found["covariance"]) * found.modes.values
    np.testing.assert_allclose(variance, 0.25**2, rtol=0.3)
    with pytest.raises(ValueError, match=r"15 shells cannot be put into 40 logarithmic bins; give bins <= 15"):
        power_covariance(power, bins=40)


@pytest.mark.parametrize("number", [2, 5, 9, 16, 25, 100])
def test_logarithmic_bins_hold_each_shell_once_and_are_as_many_as_asked_for(number):
    k, modes = np.arange(1.0, number + 1), np.random.default_rng(0).integers(1, 50, number)
    for bins in range(1, min(number, 12) + 1):
        matrix = bin_matrix(k, modes, bins)
        assert len(matrix) == bins
        np.testing.assert_allclose(matrix.sum(axis=1), 1)
        assert ((matrix > 0).sum(axis=0) == 1).all()
        assert (np.diff(matrix @ k) > 0).all()


def test_channels_and_what_is_refused():
    values = np.stack([correlated(20, 7), 2 * correlated(20, 8)], axis=1)
    power = spectra(values).assign_coords(channel=["a", "b"])
    found = power_covariance(power)
    assert found["covariance"].dims == ("channel", "k", "k_2")
    for i in range(2):
        np.testing.assert_allclose(found["precision"][i], power_covariance(power[:, i])["precision"], rtol=1e-10)
    few = power[:5, 0]
    with pytest.raises(ValueError, match="3 bins needs more than 5 independent samples, there are 5; give fewer bins"):
        power_covariance(few)
    assert set(power_covariance(few, precision=False)) == {"covariance", "correlation"}
    with pytest.raises(ValueError, match="more than 5 independent samples, there are 4"):
        power_covariance(power[:, 0].assign_coords(group=("sample", np.arange(20) % 4)))
    assert power_covariance(power[:, 0].assign_coords(group=("sample", np.arange(20) % 4)), group=None).groups == 20
    with pytest.raises(ValueError, match="at least 2 groups"):
        power_covariance(power[:1, 0])
    with pytest.raises(ValueError, match="expected power spectra of samples"):
        power_covariance(power[0, 0])
    flat = power[:, 0].copy(data=np.where([True, False, False], 5.1, power[:, 0]))
    assert np.isnan(power_covariance(flat, precision=False)["correlation"][0]).all()
    for singular in (flat, flat.copy(data=np.where([True, False, False], 2 * flat[:, 1:2], flat))):
        with pytest.raises(ValueError, match="the covariance has no inverse"):
            power_covariance(singular)


def chi2_of(values, reference):
    """Sample by sample, from the definition."""
    n, p = reference.shape
    precision = (n - p - 2) / (n - 1) * np.linalg.inv(np.cov(reference.T))
    offset = values - reference.mean(axis=0)
    return np.mean([d @ precision @ d for d in offset]) / p * n / (n + 1)


def test_chi2_is_the_mean_over_the_samples_and_one_for_equal_sets():
    rng = np.random.default_rng(9)
    values = correlated(60, 10)
    first = np.array([rng.permutation(60) < 20 for _ in range(5)])
    second = np.array([~row & (rng.random(60) < 0.7) for row in first])
    moments = [Moments.of(values, chosen / chosen.sum(axis=1, keepdims=True)) for chosen in (first, second)]
    found = moments[1].chi2(moments[0])
    expected = [chi2_of(values[b], values[a]) for a, b in zip(first, second)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    # too few samples for an inverse
    few = Moments.of(values, np.array([[0.2] * 5 + [0] * 55, [1 / 6] * 6 + [0] * 54]))
    assert np.isfinite(Moments.of(values, np.full((2, 60), 1 / 60)).chi2(few)).tolist() == [False, True]
    # the mean over many sets
    many = correlated(4000 * 24, 11).reshape(4000, 24, 3)
    ones = [chi2_of(each[12:], each[:12]) for each in many]
    assert np.mean(ones) == pytest.approx(1, abs=4.5 * np.std(ones) / np.sqrt(4000))


def test_a_set_under_itself_has_a_chi2_of_one():
    moments = Moments.of(correlated(60, 10), np.array([[1 / 60] * 60, [1 / 30] * 30 + [0] * 30, [0.2] * 5 + [0] * 55]))
    np.testing.assert_array_equal(moments.chi2(moments), [1, 1, np.nan])
    real = lognormal((24, 24), 40, 1)
    _, (parts, _), scores = compared(real, real.copy())
    for score in scores:
        assert score.distance(parts.generated, parts.real)[0] == 0


def test_leaving_one_out_is_a_loop():
    values = correlated(15, 12)
    expected = np.mean([chi2_of(values[i : i + 1], np.delete(values, i, axis=0)) for i in range(15)])
    assert leave_one_out_chi2(values) == pytest.approx(expected, rel=1e-9)
    sets = [leave_one_out_chi2(each) for each in correlated(2000 * 15, 13).reshape(2000, 15, 3)]
    assert np.mean(sets) == pytest.approx(1, abs=4.5 * np.std(sets) / np.sqrt(2000))


def lognormal(shape, samples, seed, coupling=0.0):
    """Gaussian logarithms; `coupling` is the scatter of an amplitude that all modes of a sample share."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(samples, *shape)) * 0.3
    amplitude = np.exp(coupling * rng.normal(size=(samples, *[1] * len(shape))))
    return labelled(10 ** (values * amplitude))


def compared(real, generated, splits=40, kind=None):
    views = Views.of(real, generated, None)
    power = Power.of(real, views)
    statistics = [power, PowerCorrelation(power)] if kind is None else [kind.of(real, views)]
    ours, theirs = (measure(statistics, each) for each in (real, generated))
    number, rng = real.sizes["sample"], np.random.default_rng(0)
    first = np.array([rng.permutation(number) < number // 2 for _ in range(splits)])
    other = np.array([rng.permutation(generated.sizes["sample"]) < number // 2 for _ in range(splits)])
    halves = tuple(each / each.sum(axis=1, keepdims=True) for each in (first, ~first, other, other, ~other))
    groups = np.arange(number), np.arange(generated.sizes["sample"])
    parts = [Parts.of(s, (a, b), groups, halves) for s, a, b in zip(statistics, ours, theirs)]
    return statistics, parts, statistics[0].scores(ours[0])


def rows(parts, scores, name):
    (score,) = [score for score in scores if score.name == name]
    floor = score.distance(parts.second, parts.first)
    return score, score.distance(parts.drawn, parts.first).mean(), np.quantile(floor, 0.95), np.median(floor)


@pytest.mark.parametrize("shape", [(64,), (24, 20), (12, 12, 12)])
def test_equal_sets_have_a_chi2_of_one_and_correlations_at_their_floor(shape):
    real, generated = (lognormal(shape, 80, seed) for seed in (1, 2))
    (power, _), (parts, _), scores = compared(real, generated)
    names = [score.name for score in scores]
    assert names.count("power_chi2") == names.count("log_power_correlation") == 1
    assert [score.label for score in scores if "chi2" in score.name] == [
        "log P(k) of contrast, reduced χ², |ln|",
        "log P(k) of log10, reduced χ², |ln|",
    ]
    assert 2 <= len(power.bins) <= 8
    assert float(power.k[power.bins.any(axis=0)].max()) < 0.8 * power.spectra["power"].attrs["nyquist"]
    for name in ("power", "log_power"):
        score, found, limit, _ = rows(parts, scores, f"{name}_chi2")
        assert found < 1.6 * limit
        assert score.value(parts.generated)[0] == pytest.approx(1, abs=0.35)
        assert score.value(parts.real)[0] == pytest.approx(1, abs=0.25)
        score, found, limit, median = rows(parts, scores, f"{name}_correlation")
        assert found < 1.6 * limit
    # modes without any coupling: noise beside noise
    assert median == pytest.approx(np.sqrt(2), abs=0.25)
    assert score.value(parts.real)[0] == pytest.approx(0, abs=0.1)


def test_coupled_modes_are_seen_by_the_correlations_and_scatter_by_chi2():
    real, alike, wrong = (lognormal((24, 24), 200, seed, c) for seed, c in ((1, 0.2), (2, 0.2), (3, 0.0)))
    for generated, differs in ((alike, False), (wrong, True)):
        _, (parts, _), scores = compared(real, generated)
        score, found, limit, median = rows(parts, scores, "log_power_correlation")
        assert median < 0.2
        assert (found > 2 * limit) == differs
        assert score.value(parts.real)[0] > 0.6
        assert (score.value(parts.generated)[0] > 0.6) == (not differs)
    # too much scatter is seen by chi²; too little, in one direction of eight, hardly
    _, (parts, _), scores = compared(wrong, alike)
    _, found, limit, _ = rows(parts, scores, "log_power_chi2")
    assert found > 2 * limit


def test_a_wrong_mean_and_a_wrong_scatter_raise_and_lower_chi2():
    real, alike = (lognormal((24, 24), 160, seed) for seed in (1, 2))
    _, (parts, _), scores = compared(real, real.copy(data=10 ** (1.15 * np.log10(alike.values))))
    score, found, limit, _ = rows(parts, scores, "log_power_chi2")
    assert score.value(parts.generated)[0] > 1.5
    assert found > limit
    collapsed = real.copy(data=np.broadcast_to(real.values[:1], real.shape))
    _, (parts, _), scores = compared(real, collapsed)
    score, found, limit, _ = rows(parts, scores, "log_power_correlation")
    assert np.isnan(found)
    # two halves of a set without scatter: a number or none, but no warning
    for score in scores:
        assert not score.distance(parts.drawn, parts.drawn)[0] > 0
    flat = real.copy(data=np.where(np.arange(160)[:, None, None] == 3, 2.0, alike.values))
    _, (parts, _), scores = compared(real, flat)
    assert rows(parts, scores, "log_power_chi2")[1] > 1


def test_bins_follow_the_number_of_samples():
    for samples, bins in ((12, 0), (15, 0), (16, 2), (24, 3), (52, 8), (90, 8)):
        real = lognormal((32, 32), samples, 1)
        power = Power.of(real, Views.of(real, real, None))
        assert len(power.bins) == bins
        names = {score.name for score in power.scores(measure([power], real)[0])}
        assert ("power_chi2" in names) == (bins > 0)
    small = lognormal((6,), 60, 1)
    assert len(Power.of(small, Views.of(small, small, None)).bins) == 2


def test_a_figure_gets_both_matrices():
    real, generated = (lognormal((24, 24), 60, seed, 0.2) for seed in (1, 2))
    (power, figure), (_, parts), _ = compared(real, generated)
    curves = figure.curves(parts)
    assert set(curves) == {f"{name}_{which}" for name in ("power", "log_power") for which in ("real", "generated")}
    assert curves.sizes == {"k": 8, "k_2": 8}
    assert curves.attrs["log_power_of"] == "log10"
    binned = np.log(power_spectrum(real / real.mean(("y", "x")) - 1).values @ power.bins.T)
    np.testing.assert_allclose(curves["power_real"], np.corrcoef(binned.T), rtol=1e-9)
    few = lognormal((24, 24), 12, 1)
    _, (_, parts), _ = compared(few, few)
    assert PowerCorrelation(Power.of(few, Views.of(few, few, None))).curves(parts) is None


def test_slopes_are_as_they_were():
    real, generated = (lognormal((32, 32), 40, seed) for seed in (1, 2))
    _, (parts,), scores = compared(real, generated, kind=Slope)
    assert [score.name for score in scores] == ["power_slope", "log_power_slope"]
    assert not [key for key in parts.real if "log_mean" in key or key == "samples"]
    assert scores[1].value(parts.real)[0] == pytest.approx(0, abs=0.1)
