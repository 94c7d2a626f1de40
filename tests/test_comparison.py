"""What a comparison writes: files that depend on the field, channels, noise in words, diagnostics by name."""

import json

import astropy.units as u
import numpy as np
import pytest
import xarray as xr
from astropy.table import QTable
from matplotlib.legend import Legend

from sciffusion import plot
from sciffusion.comparison import FILES, written_files
from sciffusion.statistics.choice import measurable
from sciffusion.validate import DIAGNOSTICS, compare


def maps(seed, samples=24, n=24, boundary="periodic", units="Mpc/h", **attrs):
    """Positive maps with structure."""
    rng = np.random.default_rng(seed)
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None, :])
    smooth = np.fft.ifft2(np.fft.fft2(rng.normal(size=(samples, n, n))) / (0.1 + k)).real
    axis = {"units": units, "boundary": boundary}
    coords = {dim: (dim, (np.arange(n) + 0.5) * 0.5, axis) for dim in ("y", "x")}
    labels = {"units": "K", "long_name": "temperature", **attrs}
    return xr.DataArray(10 ** (0.3 * smooth), dims=("sample", "y", "x"), coords=coords, name="T", attrs=labels)


def channels(seed, names=("gas density", "T"), signs=(1.0, -1.0)):
    """Fields whose logarithms are one map with these signs, each with noise of its own."""
    one = maps(seed)
    rng = np.random.default_rng(seed + 1000)
    parts = [10.0 ** (s * np.log10(one) + 0.1 * rng.normal(size=one.shape)) for s in signs]
    both = xr.concat(parts, dim="channel").transpose("sample", "channel", "y", "x")
    both = both.assign_coords(channel=list(names), channel_units=("channel", ["Msun", "K"]))
    return both.rename("fields").assign_attrs(units="", long_name="fields")


def spectra(seed, samples=30, **attrs):
    wavelength = np.geomspace(8500, 24000, 80)
    values = np.random.default_rng(seed).normal(size=(samples, 3)) @ np.cos(np.outer([1, 2, 3], np.linspace(0, 3, 80)))
    values = 10 + values + 0.1 * np.random.default_rng(seed + 50).normal(size=values.shape)
    axis = {"units": "Angstrom", "medium": "vacuum", "boundary": "reflect"}
    coords = {"wavelength": ("wavelength", wavelength, axis)}
    labels = {"units": "", "long_name": "flux over its median", **attrs}
    return xr.DataArray(values, dims=("sample", "wavelength"), coords=coords, name="flux", attrs=labels)


def rows(comparison, name):
    return [row for row in comparison.scores["statistics"] if row["name"] == name]


def test_unknown_diagnostics_list_the_known_ones():
    fields = ("power_correlation", "slope", "structure_function", "delta_variance", "minkowski", "bispectrum")
    fields += ("scattering", "response", "recovery")
    assert (*fields, "colors", "continuum", "lines", "redshift", "features") == DIAGNOSTICS
    with pytest.raises(ValueError, match=f"unknown diagnostic 'slop'; known are {', '.join(DIAGNOSTICS)}$"):
        compare(maps(1), maps(2), diagnostics=["slop"])
    with pytest.raises(
        ValueError, match=f"'colors' is not for fields on even grids; of these there are {', '.join(fields)}$"
    ):
        compare(maps(1), maps(2), diagnostics=["colors"])
    with pytest.raises(ValueError, match="'slope' is not for spectra; of these there are colors"):
        compare(spectra(1), spectra(2), diagnostics=["slope"])


def test_what_data_cannot_be_measured_by_is_told_with_its_reason():
    # Wavelengths between the optical bands and J.
    optical = spectra(1).assign_coords(wavelength=("wavelength", np.linspace(9000, 10500, 80), {"units": "Angstrom"}))
    names, reasons = measurable(["colors"], optical)
    assert names == []
    assert reasons[0].startswith("colors: 'flux' has wavelengths from 9000 to 10500 Angstrom: they do not cover")
    assert measurable(["colors"], spectra(1)) == (["colors"], [])
    names, reasons = measurable(["slope", "structure_function"], maps(1).isel(x=slice(6), y=slice(6)))
    assert names == ["structure_function"]
    assert "at least 2 are needed for a slope" in reasons[0]
    with pytest.raises(ValueError, match="unknown diagnostic"):
        measurable(["colour"], optical)


def test_diagnostics_add_lines_and_leave_the_others_alone():
    real, generated = maps(1), maps(2)
    plain, more = compare(real, generated), compare(real, generated, diagnostics=["structure_function", "slope"])
    usual = plain.scores["statistics"]
    assert more.scores["statistics"][: len(usual)] == usual
    extra = [row["name"] for row in more.scores["statistics"][len(usual) :]]
    assert extra == ["structure_function", "power_slope", "log_power_slope"]


