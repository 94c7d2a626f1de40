"""Parameters read back from fields: a perfect set passes, shuffled or shifted ones are found out."""

import numpy as np
import pytest
import xarray as xr
from known_conditions import SHAPES, conditional, latin, parts_of, rows_of
from sklearn.linear_model import Ridge as Oracle

from sciffusion.statistics import recover_parameters
from sciffusion.statistics.extent import Views
from sciffusion.statistics.recovery import Recovery
from sciffusion.statistics.regressor import Regressor, summaries
from sciffusion.statistics.ridge import Ridge, fold_numbers


def with_parameters(field, **values):
    return field.assign_coords({name: ("sample", np.asarray(each)) for name, each in values.items()})


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize("lognormal", [False, True])
def test_a_perfect_set_has_slope_one_no_bias_and_the_coverage(ndim, lognormal):
    real, perfect = (conditional(*latin(400, seed=s), SHAPES[ndim], seed=s, lognormal=lognormal) for s in (1, 2))
    found = recover_parameters(real, perfect)
    assert found.parameter.values.tolist() == ["amplitude", "slope"]
    slope = found.slope.sel(parameter="amplitude")
    assert slope.sel(set="real") > 0.8
    for key in ("slope", "bias", "coverage"):
        gap = found[key].sel(set="generated") - found[key].sel(set="real")
        error = np.hypot(found[f"{key}_error"].sel(set="generated"), found[f"{key}_error"].sel(set="real"))
        assert (np.abs(gap) < 4 * error).all(), key
    np.testing.assert_allclose(found.coverage.sel(set="real"), [[0.68, 0.95]] * 2, atol=0.005)
    assert (np.abs(found.bias / found.scatter) < 0.2).all()
    assert found.parameter_units.values.tolist() == ["", "K"]


def test_shuffled_parameters_have_no_slope_and_a_bias_of_half_a_sigma_is_found():
    real, perfect = (conditional(*latin(500, seed=s), (24, 24), seed=s) for s in (1, 2))
    order = np.random.default_rng(0).permutation(500)
    shuffled = with_parameters(perfect, amplitude=perfect.amplitude.values[order], slope=perfect.slope.values[order])
    found = recover_parameters(real, shuffled)
    assert (np.abs(found.slope.sel(set="generated")) < 4 * found.slope_error.sel(set="generated")).all()
    assert (found.coverage.sel(set="generated", level=0.68) < 0.4).all()
    scatter = found.scatter.sel(parameter="amplitude")
    shifted = with_parameters(perfect, amplitude=perfect.amplitude.values - 0.5 * float(scatter))
    biased = recover_parameters(real, shifted)
    gap = biased.bias.sel(parameter="amplitude") / scatter
    assert float(gap.sel(set="generated")) == pytest.approx(0.5, abs=0.15)
    assert float(gap.sel(set="real")) == pytest.approx(0, abs=0.1)


def test_no_real_sample_is_predicted_by_a_model_that_saw_its_group():
    """Copies within a group and noise for parameters: whoever saw the group would know the answer."""
    rng = np.random.default_rng(0)
    real = conditional(np.zeros(80), np.full(80, -1.5), (64,)).isel(sample=np.repeat(np.arange(80), 4))
    theta = np.repeat(rng.normal(size=80), 4) + 1e-9 * rng.normal(size=320)
    real = real.drop_vars(["amplitude", "slope"]).assign_coords(theta=("sample", theta))
    grouped = real.assign_coords(group=("sample", np.repeat(np.arange(80), 4)))
    views = Views.of(real, real, False)
    honest, blind = (Regressor.of(each, views, ("theta",), 5, 0) for each in (grouped, real))
    assert honest.share[0] < 0.1
    assert blind.share[0] > 0.3
    # a sample alone, in any order, meets the same model
    truth, prediction = honest.predict(grouped)
    alone = honest.predict(grouped.isel(sample=[7]))[1]
    np.testing.assert_allclose(alone[0], prediction[7], rtol=1e-9)
    np.testing.assert_array_equal(truth[:, 0], theta)
    saw = np.stack([model.predict(summaries(grouped, views)) for model in honest.models])
    fold = np.array([honest.by_group[g] for g in grouped.group.values.tolist()])
    np.testing.assert_allclose(prediction, saw[fold, np.arange(320)])


