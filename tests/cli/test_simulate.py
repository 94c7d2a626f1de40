"""sciffusion-simulate: the labelled set, resuming, refusals."""

import json
import multiprocessing
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from data_loaders import main_variable, open_field
from data_loaders.simulate.cosmology import RHO_CRIT, Cosmology
from data_loaders.simulate.maps import surface_density
from data_loaders.simulate.nbody import ParticleMesh, simulate
from data_loaders.simulate.pieces import run
from data_loaders.simulate.suite import Suite, collect
from sciffusion.cli import simulate as command

SMALL = ["--particles", "16", "--mesh", "32", "--steps", "3", "--grid", "16", "--processes", "1"]
SUITE = Suite(num=2, fiducial=1, grid=16, numerics=ParticleMesh(particles=16, mesh=32, steps=3))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("set") / "cdm.h5"
    assert command.main(["--num", "2", "--fiducial", "1", "--out", str(path), *SMALL]) == 0
    return path


def test_the_file_holds_the_labelled_set(made):
    ds = open_field(made)
    field = main_variable(ds)
    assert field.name == "cdm"
    assert dict(ds.sizes) == {"sample": 45, "y": 16, "x": 16}
    assert field.attrs["units"] == "(Msun/h)/(Mpc/h)^2"
    assert ds.attrs["component"] == "total matter"
    assert "without baryonic physics" in ds.attrs["comment"]
    assert "16 %" in ds.attrs["comment"]
    assert ds.attrs["command"].startswith("sciffusion-simulate --num 2 --fiducial 1")
    assert json.loads(ds.attrs["settings"])["numerics"]["particles"] == 16
    for dim in ("y", "x"):
        assert ds[dim].attrs["units"] == "Mpc/h"
        assert ds[dim].attrs["boundary"] == "periodic"
        np.testing.assert_allclose(ds[dim], (np.arange(16) + 0.5) * 25 / 16)
    np.testing.assert_array_equal(ds["group"], np.repeat([0, 1, 2], 15))
    assert ds["group"].dtype == np.int64
    np.testing.assert_array_equal(ds["axis"], np.tile(np.repeat([0, 1, 2], 5), 3))
    np.testing.assert_array_equal(ds["slab"], np.tile(np.arange(5), 9))
    np.testing.assert_array_equal(ds["split"], [""] * 30 + ["test"] * 15)
    assert set(ds["Omega_m"].values[30:]) == {0.3}
    assert set(ds["sigma_8"].values[30:]) == {0.8}


def test_the_maps_are_those_of_the_simulations(made):
    ds = open_field(made)
    last = ds.isel(sample=slice(30, 45))
    end = simulate(Cosmology(), SUITE.numerics, int(last["seed"][0]))
    expected = surface_density(end, 0.3, grid=16).reshape(15, 16, 16)
    # Packed as uint16 of the logarithm, over some five decades.
    np.testing.assert_allclose(np.log10(last["cdm"].values), np.log10(expected), atol=5 / 131070)


def test_the_mean_is_that_of_the_cosmology(made):
    ds = open_field(made)
    by_map = ds["cdm"].mean(("y", "x")).values.reshape(-1, 5).mean(1)
    np.testing.assert_allclose(by_map, ds["Omega_m"].values[::5] * RHO_CRIT * 5.0, rtol=1e-3)


def test_resuming_gives_identical_data(tmp_path):
    whole = tmp_path / "whole"
    interrupted = tmp_path / "interrupted"
    assert sorted(run(SUITE, whole)) == [0, 1, 2]
    reference = collect(SUITE, whole, "test")
    list(run(SUITE, interrupted))
    (interrupted / "simulation_00001.npy").unlink()
    kept = (interrupted / "simulation_00000.npy").stat().st_mtime_ns
    assert sorted(run(SUITE, interrupted, resume=True)) == [0, 1, 2]
    assert (interrupted / "simulation_00000.npy").stat().st_mtime_ns == kept
    assert collect(SUITE, interrupted, "test").identical(reference)


