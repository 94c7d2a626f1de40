"""Draws of a known posterior beside the truth: calibrated ones pass, and what is wrong with others is named."""

import re

import numpy as np
import pytest
import xarray as xr

from data_loaders import write_field
from data_loaders.lazy import lazy_variable
from sciffusion.calibrated import BANDS, calibrated
from sciffusion.cli.validate import ValidateConfig, _open, main
from sciffusion.plot import draw_result
from sciffusion.stacking import stacked, unstacked
from sciffusion.validate import compare, subsets

SHAPES = [(64,), (24, 25), (10, 11, 12)]
DRAWS = 12
NARROW = 1 / 2.75


def posterior(shape, samples, seed, width=1.0, bias=0.0, draws=DRAWS):
    """Return Gaussian fields of a red spectrum, and draws of their posterior given the field and white noise.

    `width` is by what the scatter of each mode is multiplied, a number or a function of k / k_Nyquist.
    """
    rng = np.random.default_rng(seed)
    axes = tuple(range(-len(shape), 0))
    k = np.sqrt(sum(np.square(2 * each) for each in np.meshgrid(*map(np.fft.fftfreq, shape), indexing="ij")))
    power, noise = 5e-4 / (1e-4 + k**6), 1.0
    wiener = power / (power + noise)

    def filtered(values, by):
        return np.fft.ifftn(np.fft.fftn(values, axes=axes) * by, axes=axes).real

    truth = filtered(rng.normal(size=(samples, *shape)), np.sqrt(power))
    mean = filtered(truth + np.sqrt(noise) * rng.normal(size=truth.shape), wiener)
    scatter = np.sqrt(wiener * noise) * (width(k) if callable(width) else width)
    every = mean[:, None] + bias + filtered(rng.normal(size=(samples, draws, *shape)), scatter)
    dims = ("z", "y", "x")[-len(shape) :]
    attrs = {"units": "Mpc/h", "boundary": "periodic"}
    coords = {dim: (dim, np.arange(n) + 0.5, attrs) for dim, n in zip(dims, shape)}
    label = {"units": "K", "long_name": "temperature"}
    return (
        xr.DataArray(truth, coords, ("sample", *dims), name="T", attrs=label),
        xr.DataArray(every, coords, ("sample", "candidate", *dims), name="T", attrs=label),
    )


def lines_of_draws(comparison):
    rows = [row for row in comparison.scores["statistics"] if row["name"].startswith("calibration_")]
    return {row["name"].removeprefix("calibration_"): row for row in rows}


def said_of_draws(comparison):
    return [said for said in comparison.findings if "draws are" in said]


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_of_the_posterior_are_gold(shape):
    comparison = compare(*posterior(shape, 80, seed=2), splits=60)
    found = lines_of_draws(comparison)
    judged = [name for name, row in found.items() if row["level"]]
    assert judged == ["rank", "tarp", *(f"rank_{band}" for band in BANDS)]
    assert {found[name]["level"] for name in judged} == {"gold"}
    assert comparison.level == "gold"
    assert not comparison.findings
    assert abs(found["interval_68"]["generated"] - 0.68) < 0.02
    assert abs(found["spread_skill"]["generated"] - 1) < 0.05
    assert 0 < found["crps"]["generated"] < 1
    assert 0 < found["energy_score"]["generated"] < 1
    sizes = comparison.scores["sizes"]
    assert (sizes["real_samples"], sizes["generated_samples"], sizes["half"]) == (80, 80 * DRAWS, 40)


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_too_narrow_are_found_and_named(shape):
    comparison = compare(*posterior(shape, 80, seed=2, width=NARROW), splits=30)
    found = lines_of_draws(comparison)
    assert found["rank"]["level"] == found["tarp"]["level"] == "bronze"
    assert {found[f"rank_{band}"]["level"] for band in BANDS} == {"silver"}
    # brute force: one number, draws of 1 / 2.75 of its width; 68 % of 12 draws: ranks 3 ... 9 and 0.08 of 2 and 10
    rng = np.random.default_rng(0)
    rank = (NARROW * rng.normal(size=(100_000, DRAWS)) < rng.normal(size=(100_000, 1))).sum(axis=1)
    depth = np.minimum(rank, DRAWS - rank)
    outer = 0.32 * 13 / 2
    held = float(np.mean(np.where(depth > 2, 1.0, np.where(depth == 2, 3 - outer, 0.0))))
    assert abs(found["interval_68"]["generated"] - held) < 0.02
    text, more = said_of_draws(comparison)
    assert (
        text
        == f"draws are too narrow: the 68 % interval holds {100 * found['interval_68']['generated']:.0f} % of the truth"
    )
    assert more == "draws are too narrow at all scales"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"width": 1.6}, "too wide"), ({"bias": 0.3}, "biased, too high"), ({"bias": -0.3}, "biased, too low")],
)
def test_wide_and_biased_draws_are_named(wrong, told):
    comparison = compare(*posterior((24, 25), 80, seed=3, **wrong), splits=30)
    assert lines_of_draws(comparison)["rank"]["level"] == "bronze"
    first, *_ = said_of_draws(comparison)
    assert first.startswith(f"draws are {told}: ")


