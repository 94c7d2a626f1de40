"""Labels as one JSON document, for formats that hold arrays and little else (npy, FITS).

``{"format_version", "attrs", "variables": {name: {"dims", "dtype", "coordinate", "attrs", ...}}}``. Where the
values of a variable are is said by the format: in the document under ``values``, or elsewhere in its files.
Numbers round-trip exactly; NaN and infinities are written as Python's json does.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from data_loaders.errors import DataError
from data_loaders.layout import FORMAT_VERSION, migrate, tidy


def describe(ds: xr.Dataset, store: Callable[[str, xr.DataArray], dict[str, Any]]) -> str:
    """Return the document for `ds`; `store` keeps the values of a variable and says where, as entries to add."""
    variables = {}
    for key in ds.variables:
        name, variable = str(key), ds[key]
        labels = {
            "dims": list(variable.dims),
            "dtype": variable.dtype.str,
            "coordinate": name in ds.coords,
            "attrs": variable.attrs,
        }
        variables[name] = labels | store(name, variable)
    return json.dumps({"format_version": FORMAT_VERSION, "attrs": ds.attrs, "variables": variables}, indent=1)


def assemble(document: str, fetch: Callable[[dict[str, Any]], xr.Variable], where: object) -> xr.Dataset:
    """Return the dataset that a document describes; `fetch` gives a variable that is not in the document.

    Raises
    ------
    DataError
        The document is damaged, or from a newer version.
    """
    try:
        described = json.loads(document)
        entries, version = described["variables"], described["format_version"]
        variables = {name: _variable(entry, fetch) for name, entry in entries.items()}
        coords = {name: variables.pop(name) for name, entry in entries.items() if entry["coordinate"]}
        ds = xr.Dataset(variables, coords, described["attrs"])
    except DataError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(where, f"the description of the labels is damaged: {error!r}; write the file anew") from error
    return tidy(migrate(ds, version, where))


def _variable(entry: dict[str, Any], fetch: Callable[[dict[str, Any]], xr.Variable]) -> xr.Variable:
    if "values" not in entry:
        return fetch(entry)
    values = np.array(entry["values"], dtype=np.dtype(entry["dtype"]))
    return xr.Variable(entry["dims"], values, entry["attrs"])


def inline(variable: xr.DataArray) -> dict[str, Any]:
    """Return the values as an entry of the document."""
    return {"values": variable.values.tolist()}
