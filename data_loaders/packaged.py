"""The sets of fields that come with the package."""

from importlib.resources import files
from pathlib import Path

__all__ = ["packaged_data"]


def packaged_data(name: str) -> Path:
    """Return the file of the packaged set of this name, to be opened by `data_loaders.open_field`.

    Raises
    ------
    FileNotFoundError
        If there is none; the message names those that there are.

    Examples
    --------
    >>> packaged_data("cdm").name
    'cdm.h5'
    """
    folder = Path(str(files("data_loaders") / "data"))
    sets = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix in (".h5", ".fits")}
    if name not in sets:
        raise FileNotFoundError(f"no packaged set {name!r}; there is {', '.join(sets) or 'none'}")
    return sets[name]