def test_a_bias_of_the_mean_is_no_matter_of_scale():
    found = lines_of_draws(compare(*posterior((24, 25), 80, seed=3, bias=0.3), splits=30))
    assert {found[f"rank_{band}"]["level"] for band in BANDS} == {"gold"}


def test_draws_too_narrow_at_small_scales_alone_are_silver():
    def width(k):
        return np.where((k >= 0.4) & (k < 0.8), 0.85, 1.0)

    comparison = compare(*posterior((32, 32), 80, seed=4, width=width), splits=30)
    levels = {name: row["level"] for name, row in lines_of_draws(comparison).items() if row["level"]}
    expected = {"rank": "gold", "tarp": "gold", "rank_low": "gold", "rank_mid": "gold", "rank_high": "silver"}
    assert levels == expected
    (text,) = said_of_draws(comparison)
    small = "small scales (k > 1.26 h/Mpc), where they are too narrow"
    assert text == f"draws are calibrated as a whole, but not at {small}"


@pytest.mark.slow
def test_calibrated_draws_pass_all_tests_in_95_of_100_cases():
    passed = 0
    for seed in range(300):
        truth, draws = posterior((16,), 60, seed=seed, draws=8)
        rows = calibrated(truth, stacked(draws), np.arange(60), seed=seed).rows
        passed += min(row["p_value"] for row in rows if row["p_value"] is not None) > 0.05
    assert 0.95 - 3 * np.sqrt(0.05 * 0.95 / 300) <= passed / 300


def test_p_values_count_the_tests_of_all_channels():
    truth, draws = posterior((24, 25), 60, seed=5, width=0.9)
    p = [
        {row["name"]: row["p_value"] for row in calibrated(truth, stacked(draws), np.arange(60), channels=n).rows}
        for n in (1, 3)
    ]
    for name in (f"calibration_rank_{band}" for band in BANDS):
        assert p[1][name] == pytest.approx(min(1, 3 * p[0][name]))


def test_channels_are_judged_each_by_itself():
    pairs = [posterior((24, 25), 60, seed=6), posterior((24, 25), 60, seed=7, width=NARROW)]
    names = {"channel": ["good", "narrow"]}
    real, generated = (xr.concat(each, dim="channel").assign_coords(names) for each in zip(*pairs))
    comparison = compare(real, generated, splits=20)
    assert {lines_of_draws(each)["rank"]["level"] for each in comparison.channels.values()} == {"gold", "bronze"}
    assert {said.split(":")[0] for said in said_of_draws(comparison)} == {"narrow"}