def test_an_unfinished_run_is_neither_mixed_nor_lost(tmp_path, capsys):
    out = tmp_path / "cdm.h5"
    folder = tmp_path / "cdm.h5.parts"
    list(run(SUITE, folder))
    arguments = ["--num", "2", "--fiducial", "1", "--out", str(out), *SMALL]
    refuse(arguments, "go on with --resume", capsys)
    refuse([*arguments, "--resume", "--seed", "9"], "seed was 0 and is 9", capsys)
    assert command.main([*arguments, "--resume"]) == 0
    assert not folder.exists()
    assert "--resume" not in open_field(out).attrs["command"]


def refuse(arguments, message, capsys):
    assert command.main(arguments) == 1
    told = capsys.readouterr().err
    assert told.startswith("sciffusion-simulate: error: ")
    assert message in told


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--Omega_m", "0.5:0.1"], "LOW:HIGH"),
        (["--Omega_m", "high"], "LOW:HIGH"),
        (["--Omega_m", "0.0:0.5"], "Omega_m of a flat universe"),
        (["--num", "0"], "at least one"),
        (["--particles", "24", "--mesh", "32"], "multiple of particles"),
        (["--processes", "0"], "at least 1"),
    ],
)
def test_wrong_values_are_refused_in_words(wrong, message, tmp_path, capsys):
    refuse(["--out", str(tmp_path / "cdm.h5"), *SMALL, *wrong], message, capsys)
    assert not list(tmp_path.iterdir())


def test_a_suffix_that_cannot_be_written_is_refused_before_any_simulation(tmp_path, capsys):
    refuse(["--out", str(tmp_path / "cdm.txt"), *SMALL], ".h5", capsys)
    refuse(["--out", str(tmp_path / "cdm.npy"), *SMALL], ".npy knows no packing; write .h5", capsys)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(made, capsys):
    before = made.read_bytes()
    refuse(["--num", "1", "--out", str(made), *SMALL], "--overwrite", capsys)
    assert made.read_bytes() == before


def test_unknown_flags_are_errors(tmp_path, capsys):
    for wrong, word in (["--nuum", "3"], "nuum"), (["--field", "gas"], "cdm"):
        with pytest.raises(SystemExit) as exit_:
            command.main(["--out", str(tmp_path / "cdm.h5"), *wrong])
        assert exit_.value.code == 2
        assert word in capsys.readouterr().err


def test_the_hypercube_has_one_simulation_in_every_row_and_column():
    suite = Suite(num=20, Omega_m=(0.1, 0.5), sigma_8=(0.6, 1.0))
    drawn = np.array([(c.Omega_m, c.sigma_8) for c in suite.cosmologies()])
    cells = ((drawn - [0.1, 0.6]) / 0.4 * 20).astype(int)
    for column in cells.T:
        np.testing.assert_array_equal(np.sort(column), np.arange(20))
    assert len(set(suite.seeds())) == 20
    assert not set(suite.seeds()) & set(Suite(num=20, seed=1).seeds())


def test_a_single_value_fixes_a_parameter():
    suite = Suite(num=3, Omega_m=command.value_range("0.3"))
    assert {c.Omega_m for c in suite.cosmologies()} == {0.3}


MANY = Suite(num=40, grid=16, numerics=ParticleMesh(particles=16, mesh=32, steps=3))


def test_the_processes_end_with_the_iterator(tmp_path):
    numbers = run(MANY, tmp_path / "parts", processes=2)
    next(numbers)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    numbers.close()
    assert not any(worker.is_alive() for worker in workers)
    assert 1 <= len(list((tmp_path / "parts").glob("simulation_*.npy"))) < 40


def test_a_killed_process_is_an_error_with_advice(tmp_path):
    numbers = run(MANY, tmp_path / "parts")
    next(numbers)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(ChildProcessError, match=r"parts: go on with --resume, and with fewer --processes \(now 1\)"):
        list(numbers)
    assert sorted(run(MANY, tmp_path / "parts", resume=True)) == list(range(40))


COMMAND = [sys.executable, "-c", "import sys; from sciffusion.cli.simulate import main; sys.exit(main())"]
LONG = [*COMMAND, "--num", "6", "--particles", "32", "--mesh", "64", "--steps", "40", "--grid", "16", "--out", "cdm.h5"]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    subprocess.run([*LONG, "--processes", "2"], cwd=folder, check=True, capture_output=True)
    return folder / "cdm.h5"