def test_samples_without_groups_are_folded_by_their_parameters():
    real = conditional(*latin(40, siblings=3), (32,))
    regressor = Regressor.of(real, Views.of(real, real, False), ("amplitude", "slope"), 4, 0)
    assert len(regressor.by_truth) == 40
    assert not regressor.by_group
    assert set(regressor.by_truth.values()) == {0, 1, 2, 3}


def test_the_regression_is_that_of_scikit_learn_on_the_same_columns():
    rng = np.random.default_rng(0)
    x, y = rng.normal(3, 2, (70, 4)), rng.normal(size=(70, 2))
    model = Ridge.fit(x, y, np.arange(70) % 5)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    columns = np.concatenate([z, z**2], axis=1)
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    penalties = 10.0 ** np.arange(-6, 1.5, 0.5)
    for target in range(2):
        loss = []
        for penalty in penalties:
            errors = []
            for fold in range(5):
                out = np.arange(70) % 5 == fold
                fitted = Oracle(alpha=penalty * (~out).sum()).fit(columns[~out], y[~out, target])
                errors.append(fitted.predict(columns[out]) - y[out, target])
            loss.append((np.concatenate(errors) ** 2).sum())
        best = Oracle(alpha=penalties[int(np.argmin(loss))] * 70).fit(columns, y[:, target])
        np.testing.assert_allclose(model.predict(x)[:, target], best.predict(columns), rtol=1e-6, atol=1e-9)


def test_folds_hold_whole_groups():
    group = np.repeat(np.arange(11), 3)
    fold = fold_numbers(group, 4, 1)
    assert all(len(np.unique(fold[group == g])) == 1 for g in range(11))
    assert np.ptp(np.bincount(fold)) <= 3


def test_the_rows_of_a_comparison():
    real, perfect = (conditional(*latin(400, seed=s), (24, 24), seed=s) for s in (1, 2))
    noise = np.random.default_rng(3).random(400)
    real, perfect = (each.assign_coords(nothing=("sample", noise)) for each in (real, perfect))
    stat = Recovery.of(real, perfect, Views.of(real, perfect, False))
    assert stat.skipped["nothing"].startswith("real fields do not tell it")
    parts = parts_of(stat, real, perfect)
    rows = rows_of(stat, parts)
    assert list(rows) == [f"recovery_{n}_{k}" for n in ("amplitude", "slope") for k in ("slope", "bias", "coverage")]
    for row in rows.values():
        assert row["score"] < 1.6 * row["p95"]
    # they say what the function says
    found = recover_parameters(real, perfect, ["amplitude", "slope", "nothing"], log=False)
    for name in ("amplitude", "slope"):
        for i, which in enumerate(("real", "generated")):
            one = found.sel(parameter=name, set=which)
            assert rows[f"recovery_{name}_slope"][which] == pytest.approx(float(one.slope)), i
            assert rows[f"recovery_{name}_bias"][which] == pytest.approx(float(one.bias))
            assert rows[f"recovery_{name}_coverage"][which] == pytest.approx(float(one.coverage.sel(level=0.68)))
    shifted = with_parameters(perfect, amplitude=perfect.amplitude.values - 0.5 * float(found.scatter[0]))
    row = rows_of(stat, parts_of(stat, real, shifted))["recovery_amplitude_bias"]
    assert row["all"] == pytest.approx(0.5, abs=0.15)
    assert row["score"] > 2 * row["p95"]
    curves = stat.curves(parts)
    assert curves.slope_generated.dims == curves.slope_asked_generated.dims == ("generated",)
    np.testing.assert_array_equal(curves.amplitude_asked_real, real.amplitude)
    assert curves.slope_real.attrs["units"] == "K"


def test_what_does_not_fit_is_refused_in_words():
    real = conditional(*latin(30), (32,))
    with pytest.raises(ValueError, match=r"expected 3 folds or more .* there are 5 folds and 4 groups in 'map'"):
        recover_parameters(real.assign_coords(group=("sample", np.arange(30) % 4)), real)
    with pytest.raises(ValueError, match="no number 'Omega_m' along 'sample'"):
        recover_parameters(real, real, ["Omega_m"])
    with pytest.raises(ValueError, match="several channels"):
        recover_parameters(xr.concat([real, real], dim="channel"), real, ["slope"])
    with pytest.raises(ValueError, match="'slope' is the same in all samples"):
        recover_parameters(with_parameters(real, slope=np.ones(30)), real, ["slope"])
    with pytest.raises(ValueError, match="has no condition"):
        Recovery.check(real.drop_vars(["amplitude", "slope"]))
    Recovery.check(real)