def test_spectra_have_no_bands_and_bad_pixels_do_not_count():
    rng = np.random.default_rng(8)
    wavelength = ("wavelength", 4000 * 1.01 ** np.arange(40), {"units": "Angstrom"})
    center = 5 + rng.normal(size=(60, 1, 40))
    every = xr.DataArray(
        center + rng.normal(size=(60, 9, 40)), {"wavelength": wavelength}, ("sample", "candidate", "wavelength"),
        name="flux", attrs={"units": "erg/s/cm^2/Angstrom"},
    )  # fmt: skip
    bad = rng.random((60, 40)) < 0.1
    truth = every[:, 0].assign_coords(mask=(("sample", "wavelength"), bad))
    comparison = compare(truth.where(~bad, 1e6), every[:, 1:], splits=20)
    found = lines_of_draws(comparison)
    assert [name for name, row in found.items() if row["level"]] == ["rank", "tarp"]
    assert found["rank"]["level"] == found["tarp"]["level"] == "gold"
    assert comparison.results["calibration"]["spread_skill"].dims == ("wavelength",)


def test_samples_of_a_group_count_together():
    truth, draws = posterior((24, 25), 30, seed=9)
    p = []
    for copies in (1, 4):  # as many copies of each sample are worth one
        own = np.arange(30).repeat(copies)
        rows = calibrated(truth.isel(sample=own), stacked(draws.isel(sample=own)), own).rows
        p.append({row["name"]: row["p_value"] for row in rows}["calibration_rank_high"])
    assert p[1] == pytest.approx(p[0], rel=1e-6)


def test_few_groups_have_no_test_of_ranks():
    found = lines_of_draws(compare(*posterior((24, 25), 12, seed=10), splits=20))
    assert [name for name, row in found.items() if row["level"]] == ["tarp"]


def test_of_few_draws_the_ranks_outside_all_are_told():
    comparison = compare(*posterior((24, 25), 60, seed=10, width=NARROW, draws=3), splits=20)
    assert "interval_68" not in lines_of_draws(comparison)
    assert re.match(
        r"draws are too narrow: \d\d % of the truth lie outside all draws, not 50 %", said_of_draws(comparison)[0]
    )


