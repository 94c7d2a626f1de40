"""Fields of CAMELS: a preset each, several as channels, maps and grids; runs that take seconds."""

import json

import numpy as np
import pytest

import sciffusion
from sciffusion.cli import info, sample, train, validate
from sciffusion.cli.train import parse
from sciffusion.field import field_names, get_field
from sciffusion.fields import cosmology
from sciffusion.transform import chain

TINY = ["--network.channels", "[8, 8]", "--network.blocks", "1", "--network.attention_levels", "0",
        "--training.samples", "64", "--training.evaluations", "0", "--training.heldout", "4",
        "--training.warmup", "16", "--training.precision", "fp32", "--sampling.steps", "2",
        "--split.test", "0.4", "--split.validation", "0.1"]  # fmt: skip
SIMULATIONS = 10


@pytest.fixture
def release(tmp_path):
    """Write maps or grids as the release has them; fields of one set share their seed and so their structure."""
    rng = np.random.default_rng(5)
    np.savetxt(tmp_path / "params_CV_IllustrisTNG.txt", rng.uniform(0.1, 0.9, (SIMULATIONS, 6)))

    def write(prefix, shape=(16, 16), a_simulation=2, zeros=0.0):
        kind, tail = ("Grids", f"_{shape[0]}") if len(shape) == 3 else ("Maps", "")
        rng = np.random.default_rng(len(prefix))
        values = 10 ** rng.normal(11, 0.5, (SIMULATIONS * a_simulation, *shape))
        values[rng.random(values.shape) < zeros] = 0
        path = tmp_path / f"{kind}_{prefix}_IllustrisTNG_CV{tail}_z=0.00.npy"
        np.save(path, values.astype(np.float32))
        return str(path)

    return write


@pytest.mark.parametrize(("prefix", "name"), [(prefix, name) for prefix, (name, _) in cosmology.CAMELS.items()])
def test_every_field_is_known_and_reads_its_files(release, prefix, name):
    assert name in field_names()
    kind = get_field(name)
    assert kind.name == name
    field = kind.read([release(prefix, zeros=0.2 if prefix == "Mstar" else 0.0)])
    assert (field.name, field.dims) == (prefix, ("sample", "y", "x"))
    seen = chain(kind.transform).fit(field)(field)
    assert float(seen.std()) == pytest.approx(1)
    assert {"Omega_m", "A_AGN2", "group"} <= set(field.coords)
    assert parse(["--field", name]).diffusion.noise_levels == "normal"


@pytest.mark.parametrize("name", ["gas_temperature", "stellar_mass", "camels"])
def test_without_a_file_it_says_which(name, capsys):
    assert train.main(["--field", name, "--dry_run"]) == 1
    message = capsys.readouterr().err
    assert f"the field '{name}' has no data of its own" in message
    assert "--data Maps_" in message
    assert "CAMELS" in message


def test_the_wrong_file_and_several_are_refused_in_words(release):
    gas, temperature = release("Mgas"), release("T")
    with pytest.raises(ValueError, match=r"holds 'Mgas': --field gas_density; 'gas_temperature' is 'T'"):
        get_field("gas_temperature").read([gas])
    with pytest.raises(ValueError, match=r"several fields \(Mgas, T\) at once: --field camels; 'gas_density' is one"):
        get_field("gas_density").read([gas, temperature])