def test_a_wrong_slope_is_measured():
    real = maps(1, samples=60, n=48)
    k = np.hypot(np.fft.fftfreq(48)[:, None], np.fft.fftfreq(48)[None, :])
    steeper = np.fft.ifft2(
        np.fft.fft2(np.log10(maps(2, samples=60, n=48).values)) * np.maximum(k, 1 / 48) ** -0.25
    ).real
    generated = real.copy(data=10**steeper)
    (found,) = rows(compare(real, generated, diagnostics=["slope"]), "log_power_slope")
    assert found["generated"] - found["real"] == pytest.approx(-0.5, abs=0.07)
    assert found["score"] > 2 * found["floor"]["p95"]
    assert found["k_min"] == pytest.approx(3 * 2 * np.pi / 24)
    assert found["k_max"] == pytest.approx(0.5 * np.pi / 0.5)


def test_a_wrong_structure_function_is_measured():
    real, generated = maps(1, samples=60), maps(2, samples=60)
    wider = real.copy(data=10 ** (1.2 * np.log10(generated.values)))
    comparison = compare(real, wider, diagnostics=["structure_function"])
    (found,) = rows(comparison, "structure_function")
    assert found["all_samples"] == pytest.approx(0.44, abs=0.15)
    assert found["score"] > found["floor"]["p95"]
    curves = comparison.results["structure_function"]
    np.testing.assert_allclose(curves["ratio"], curves["generated"] / curves["real"])
    assert curves["real"].attrs["units"] == "dex^2"


def test_open_fields_are_apodized_and_periodic_ones_are_not():
    real, generated = maps(1), maps(2)
    opened = [
        f.assign_coords({d: f[d].assign_attrs(boundary="reflect") for d in ("y", "x")}) for f in (real, generated)
    ]
    periodic, open_ = compare(real, generated), compare(*opened)
    assert not np.allclose(open_.spectra["power_real"], periodic.spectra["power_real"], rtol=1e-3)
    np.testing.assert_array_equal(open_.spectra.k, periodic.spectra.k)
    # white noise keeps its power under the window
    noise = [f.copy(data=np.random.default_rng(s).normal(size=f.shape)) for s, f in enumerate(opened)]
    np.testing.assert_allclose(compare(*noise).spectra["power_real"][2:], 0.25, rtol=0.25)


def test_on_the_sky_the_upper_axis_tells_the_multipole():
    comparison = compare(maps(1, units="deg", boundary="reflect"), maps(2, units="deg", boundary="reflect"))
    axes = plot.plot_power(comparison)
    assert axes[1, 0].get_xlabel() == "k [rad/deg]"
    (above,) = axes[0, 0].child_axes
    assert above.get_xlabel() == "multipole ℓ"
    axes[0, 0].figure.draw_without_rendering()
    ratio = np.array(above.get_xlim()) / np.array(axes[0, 0].get_xlim())
    np.testing.assert_allclose(ratio, 180 / np.pi)
    assert not plot.plot_power(compare(maps(1), maps(2)))[0, 0].child_axes


def test_slopes_are_drawn_over_the_spectra():
    comparison = compare(maps(1), maps(2), diagnostics=["slope"])
    top = plot.plot_power(comparison)[0, 1]
    texts = [text.get_text() for legend in top.findobj(Legend) for text in legend.get_texts()]
    (found,) = rows(comparison, "log_power_slope")
    assert texts == [f"slope {found[which]:.2f}, {which} (×2)" for which in ("real", "generated")]


@pytest.mark.parametrize(
    ("real", "generated", "expected"),
    [
        ({}, {}, "noise: not stated"),
        ({"noise": "noise-free"}, {"noise": "noise-free"}, "noise: noise-free"),
        ({"noise": "noisy"}, {"noise": "noise-free"}, "noise: real noisy; generated noise-free"),
        ({"noise": "noisy"}, {}, "noise: real noisy; generated not stated"),
    ],
)
def test_table_and_figures_say_of_which_spectra_they_speak(real, generated, expected):
    comparison = compare(spectra(1, **real), spectra(2, **generated), splits=10)
    assert comparison.scores["noise"] == expected
    assert expected in str(comparison).splitlines()
    assert expected in plot.plot_spectrum(comparison)[0].get_title()
    assert expected in plot.plot_correlation(comparison)[0].figure.get_suptitle()
    assert comparison.table.meta["noise"] == expected


def test_fields_without_a_word_on_noise_have_no_line_of_it():
    comparison = compare(maps(1), maps(2), splits=5)
    assert comparison.scores["noise"] is None
    assert "noise" not in str(comparison)


