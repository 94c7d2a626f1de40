"""The page of a comparison: whole in itself, readable in both color schemes, and in a real browser."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest
import xarray as xr

from sciffusion.validate import compare

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
]


def maps(seed, amplitude=0.3, samples=40, n=24):
    rng = np.random.default_rng(seed)
    k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.fftfreq(n)[None, :])
    smooth = np.fft.ifft2(np.fft.fft2(rng.normal(size=(samples, n, n))) / (0.1 + k)).real
    coords = {dim: (dim, np.arange(n) + 0.5, {"units": "Mpc/h", "boundary": "periodic"}) for dim in ("y", "x")}
    labels = {"units": "K", "long_name": "temperature <of> dust & gas"}
    return xr.DataArray(10 ** (amplitude * smooth), dims=("sample", "y", "x"), coords=coords, name="T", attrs=labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "out"
    compare(maps(1), maps(2, amplitude=0.36)).write(folder)
    return folder


@pytest.fixture(scope="module")
def text(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Checks that tags are closed in their order, and keeps names and addresses."""

    void = ("meta", "link", "br", "img", "hr")

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.addresses, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [value for key, value in attrs if key in ("src", "href", "xlink:href")]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.void:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    return reader


def test_the_page_is_whole_in_itself(text):
    reader = read(text)
    assert len(reader.ids) == len(set(reader.ids))
    inside = {f"#{name}" for name in reader.ids}
    outside = [each for each in reader.addresses if each not in inside and not each.startswith("data:")]
    assert not outside
    named = set(re.findall(r"url\(#([^)]+)\)", text))
    assert named <= set(reader.ids)
    assert "<script" not in text
    assert "@import" not in text


def test_it_says_verdict_and_findings_and_every_line(text):
    words = " ".join(read(text).words)
    assert "Below bronze" in words
    assert "too much power" in words
    comparison = compare(maps(1), maps(2, amplitude=0.36))
    for row in comparison.scores["statistics"]:
        assert row["label"] in words
    for sentence in comparison.findings:
        assert sentence in words
    assert "temperature <of> dust & gas" in words  # escaped in the source
    assert "temperature <of>" not in text
    assert "20 beside 20, 200 splits" in words


def test_figures_have_the_colors_of_the_page(text):
    drawn = re.findall(r"<figure.*?</figure>", text, re.DOTALL)
    assert len(drawn) >= 4
    for each in drawn:
        assert "currentColor" in each
        assert not re.search(r"(fill|stroke): ?#(000000|262626|ffffff)\b", each)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def browse(page, tmp_path, *flags):
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", [1, 0], ids=["light", "dark"])
def test_a_browser_shows_it_without_complaint(width, scheme, folder, tmp_path):
    picture = tmp_path / "page.png"
    settings = (f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={width},1600")
    told = browse(folder / "index.html", tmp_path, *settings, f"--screenshot={picture}").stderr
    assert "CONSOLE" not in told
    shown = matplotlib.image.imread(picture)[..., :3]
    assert shown.shape[:2] == (1600, width)
    background = shown[5, 5]
    assert (background.mean() > 0.9) == (scheme == 1)
    different = np.abs(shown - background).max(axis=2) > 0.2
    assert 0.02 < different.mean() < 0.6


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
def test_on_a_phone_nothing_is_wider_than_the_screen_and_errors_would_be_seen(folder, tmp_path, text):
    probe = "<script>document.title = [document.documentElement.scrollWidth, innerWidth]; nowhere();</script></body>"
    (tmp_path / "probe.html").write_text(text.replace("</body>", probe), encoding="utf-8")
    done = browse(tmp_path / "probe.html", tmp_path, "--window-size=500,900", "--dump-dom")
    width, inner = map(int, re.search(r"<title>(\d+),(\d+)</title>", done.stdout).groups())
    assert width <= inner
    assert "CONSOLE" in done.stderr  # the probe's own error: the test above would have seen one


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on this machine")
def test_it_prints(folder, tmp_path):
    printed = tmp_path / "page.pdf"
    browse(folder / "index.html", tmp_path, f"--print-to-pdf={printed}", "--no-pdf-header-footer")
    assert printed.read_bytes().startswith(b"%PDF")
    assert printed.stat().st_size > 50_000