@pytest.mark.usefixtures("bare_figures")
def test_several_fields_as_channels_from_files_to_samples(release, tmp_path, capsys):
    files = [release("Mcdm"), release("Mstar", zeros=0.3), release("T")]
    out = tmp_path / "run"
    assert train.main(["--field", "camels", "--data", *files, "--out", str(out), *TINY]) == 0
    drawn = sciffusion.main_variable(sciffusion.open_field(out / "samples.h5"))
    assert drawn.dims == ("sample", "channel", "y", "x")
    assert drawn.channel.values.tolist() == ["Mcdm", "Mstar", "T"]
    assert drawn.channel_units.values.tolist() == ["(Msun/h)/(Mpc/h)^2", "(Msun/h)/(Mpc/h)^2", "K"]
    assert drawn.attrs["units"] == ""
    assert bool((drawn.sel(channel=["Mcdm", "T"]) > 0).all())
    assert float(drawn.sel(channel="Mstar").min()) > -1.01e7
    header = sciffusion.load(out, "cpu").header
    steps = header["transform"]["parts"][0]
    assert steps["channels"] == ["Mcdm", "Mstar", "T"]
    assert [part["parts"][0]["name"] for part in steps["parts"]] == ["boxcox", "log10_offset", "log10"]
    scores = json.loads((out / "scores.json").read_text())
    assert list(scores["channels"]) == ["Mcdm", "Mstar", "T"]
    assert {row["channel"] for row in scores["statistics"]} >= {"Mcdm", "Mstar", "T"}
    # The commands after it: more samples, and the comparison of two files.
    assert sample.main([str(out), "--num", "8", "--out", str(tmp_path / "more.h5"), "--steps", "2"]) == 0
    more = sciffusion.main_variable(sciffusion.open_field(tmp_path / "more.h5"))
    assert more.channel.values.tolist() == ["Mcdm", "Mstar", "T"]
    words = [str(tmp_path / "more.h5"), str(out / "samples.h5"), "--out", str(tmp_path / "compared"), "--splits", "5"]
    assert validate.main(words) == 0
    assert info.main([str(out)]) == 0
    assert "channel" in capsys.readouterr().out


@pytest.mark.usefixtures("bare_figures")
def test_one_channel_alone_and_a_transform_of_ones_own(release, tmp_path):
    out = tmp_path / "run"
    words = ["--field", "camels", "--data", release("T"), "--out", str(out), *TINY, "--transform", "T=asinh:1e11"]
    assert train.main([*words, "standardize"]) == 0
    drawn = sciffusion.main_variable(sciffusion.open_field(out / "samples.h5"))
    assert (drawn.dims, drawn.attrs["units"]) == (("sample", "y", "x"), "K")
    assert sciffusion.load(out, "cpu").header["transform"]["parts"][0]["channels"] == ["T"]


@pytest.mark.usefixtures("bare_figures")
def test_grids_in_three_dimensions_from_a_file_to_samples(release, tmp_path):
    path = release("Mtot", (16, 16, 16), a_simulation=1)
    out = tmp_path / "run"
    assert train.main(["--field", "total_matter", "--data", path, "--out", str(out), *TINY]) == 0
    drawn = sciffusion.main_variable(sciffusion.open_field(out / "samples.h5"))
    assert (drawn.dims, drawn.shape) == (("sample", "z", "y", "x"), (4, 16, 16, 16))
    assert drawn.attrs["units"] == "(Msun/h)/(Mpc/h)^3"
    assert float(drawn.x[-1] + drawn.x[0]) == pytest.approx(25)


@pytest.mark.usefixtures("bare_figures")
def test_samples_are_chosen_by_their_parameters_on_the_command_line(release, tmp_path, capsys):
    path = release("HI")
    values = get_field("neutral_hydrogen").read([path]).Omega_m.values
    low, high = np.quantile(values, [0.2, 1.0])
    chosen = ((values >= low) & (values <= high)).sum()
    words = ["--field", "neutral_hydrogen", "--data", path, "--out", str(tmp_path / "run"), "--dry_run", *TINY]
    assert train.main([*words, "--options.select.Omega_m", f"[{low}, {high}]"]) == 0
    counts = [int(word) for word in capsys.readouterr().out.split(":")[1].replace(",", "").split() if word.isdigit()][
        :3
    ]
    assert sum(counts) == chosen < len(values)
    assert train.main([*words, "--options.size", "3"]) == 1
    assert "takes no option size" in capsys.readouterr().err