DRAWN_OF_SPECTRA = ("scorecard", "fields", "spectrum", "correlation", "colors")


def test_spectra_write_their_own_files(tmp_path):
    comparison = compare(spectra(1), spectra(2), splits=10, diagnostics=["colors"])
    comparison.write(tmp_path)
    drawn = {f"{name}.{end}" for name in DRAWN_OF_SPECTRA for end in ("png", "pdf")}
    names = {"index.html", "scores.json", "scores.ecsv", "spectrum.ecsv", *drawn}
    assert {path.name for path in tmp_path.iterdir()} == names == set(comparison.files) <= set(FILES)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores == comparison.scores
    assert set(scores["files"]) == names
    assert scores["grid"] == {
        "dims": {"wavelength": 80}, "range": pytest.approx([8500, 24000]), "units": "Angstrom", "k_units": "",
    }  # fmt: skip
    table = QTable.read(tmp_path / "spectrum.ecsv")
    assert u.Quantity(table["wavelength"]).unit == u.Angstrom
    np.testing.assert_allclose(table["real"], comparison.results["spectrum"]["real"])
    assert "k [" not in str(comparison)


@pytest.mark.usefixtures("bare_figures")
def test_equal_spectra_have_a_covariance_of_zero_and_no_correlation():
    """Rounding may make a variance of equal samples negative; coefficients of nothing must not pass as equal ones."""
    real = spectra(1)
    comparison = compare(real, real.copy(data=real.values[:1] + 0 * real.values))
    lines = {line["name"]: line for line in comparison.scores["statistics"]}
    assert lines["covariance"]["generated"] == pytest.approx(0, abs=1e-6)
    assert (lines["correlation"]["score"], lines["correlation"]["level"]) == (None, None)
    assert lines["variance"]["level"] == "bronze"


