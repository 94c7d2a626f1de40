"""The one error of the readers: it names the file, what was expected, what came and what to do."""


class DataError(ValueError):
    """A file or a field that cannot be read or written as it is.

    Parameters
    ----------
    where : path-like or str
        The file (or the field, before it is in a file) at fault: the message starts with it.
    message : str
        What was expected, what came and what to do.

    Examples
    --------
    >>> print(DataError("maps.npy", "expected numbers, found text; store the maps as float32"))
    maps.npy: expected numbers, found text; store the maps as float32
    """

    def __init__(self, where, message: str):
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message

    def __reduce__(self):
        # An exception is otherwise rebuilt from its one formatted string, which fails in worker processes.
        return type(self), (self.where, self.message)
