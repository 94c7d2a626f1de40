"""``sciffusion-validate`` as a user types it."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from data_loaders import write_field
from sciffusion.cli.validate import main


def maps(seed, samples=24, box=12.0):
    n = 16
    centers = (np.arange(n) + 0.5) * box / n
    coords: dict = {dim: (dim, centers, {"units": "Mpc/h", "boundary": "periodic"}) for dim in ("y", "x")}
    coords["group"] = ("sample", np.arange(samples) // 3)
    values = np.random.default_rng(seed).lognormal(size=(samples, n, n)).astype(np.float32)
    attrs = {"units": "(Msun/h)/(Mpc/h)^2", "long_name": "surface density"}
    return xr.DataArray(values, dims=("sample", "y", "x"), coords=coords, name="Mcdm", attrs=attrs)


USUAL = ("scorecard", "fields", "power", "pdf", "peaks")
WHOLE = ["index.html", "scores.json", "scores.ecsv"]
PLAIN = ["--splits", "20", "--diagnostics"]
"""Nothing besides the usual is measured."""


def pictures(names):
    return [f"{name}.{end}" for name in names for end in ("png", "pdf")]


@pytest.fixture
def files(tmp_path):
    paths = tmp_path / "real.h5", tmp_path / "generated.h5"
    for seed, path in enumerate(paths):
        write_field(maps(seed), path)
    return [str(path) for path in paths]


@pytest.mark.usefixtures("bare_figures")
def test_two_files_give_page_table_scores_and_figures(files, tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*files, "--out", str(out), *PLAIN]) == 0
    printed = capsys.readouterr().out
    expected = [*WHOLE, "power.ecsv", "peaks.ecsv", *pictures(USUAL)]
    scores = json.loads((out / "scores.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == sorted(expected) == sorted(scores["files"])
    assert printed.rstrip().endswith(f"{out}: {', '.join(scores['files'])}")
    assert "24 generated beside 24 real samples (8 groups); score and floor: 12 beside 12, 20 splits" in printed
    assert "P(k) of contrast, |ΔP|/P" in printed
    assert f"verdict: gold ({len(scores['statistics'])} gold; in " in printed
    assert scores["sizes"]["splits"] == 20
    assert scores["sources"] == {"real": files[0], "generated": files[1]}
    page = (out / "index.html").read_text(encoding="utf-8")
    assert all(path in page for path in files)


@pytest.mark.usefixtures("bare_figures")
def test_without_the_flag_everything_is_measured_and_the_costly_tests_can_be_left_out(files, tmp_path, capsys):
    names = {}
    for which, flags in (("all", []), ("quick", ["--quick"])):
        out = tmp_path / which
        assert main([*files, "--out", str(out), "--splits", "5", *flags]) == 0
        rows = json.loads((out / "scores.json").read_text())["statistics"]
        names[which] = [row["name"] for row in rows]
        assert any(row["p_value"] is not None for row in rows) == (which == "all")
        tables = {"power", "peaks", "structure_function", "delta_variance", "minkowski", "bispectrum", "scattering"}
        assert {path.stem for path in out.glob("*.ecsv")} == tables | {"scores"}
    assert set(names["all"]) - set(names["quick"]) == {"classifier_scattering"}
    assert {"minkowski_V1", "power_slope", "energy_scattering", "bispectrum_squeezed"} <= set(names["quick"])


@pytest.mark.usefixtures("bare_figures")
def test_an_earlier_comparison_is_not_replaced_unasked(files, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "scores.json").write_text("mine")
    (out / "notes.txt").write_text("mine")
    assert main([*files, "--out", str(out), *PLAIN]) == 1
    assert "holds scores.json: give another folder, or overwrite=True (--overwrite)" in capsys.readouterr().err
    assert (out / "scores.json").read_text() == "mine"
    assert main([*files, "--out", str(out), "--overwrite", *PLAIN]) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert json.loads((out / "scores.json").read_text())["format_version"] == 2


@pytest.mark.usefixtures("bare_figures")
def test_bare_arrays_need_labels_and_may_stand_beside_a_labelled_file(files, tmp_path, capsys):
    bare = tmp_path / "bare.npy"
    np.save(bare, maps(5).values)
    out = ["--out", str(tmp_path / "out"), *PLAIN]
    assert main([files[0], str(bare), *out]) == 1
    assert "bare.npy" in (told := capsys.readouterr().err)
    assert "--box_size" in told
    labels = ["--box_size", "12", "--units", "(Msun/h)/(Mpc/h)^2", "--boundary", "periodic"]
    assert main([files[0], str(bare), *out, *labels]) == 0


@pytest.mark.usefixtures("bare_figures")
def test_num_takes_samples_from_all_over_the_file(files, tmp_path, capsys):
    assert main([*files, "--out", str(tmp_path / "out"), "--num", "8", *PLAIN]) == 0
    assert "8 generated beside 8 real samples (8 groups)" in capsys.readouterr().out


@pytest.mark.parametrize("bad", ["missing", "grid", "num", "not finite"])
def test_bad_input_is_one_line_that_names_the_file(bad, files, tmp_path, capsys):
    options = []
    if bad == "missing":
        files[1] = str(tmp_path / "nowhere.h5")
    if bad == "grid":
        write_field(maps(1, box=25.0), files[1], overwrite=True)
    if bad == "num":
        options = ["--num", "3"]
    if bad == "not finite":
        broken = maps(1)
        broken.values[5, 2, 2] = np.nan
        write_field(broken, files[1], overwrite=True)
    assert main([*files, "--out", str(tmp_path / "out"), *options]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("sciffusion-validate: error: ")
    expected = {
        "missing": "nowhere.h5: no such file",
        "grid": "the generated ones of",
        "num": "--num 3: at least 4 samples are needed",
        "not finite": "sample 5 of 'generated Mcdm' has 1 values that are not finite",
    }
    assert expected[bad] in told
    assert bad == "num" or "h5" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("bare_figures")
def test_diagnostics_are_words_and_an_unknown_one_lists_the_known(files, tmp_path, capsys):
    out = tmp_path / "out"
    command = [*files, "--out", str(out), "--splits", "5", "--diagnostics"]
    assert main([*command, "slope", "structures"]) == 1
    told = capsys.readouterr().err
    assert "unknown diagnostic 'structures'; known are power_correlation, slope, structure_function, " in told
    assert not out.exists()
    assert main([*command, "slope", "structure_function"]) == 0
    printed = capsys.readouterr().out
    assert "slope of P(k) of log10, difference" in printed
    assert (out / "structure_function.png").is_file()
    assert json.loads((out / "scores.json").read_text())["files"] == printed.strip().rsplit(": ", 1)[1].split(", ")


def test_an_unknown_flag_is_refused(files, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*files, "--out", "x", "--boxsize", "3"])
    assert stopped.value.code == 2
    assert "boxsize" in capsys.readouterr().err


def test_help_is_quick_and_names_every_setting():
    code = (
        "import sys\n"
        "from sciffusion.cli.validate import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n"
        "    heavy = {'torch', 'matplotlib', 'xarray', 'astropy', 'scipy'} & set(sys.modules)\n"
        "    assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    for flag in (
        "--out",
        "--num",
        "--log",
        "--group",
        "--dataset",
        "--box_size",
        "--units",
        "--boundary",
        "--diagnostics",
        "--overwrite",
        "--train",
        "--train_options",
        "--require",
        "--quick",
        "--symmetries",
    ):
        assert flag in done.stdout
    assert "3 below what --require asks for" in " ".join(done.stdout.split())


@pytest.mark.usefixtures("bare_figures")
def test_options_of_the_readers_of_both_files(files, tmp_path, capsys):
    np.save(tmp_path / "bare.npy", maps(2).values)
    out = tmp_path / "out"
    words = [
        files[0],
        str(tmp_path / "bare.npy"),
        "--out",
        str(out),
        *PLAIN,
        "--options.group",
        "[0, 1, 2, 3]",
    ]
    labels = ["--generated_options.box_size", "12", "--generated_options.boundary", "periodic"]
    units = ["--generated_options.units", "(Msun/h)/(Mpc/h)^2"]
    assert main([*words, *labels, *units]) == 0
    assert "24 generated beside 12 real samples (4 groups)" in capsys.readouterr().out
    assert main([*words, *labels, *units, "--units", "K", "--overwrite"]) == 1
    assert "the file says units = '(Msun/h)/(Mpc/h)^2', given was 'K'" in capsys.readouterr().err
    assert (
        main([files[0], files[1], "--out", str(out), "--box_size", "12", "--options.box_size", "12", "--overwrite"])
        == 1
    )
    assert "--box_size and --options.box_size are both given" in capsys.readouterr().err