def test_what_an_earlier_comparison_measured_does_not_stay_behind(tmp_path):
    compare(maps(1), maps(2), splits=5, diagnostics=["structure_function"]).write(tmp_path)
    (tmp_path / "notes.png").write_text("mine")
    assert (tmp_path / "structure_function.png").is_file()
    other = compare(spectra(1), spectra(2), splits=5)
    with pytest.raises(
        FileExistsError, match=r"holds index\.html, scores\.json, scores\.ecsv, power\.ecsv, structure_function\.ecsv"
    ):
        other.write(tmp_path)
    other.write(tmp_path, overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {*other.files, "notes.png"}


def test_scores_of_others_name_no_files_of_ours(tmp_path):
    assert written_files(tmp_path / "nowhere") == []
    (tmp_path / "loss.png").write_text("mine")
    (tmp_path.parent / "outside.txt").write_text("mine")
    for text in ("mine", "[]", '{"files": 3}', '{"files": ["../outside.txt", "/etc/hostname", 5]}'):
        (tmp_path / "scores.json").write_text(text)
        assert written_files(tmp_path) == ["scores.json"]


OF_A_CHANNEL = ("fields", "power", "pdf", "peaks")


def measured(row):
    """A line without what depends on all other lines: the limits are calibrated over all channels at once."""
    floor = {key: row["floor"][key] for key in ("median", "p95", "own")}
    return {key: each for key, each in row.items() if key not in ("level", "differs", "resolved")} | {"floor": floor}


@pytest.mark.usefixtures("bare_figures")
def test_channels_are_compared_each_by_itself_and_pair_by_pair(tmp_path):
    real, generated = channels(1), channels(2)
    comparison = compare(real, generated, splits=20, diagnostics=["slope"])
    names = ["gas density", "T"]
    assert list(comparison.channels) == names
    for i, (name, units) in enumerate(zip(names, ("Msun", "K"))):
        ours, theirs = (f.isel(channel=i, drop=True).assign_attrs(units=units) for f in (real, generated))
        alone = compare(ours, theirs, splits=20, diagnostics=["slope"]).scores["statistics"]
        own = [row for row in comparison.scores["statistics"] if row["channel"] == name]
        assert [measured(row) for row in own] == [{"channel": name, **measured(row)} for row in alone]
        assert comparison.channels[name].scores["units"] == units
        assert comparison.channels[name].scores["field"] == name
    assert comparison.table["channel"][0] == "gas density"
    (pair,) = rows(comparison, "coherence")
    assert pair["channel"] == "gas density × T"
    assert pair["real"] < -0.9
    assert "gas density: P(k) of log10" in str(comparison)
    comparison.write(tmp_path)
    whole = {"index.html", "scores.json", "scores.ecsv"}
    drawn = ("scorecard", "coherence", *(f"{stem}_{name}" for stem in OF_A_CHANNEL for name in ("gas_density", "T")))
    pictures = {f"{name}.{end}" for name in drawn for end in ("png", "pdf")}
    tables = {f"{stem}_{name}.ecsv" for stem in ("power", "peaks") for name in ("gas_density", "T")}
    assert {path.name for path in tmp_path.iterdir()} == whole | pictures | tables == set(comparison.files)
    with pytest.raises(FileExistsError, match=r"power_gas_density\.png"):
        comparison.write(tmp_path)
    compare(maps(1), maps(2), splits=5).write(tmp_path, overwrite=True)
    assert not list(tmp_path.glob("*gas_density*"))


def test_a_lost_bond_between_channels_is_seen_by_their_coherence_alone():
    real, generated = channels(1), channels(2)
    generated[:, 1] = channels(3)[:, 1].values
    comparison = compare(real, generated, splits=20)
    (pair,) = rows(comparison, "coherence")
    assert pair["generated"] == pytest.approx(0, abs=0.15)
    assert pair["score"] > 10 * pair["floor"]["p95"]
    for row in rows(comparison, "log_power"):
        assert row["score"] < 2 * row["floor"]["p95"]
    axes = plot.plot_coherence(comparison)
    assert axes[0].get_title() == "gas density × T"
    np.testing.assert_allclose(axes[0].lines[1].get_ydata(), comparison.results["coherence"]["generated"][0])


def test_channels_are_paired_by_name():
    real, generated = channels(1), channels(2)
    swapped = generated.isel(channel=[1, 0])
    expected, found = (compare(real, each, splits=10).scores["statistics"] for each in (generated, swapped))
    assert found == expected
    with pytest.raises(
        ValueError, match=r"2 channels \(gas density, T\), the generated one 2 channels \(gas density, B\)"
    ):
        compare(real, generated.assign_coords(channel=["gas density", "B"]))
    with pytest.raises(ValueError, match=r"the real set has 2 channels .* the generated one 1 channel"):
        compare(real, generated.isel(channel=[0]))


def test_spectra_are_drawn_in_microns_without_bad_pixels():
    mask = np.zeros((30, 80), bool)
    mask[0, 10:14] = True
    real = spectra(1, noise="noisy").assign_coords(mask=(("sample", "wavelength"), mask))
    axes = plot.plot_fields(real, spectra(2, noise="noise-free"), columns=2)
    x, y = axes[0, 0].lines[0].get_data()
    np.testing.assert_allclose(x, real.wavelength / 1e4)
    np.testing.assert_array_equal(np.isnan(y), mask[0])
    assert axes[1, 0].get_xlabel() == "wavelength [µm]"
    assert axes[0, 0].get_yscale() == "linear"
    assert axes[0, 0].figure.get_suptitle() == "noise: real noisy; generated noise-free"
    found = plot.plot_spectrum(compare(real, spectra(2), splits=5))
    assert found[2].get_xlabel() == "wavelength [µm]"
    assert found[0].get_ylabel() == "flux over its median"
    short = real.assign_coords(wavelength=("wavelength", np.linspace(4000, 9000, 80), real.wavelength.attrs))
    assert plot.plot_fields(short, short)[1, 0].get_xlabel() == "wavelength [Å]"


def test_nearest_neighbors_are_drawn_as_shares():
    from sciffusion.statistics import nearest

    training, heldout = spectra(1), spectra(2)
    found = nearest(training.isel(sample=slice(5)), training, heldout)  # copies, at distance 0
    ax = plot.plot_nearest(found)
    assert ax.get_xscale() == "log"
    assert [line.get_label() for line in ax.lines] == ["held out, 30", "generated, 5"]
    assert np.all(ax.lines[1].get_xdata() == ax.get_xlim()[0])
    assert ax.lines[0].get_ydata()[-1] == 1


def test_no_module_hides_a_function_of_its_name():
    import importlib
    import pkgutil

    from sciffusion import statistics

    modules = {module.name for module in pkgutil.iter_modules(statistics.__path__)}
    assert not modules & set(statistics.__all__)
    for name in modules:
        importlib.import_module(f"sciffusion.statistics.{name}")
    assert all(callable(getattr(statistics, name)) for name in statistics.__all__)


def test_columns_stay_apart_however_bad_a_set_is():
    x = ("x", np.arange(32.0), {"units": "Mpc/h", "boundary": "periodic"})
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(2, 16, 32))
    real, awful = (
        xr.DataArray(v, dims=("sample", "x"), coords={"x": x}, name="f", attrs={"units": "K"})
        for v in (noise[0], 1e4 * noise[1])
    )
    lines = str(compare(real, awful)).splitlines()
    row = next(line for line in lines if line.startswith("P(k) of field, |ΔP|/P"))
    # a band of three words, six numbers, and the level
    assert len(words := row.split("|ΔP|/P")[1].split()) == 10
    assert words[-1] == "none"
