"""Comparisons of sets whose difference is known, and of sets that do not differ."""

import json

import astropy.units as u
import numpy as np
import pytest
import xarray as xr
from astropy.cosmology.units import littleh
from astropy.table import QTable

from sciffusion.statistics.split import draw, halves, weights
from sciffusion.validate import FILES, compare

UNITS = "(Msun/h)/(Mpc/h)^2"
SPACING = 0.5


def lognormal(shape, samples, seed, amplitude=1.0, group=1):
    """Lognormal fields of a red spectrum; `amplitude` multiplies their logarithm."""
    rng = np.random.default_rng(seed)
    axes = tuple(range(1, len(shape) + 1))
    grids = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(n, SPACING) for n in shape), indexing="ij", sparse=True)
    k = np.sqrt(sum(np.square(grid) for grid in grids))
    noise = np.fft.fftn(rng.normal(size=(samples, *shape)), axes=axes)
    smooth = np.fft.ifftn(noise / (1 + k**2), axes=axes).real
    dims = ("z", "y", "x")[-len(shape) :]
    attrs = {"units": "Mpc/h", "boundary": "periodic"}
    coords: dict = {dim: (dim, (np.arange(n) + 0.5) * SPACING, attrs) for dim, n in zip(dims, shape)}
    if group > 1:
        coords["group"] = ("sample", np.arange(samples) // group)
    return xr.DataArray(
        10 ** (10.5 + amplitude * smooth),
        dims=("sample", *dims),
        coords=coords,
        name="Mcdm",
        attrs={"units": UNITS, "long_name": "surface density"},
    )


def row(comparison, name, band=0):
    return [row for row in comparison.scores["statistics"] if row["name"] == name][band]


@pytest.mark.parametrize("shape", [(96,), (24, 24), (12, 12, 12)])
def test_sets_of_one_distribution_score_at_their_floor(shape):
    comparison = compare(lognormal(shape, 80, seed=1), lognormal(shape, 80, seed=2), splits=100)
    scores = comparison.scores["statistics"]
    assert len(scores) >= 13
    beyond = [row["name"] for row in scores if row["score"] > 1.6 * row["floor"]["p95"]]
    assert not beyond
    assert not [row["name"] for row in scores if row["differs"]]
    assert comparison.level == "gold"
    assert comparison.findings == []
    # that no pixels are clipped has a floor of exactly nothing
    ratio = np.array([row["score"] / row["floor"]["median"] for row in scores if row["floor"]["median"] > 0])
    assert len(scores) - len(ratio) <= 1
    assert 0.7 < np.median(ratio) < 2.0
    sizes = comparison.scores["sizes"]
    assert (sizes["real_samples"], sizes["generated_samples"], sizes["half"]) == (80, 80, 40)


def test_a_known_excess_of_power_is_measured():
    real, generated = lognormal((32, 32), 300, seed=1), lognormal((32, 32), 300, seed=2, amplitude=1.1)
    comparison = compare(real, generated)
    # log10 scales by 1.1, its power by 1.21
    for band in (0, 1):
        found = row(comparison, "log_power", band)
        assert found["all_samples"] == pytest.approx(0.21, abs=0.02)
        assert found["score"] == pytest.approx(0.21, abs=0.025)
        assert found["floor"]["p95"] < 0.1
        assert found["generated"] / found["real"] == pytest.approx(1.21, abs=0.03)
    assert row(comparison, "peaks_2_sigma")["score"] > 2 * row(comparison, "peaks_2_sigma")["floor"]["p95"]


def test_errors_of_the_ratio_are_its_scatter():
    pulls = []
    for seed in range(20):
        real, generated = (lognormal((32, 32), 60, seed=2 * seed + i, amplitude=a) for i, a in enumerate((1.0, 1.1)))
        spectra = compare(real, generated, splits=2).spectra
        pulls.append((spectra.log_power_ratio - 1.21) / spectra.log_power_ratio_error)
    assert np.mean(pulls) == pytest.approx(0, abs=0.25)
    assert np.std(pulls) == pytest.approx(1, abs=0.15)


def test_errors_of_the_mean_take_siblings_together():
    """Five copies of each sample are worth one."""
    once, generated = lognormal((24, 24), 40, seed=1), lognormal((24, 24), 40, seed=2)
    copies = once.isel(sample=np.repeat(np.arange(40), 5)).assign_coords(group=("sample", np.repeat(np.arange(40), 5)))
    expected, found = (compare(real, generated, splits=5).spectra for real in (once, copies))
    np.testing.assert_allclose(found.power_ratio_error, expected.power_ratio_error, rtol=1e-9)


def test_a_shift_is_the_wasserstein_distance_and_leaves_the_power_alone():
    real = lognormal((32, 32), 40, seed=1)
    comparison = compare(real, real * 10**0.05)
    sigma = float(np.log10(real.values).std())
    assert row(comparison, "wasserstein")["all_samples"] == pytest.approx(0.05 / sigma, rel=0.01)
    assert row(comparison, "maximum")["all_samples"] == pytest.approx(0.05 / sigma, rel=1e-9)
    assert row(comparison, "quantile_0.999")["all_samples"] == pytest.approx(0.05 / sigma, rel=0.2)
    assert row(comparison, "power")["all_samples"] == pytest.approx(0, abs=1e-9)
    assert row(comparison, "quantile_0.999")["real"] == pytest.approx(
        np.quantile(np.log10(real.values), 0.999), abs=0.01
    )


def test_high_peaks_are_seen_by_the_linear_field_which_the_log_hides():
    real = lognormal((32, 32), 80, seed=1)
    generated = lognormal((32, 32), 80, seed=2)
    place = generated.argmax(("y", "x"))
    for i in range(80):
        generated.values[i, int(place["y"][i]), int(place["x"][i])] *= 30
    comparison = compare(real, generated)
    assert row(comparison, "power")["score"] > 3 * row(comparison, "power")["floor"]["p95"]
    assert row(comparison, "power")["score"] > 3 * row(comparison, "log_power")["score"]
    assert row(comparison, "maximum")["score"] > 3 * row(comparison, "maximum")["floor"]["p95"]


def test_identical_samples_lack_variance():
    real = lognormal((24, 24), 40, seed=1)
    collapsed = real.copy(data=np.broadcast_to(real.values[:1], real.shape))
    found = row(compare(real, collapsed), "power_variance")
    assert found["score"] == pytest.approx(2, rel=1e-6)
    assert found["score"] > 1.5 * found["floor"]["p95"]


def test_constant_samples_are_judged_without_a_warning(tmp_path):
    real = lognormal((16, 16), 24, seed=1)
    comparison = compare(real, xr.full_like(real, 2.0), diagnostics="all")
    assert comparison.level == "none"
    assert row(comparison, "tied")["generated"] == pytest.approx(1)
    assert row(comparison, "power_slope")["generated"] is None
    comparison.write(tmp_path)


def test_siblings_raise_the_floor_because_groups_stay_together():
    rng = np.random.default_rng(3)
    amplitudes = np.repeat(rng.uniform(0.7, 1.3, 12), 5)[:, None, None]
    real = lognormal((24, 24), 60, seed=1, group=5)
    real = real.copy(data=10 ** (10.5 + amplitudes * (np.log10(real.values) - 10.5)))
    by_group, by_sample = (
        row(compare(real, real, group=group), "log_power")["floor"]["p95"] for group in ("group", None)
    )
    assert by_group > 1.5 * by_sample


def test_halves_share_no_group_and_have_one_size():
    groups = np.repeat([3, 8, 5, 9, 1], [4, 4, 4, 4, 1])
    first, second = halves(groups, 50, np.random.default_rng(0))
    assert first.shape == second.shape == (50, 8)
    for a, b in zip(first, second):
        assert not set(groups[a]) & set(groups[b])
        assert len(set(a)) == len(set(b)) == 8
    assert len({tuple(sorted(set(groups[a]))) for a in first}) > 4
    with pytest.raises(ValueError, match=r"4 samples in 1 groups .* cannot be halved"):
        halves(np.zeros(4), 5, np.random.default_rng(0))


def test_subsets_are_drawn_group_by_group():
    groups = np.repeat(np.arange(10), 4)
    for subset in draw(groups, 20, 10, np.random.default_rng(0)):
        assert len(set(groups[subset])) == 3
    matrix = weights(draw(groups, 7, 10, np.random.default_rng(0)), 40)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    assert matrix.shape == (7, 40)


def test_a_seed_fixes_the_scores():
    real, generated = lognormal((24, 24), 30, seed=1), lognormal((24, 24), 20, seed=2)
    one, same, other = (compare(real, generated, seed=seed, splits=20).scores["statistics"] for seed in (0, 0, 1))
    assert one == same
    assert [row["all_samples"] for row in one] == [row["all_samples"] for row in other]
    assert one != other


def test_few_generated_samples_shrink_the_halves_of_the_floor():
    sizes = compare(lognormal((24, 24), 40, seed=1), lognormal((24, 24), 7, seed=2)).scores["sizes"]
    assert sizes["half"] == 7


def test_generated_groups_that_match_are_counterparts_of_the_other_half():
    """A perfect copy then scores exactly its floor."""
    real = lognormal((24, 24), 40, seed=1, group=4)
    comparison = compare(real, real.copy(), splits=50)
    # the score is the mean over splits, the floor their median and 95th percentile
    for found in comparison.scores["statistics"]:
        assert found["score"] <= found["floor"]["p95"]
        assert (found["score"] > 0) == (found["name"] != "tied")
        assert found["all_samples"] == 0


def test_fields_with_a_sign_are_compared_as_they_are():
    fields = (lognormal((24, 24), 30, seed=s) for s in (1, 2))
    real, generated = (field.copy(data=np.log10(field.values) - 10.5) for field in fields)
    comparison = compare(real, generated)
    assert "log_power" not in [row["name"] for row in comparison.scores["statistics"]]
    assert comparison.spectra.attrs["power_of"] == "field"


def test_zeros_have_a_contrast_but_no_logarithm():
    real, generated = (lognormal((24, 24), 30, seed=s) for s in (1, 2))
    real.values[4, 3, 3] = 0
    comparison = compare(real, generated)
    assert comparison.spectra.attrs["power_of"] == "contrast"
    assert "log_power_real" not in comparison.spectra


def test_units_are_converted_and_axes_transposed():
    real, generated = (lognormal((24, 20), 30, seed=s) for s in (1, 2))
    expected = compare(real, generated, splits=20).scores["statistics"]
    other = (generated * 1e-6).assign_attrs(units="(Msun/h)/(kpc/h)^2").transpose("x", "sample", "y")
    other = other.assign_coords({d: (d, other[d].values * 1000, {"units": "kpc/h"}) for d in ("x", "y")})
    found = compare(real, other, splits=20).scores["statistics"]
    for a, b in zip(expected, found):
        assert a["score"] == pytest.approx(b["score"], rel=1e-6, abs=1e-9)


def test_sets_that_do_not_fit_are_refused_in_words():
    real = lognormal((16, 16), 10, seed=1)
    with pytest.raises(ValueError, match=r"pixels of .* the generated ones of"):
        compare(real, real.assign_coords(x=("x", real.x.values * 2, real.x.attrs)))
    with pytest.raises(ValueError, match=r"16, 16.*16, 15"):
        compare(real, real.isel(x=slice(15)))
    with pytest.raises(ValueError, match="grid dims"):
        compare(real, real.rename(x="u"))
    with pytest.raises(ValueError, match="cannot be converted"):
        compare(real, real.assign_attrs(units="K"))
    with pytest.raises(ValueError, match="expected 'sample'"):
        compare(real.isel(sample=0), real)
    with pytest.raises(ValueError, match="3 channels"):
        compare(real.expand_dims(channel=3), real)
    with pytest.raises(ValueError, match="sample 2 of 'generated Mcdm' has values that are not positive"):
        compare(real, with_zero(real))
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(xr.ones_like(real), real)
    with pytest.raises(ValueError, match="cannot be halved"):
        compare(real.assign_coords(group=("sample", np.zeros(10, int))), real)
    for size in (1, 3):
        with pytest.raises(ValueError, match=f"4 generated samples are needed; there are 200 and {size}"):
            compare(real, real.isel(sample=slice(size)))
    bad = real.copy(deep=True)
    bad.values[7, 0, 0] = np.nan
    with pytest.raises(ValueError, match="sample 7 of 'real Mcdm' has 1 values that are not finite"):
        compare(bad, real)


def with_zero(field):
    changed = field.copy(deep=True)
    changed.values[2, 5, 5] = 0
    return changed


def test_tables_carry_units_and_files_are_complete(tmp_path):
    comparison = compare(lognormal((24, 24), 30, seed=1, group=3), lognormal((24, 24), 20, seed=2))
    table = comparison.table
    highest = u.Quantity(table["k_max"])
    assert highest.unit == littleh / u.Mpc
    assert highest[0].value == pytest.approx(0.5 * np.pi / SPACING)
    comparison.write(tmp_path / "out")
    drawn = [f"{name}.{end}" for name in ("scorecard", "fields", "power", "pdf", "peaks") for end in ("png", "pdf")]
    assert set(comparison.files) == {"index.html", "scores.json", "scores.ecsv", "power.ecsv", "peaks.ecsv", *drawn}
    assert len(comparison.files) == 15
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(comparison.files) < set(FILES)
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores == comparison.scores
    assert scores["format_version"] == 2
    assert scores["sizes"]["real_groups"] == 10
    with u.add_enabled_units([littleh]):
        power, scored = (QTable.read(tmp_path / "out" / f"{name}.ecsv") for name in ("power", "scores"))
    assert power["k"].unit == littleh / u.Mpc
    assert power["power_real"].unit == (u.Mpc / littleh) ** 2
    np.testing.assert_allclose(power["power_real"].value, comparison.spectra.power_real)
    with pytest.raises(FileExistsError, match=r"holds index\.html, scores\.json, scores\.ecsv, power\.ecsv"):
        comparison.write(tmp_path / "out")
    assert scored.colnames == table.colnames
    for name in ("limit", "score"):
        np.testing.assert_allclose(
            scored[name], [row["floor"]["limit"] if name == "limit" else row["score"] for row in scores["statistics"]]
        )
    assert [str(level) for level in scored["level"]] == [row["level"] for row in scores["statistics"]]
    assert scored["k_max"].unit == littleh / u.Mpc


def test_the_summary_names_sizes_bands_and_every_statistic():
    comparison = compare(lognormal((24, 24), 30, seed=1), lognormal((24, 24), 20, seed=2))
    text = str(comparison)
    assert "20 generated beside 30 real samples (30 groups); score and floor: 15 beside 15, 200 splits" in text
    assert "k [h/Mpc]" in text
    lines, rows = text.splitlines(), comparison.scores["statistics"]
    assert lines[1].split()[-7:] == ["score", "floor", "limit", "all", "real", "gen.", "level"]
    for line, row in zip(lines[2:], rows):
        assert line.startswith(row["label"])
        assert line.endswith(f"  {row['level']}")
    few = len(comparison.scores["verdict"]["unresolved"])
    told = f"verdict: gold ({len(rows)} gold; in {few} lines too few samples to tell what gold asks for)"
    assert lines[2 + len(rows) :] == [told]
    assert max(map(len, lines)) < 126


def test_the_summary_ends_with_what_is_wrong():
    comparison = compare(lognormal((24, 24), 60, seed=1), lognormal((24, 24), 60, seed=2, amplitude=1.3))
    lines = str(comparison).splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("verdict: none ("))
    assert lines[at + 1 :] == [f"- {said}" for said in comparison.findings]
    assert any("too much power (log10)" in line for line in lines[at + 1 :])


def test_units_unknown_to_astropy_are_carried(tmp_path):
    real, generated = (lognormal((24,), 30, seed=s).assign_attrs(units="counts/fiber") for s in (1, 2))
    comparison = compare(-real, -generated)
    assert str(u.Quantity(comparison.power_table["power_real"]).unit) == "(counts/fiber)^2 (Mpc/h)"
    path = tmp_path / "power.ecsv"
    comparison.power_table.write(path, format="ascii.ecsv")
    assert "counts/fiber" in path.read_text()
    comparison.table.write(tmp_path / "scores.ecsv", format="ascii.ecsv")
    odd = [each.assign_coords(x=("x", each.x.values, {"units": "furlongz"})) for each in (real, generated)]
    compare(*odd).table.write(tmp_path / "odd.ecsv", format="ascii.ecsv")
    assert "1/furlongz" in (tmp_path / "odd.ecsv").read_text()