def test_halves_are_matched_by_object():
    real = np.array(["b", "a", "c", "a", "d", "e"])
    first, second, drawn = subsets(real, real.repeat(5), 20, np.random.default_rng(0))
    assert np.array_equal(drawn // 5, second)
    assert len(np.unique(drawn % 5)) == 5
    assert not any(set(real[one]) & set(real[other]) for one, other in zip(first, second))


def test_stacking_keeps_order_and_labels():
    rng = np.random.default_rng(11)
    coords = {
        "x": ("x", np.arange(4.0)),
        "sample": np.arange(3),
        "group": ("sample", ["a", "b", "b"]),
        "norm": (("sample", "candidate"), rng.normal(size=(3, 5))),
        "mask": (("sample", "x"), rng.random((3, 4)) < 0.5),
    }
    draws = xr.DataArray(
        rng.normal(size=(5, 4, 3)), coords, ("candidate", "x", "sample"), name="T", attrs={"units": "K"}
    )
    flat = stacked(draws)
    ordered = draws.transpose("sample", "candidate", "x")
    assert flat.dims == ("sample", "x")
    assert flat.attrs == draws.attrs
    assert flat.name == "T"
    np.testing.assert_array_equal(flat.values, ordered.values.reshape(15, 4))
    np.testing.assert_array_equal(flat["norm"].values, draws["norm"].values.ravel())
    np.testing.assert_array_equal(flat["group"].values, np.repeat(["a", "b", "b"], 5))
    np.testing.assert_array_equal(flat["mask"].values, draws["mask"].values.repeat(5, axis=0))
    for where in (slice(3, 12), slice(12, 3, -2), [14, 0, 7], 6):
        np.testing.assert_array_equal(flat.isel(sample=where, x=[3, 1]), flat.values[where][..., [3, 1]])
    back = unstacked(flat, 3)
    for where in ({"candidate": 2}, {"sample": 1}, {"sample": slice(1, 3), "candidate": [4, 0], "x": 2}):
        np.testing.assert_array_equal(back.isel(where), ordered.isel(where))


def test_stacking_reads_what_is_indexed():
    values = np.random.default_rng(12).normal(size=(20, 6, 8))
    read = []

    class Counted:
        shape, dtype = values.shape, values.dtype

        def read(self, index):
            found = values[index[0]][:, index[1]][..., index[2]]
            read.append(found.size)
            return found

    flat = stacked(xr.DataArray(lazy_variable(("sample", "candidate", "x"), Counted())))
    back = unstacked(flat, 20)
    assert not read
    np.testing.assert_array_equal(flat.isel(sample=slice(12, 24)), values[2:4].reshape(12, 8))
    np.testing.assert_array_equal(back.isel(candidate=3), values[:, 3])
    np.testing.assert_array_equal(back.isel(sample=slice(5, 7)), values[5:7])
    assert read == [2 * 6 * 8, 20 * 8, 2 * 6 * 8]


def test_refusals_say_what_to_do():
    truth, draws = posterior((24,), 20, seed=13)
    with pytest.raises(ValueError, match=r"draws for 19 samples, the real set has 20.*choose the real samples"):
        compare(truth, draws[:19])
    with pytest.raises(ValueError, match=r"1 draw for each sample.*at least 2.*isel\(candidate=0\)"):
        compare(truth, draws[:, :1])
    with pytest.raises(ValueError, match="the real set has the dim 'candidate' too"):
        compare(draws, draws)
    own = {name: ("sample", np.arange(20)) for name in ("object_id", "simulation")}
    other = {name: ("sample", np.roll(np.arange(20), 1)) for name in ("object_id", "simulation")}
    with pytest.raises(ValueError, match="'object_id' of sample 0 is 0 in the real set and 19 in the generated one"):
        compare(truth.assign_coords(own), draws.assign_coords(other))
    with pytest.raises(ValueError, match="'simulation' of sample 0"):
        compare(truth.assign_coords(own), draws.assign_coords(simulation=other["simulation"]), group="simulation")


def test_the_figure_shows_ranks_coverage_and_spread():
    comparison = compare(*posterior((24, 25), 60, seed=14), splits=20)
    axes = draw_result(comparison, "calibration")
    assert [ax.get_xlabel() for ax in axes] == ["draws below the truth", "level", "k [h/Mpc]"]
    assert len(axes[0].get_legend().get_texts()) == 2 + len(BANDS)
    from sciffusion.figures_calibration import plot_calibration

    with pytest.raises(ValueError, match="expected 3 axes, got 2"):
        plot_calibration(comparison, axes[:2])


def test_files_of_candidates_are_judged(tmp_path, capsys):
    truth, draws = posterior((32,), 40, seed=15, width=NARROW)
    write_field(truth, tmp_path / "truth.h5")
    drawn = xr.Dataset({"T": draws[:, 0], "samples": draws.assign_attrs(long_name="candidates")}, attrs={"field": "T"})
    write_field(drawn, tmp_path / "drawn.h5")
    files = [
        str(tmp_path / "truth.h5"),
        str(tmp_path / "drawn.h5"),
        "--splits",
        "20",
        "--quick",
        "--diagnostics",
        "slope",
    ]
    assert main([*files, "--out", str(tmp_path / "all")]) == 0
    assert f"{40 * DRAWS} generated beside 40 real" in (told := capsys.readouterr().out)
    assert "draws are too narrow: the 68 % interval holds" in told
    assert "Draws beside the truth" in (tmp_path / "all" / "index.html").read_text()
    assert (tmp_path / "all" / "calibration.png").is_file()
    alone = ValidateConfig(out="", generated_dataset="T")
    assert _open(files[1], alone, "generated_options").dims == ("sample", "x")
