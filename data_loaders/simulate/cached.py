"""Sets that are made on first use and kept."""

import os
from hashlib import sha256
from pathlib import Path

from data_loaders.simulate.galaxies import Galaxies, collect
from data_loaders.simulate.pieces import discard, finish

__all__ = ["DEFAULT", "cache_folder", "file_of", "simulated_galaxies"]

DEFAULT = Galaxies(num=14000, test=2400, validation=600)
"""The set of the field `galaxy_spectra` where no file is given."""


def cache_folder() -> Path:
    """Return where sets are kept that are made on first use.

    ``SCIFFUSION_CACHE`` if it is set, else ``sciffusion`` in ``XDG_CACHE_HOME`` or ``~/.cache``.
    """
    own = os.environ.get("SCIFFUSION_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sciffusion"


def file_of(settings: Galaxies) -> Path:
    """Return where the file of a set is, or will be: settings and version of the simulation are part of its name."""
    digest = sha256(settings.to_json().encode()).hexdigest()[:12]
    return cache_folder() / f"galaxies_{settings.num}_{digest}.h5"


def simulated_galaxies(settings: Galaxies = DEFAULT, processes: int | None = None) -> Path:
    """Return the file of a set of galaxies, made on first use and kept in `cache_folder`.

    A run that was stopped goes on where it ended; several at once do not disturb each other. As processes are started
    anew, a script calls this under ``if __name__ == "__main__":``.

    Parameters
    ----------
    settings : Galaxies
        The set; by default 14,000 galaxies, the first 2,400 for tests and the next 600 for validation.
    processes : int, optional
        How many work on it; as many as there are cores by default.

    Returns
    -------
    pathlib.Path
        To be opened by `data_loaders.open_field`.
    """
    from data_loaders.access import write_field

    path = file_of(settings)
    folder = path.with_suffix(".parts")
    if not path.exists():
        try:
            finish(settings, folder, processes or os.cpu_count() or 1, resume=True)
            write_field(collect(settings, folder, ""), path, overwrite=True)
        except FileNotFoundError:
            # Another process that made the same set was faster, and has removed the pieces.
            if not path.exists():
                raise
    discard(folder)
    return path