def alive(pids):
    listed = subprocess.run(["ps", "-A", "-o", "pid=,stat="], capture_output=True, text=True, check=True).stdout
    states = dict(line.split()[:2] for line in listed.splitlines())
    return [pid for pid in pids if not states.get(pid, "Z").startswith("Z")]


def children(pid):
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.split()[1] == str(pid)]


def wait_until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of Unix")
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_interruption_leaves_no_process_and_resuming_gives_the_same_file(uninterrupted, tmp_path, by):
    started = subprocess.Popen([*LONG, "--processes", "2"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: list((tmp_path / "cdm.h5.parts").glob("simulation_*.npy")))
    workers = children(started.pid)
    assert len(workers) >= 2
    started.send_signal(by)
    told = started.communicate(timeout=30)[1]
    wait_until(lambda: not alive(workers), seconds=10)
    assert not (tmp_path / "cdm.h5").exists()
    if by != signal.SIGKILL:
        assert started.returncode == 130
        advice = "Stopped. The finished simulations are kept; go on with: sciffusion-simulate --num 6"
        assert advice in told
        assert "Traceback" not in told
    subprocess.run([*LONG, "--processes", "2", "--resume"], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "cdm.h5").read_bytes() == uninterrupted.read_bytes()
    assert not (tmp_path / "cdm.h5.parts").exists()


def test_help_is_quick_and_needs_no_torch():
    code = (
        "import sys\nfrom sciffusion.cli.simulate import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\nassert not {'torch', 'xarray', 'h5py'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--Omega_m" in done.stdout


GALAXIES = ["--field", "galaxy_spectra", "--num", "3", "--size", "8", "--processes", "1"]


def test_galaxies_have_flags_of_their_own(tmp_path):
    out = tmp_path / "galaxies.h5"
    words = [*GALAXIES, "--test", "1", "--redshift", "0.06:0.07", "--noise_free", "true", "--image_noise", "false"]
    assert command.main([*words, "--out", str(out)]) == 0
    ds = open_field(out)
    assert main_variable(ds).name == "flux"
    assert dict(ds.sizes) == {"sample": 3, "wavelength": 3598, "band": 5, "y": 8, "x": 8}
    assert ds["split"].values.tolist() == ["test", "train", "train"]
    assert ((ds["redshift"] > 0.06) & (ds["redshift"] < 0.07)).all()
    assert "flux_true" in ds
    assert ds.attrs["command"].startswith("sciffusion-simulate --field galaxy_spectra --num 3")
    assert [path.name for path in tmp_path.iterdir()] == ["galaxies.h5"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--redshift", "0.1:0.4"], "within 0.02 and 0.17"),
        (["--redshift", "far"], "LOW:HIGH"),
        (["--test", "4"], "of the 3 galaxies"),
        (["--size", "9"], "even number"),
        (["--processes", "0"], "at least 1"),
    ],
)
def test_galaxies_without_meaning_are_refused_in_words(wrong, message, tmp_path, capsys):
    refuse([*GALAXIES, "--out", str(tmp_path / "galaxies.h5"), *wrong], message, capsys)
    assert not list(tmp_path.iterdir())


def test_galaxies_overwrite_nothing_without_being_told(tmp_path, capsys):
    out = tmp_path / "galaxies.h5"
    out.write_bytes(b"mine")
    refuse([*GALAXIES, "--out", str(out)], "--overwrite", capsys)
    assert out.read_bytes() == b"mine"
    assert command.main([*GALAXIES, "--out", str(out), "--overwrite"]) == 0
    assert open_field(out).sizes["sample"] == 3


def test_an_unknown_field_and_flags_of_another_are_refused(tmp_path, capsys):
    for words in (["--field", "stars"], ["--field", "galaxy_spectra", "--fiducial", "3"], ["--noise_free", "true"]):
        with pytest.raises(SystemExit):
            command.main([*words, "--out", str(tmp_path / "made.h5")])
    assert "choose from 'cdm', 'galaxy_spectra'" in capsys.readouterr().err
