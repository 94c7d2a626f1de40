"""Ctrl-C and SIGTERM: a training step ends and its state is saved first; any other part of a run ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Interrupted", "Stopping"]


class Interrupted(KeyboardInterrupt):
    """The run was stopped by a signal, after its state was saved."""


class Stopping:
    """Watch for SIGINT and SIGTERM.

    Parameters
    ----------
    advice : str
        How to go on, for the message.

    Attributes
    ----------
    asked : bool
        A signal came.
    """

    def __init__(self, advice: str) -> None:
        self.advice, self.asked, self._polled = advice, False, False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Handle the signals inside; what was in force before is put back."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread alone
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def polled(self) -> Iterator[None]:
        """Only note a signal inside, for the caller to look at `asked` and save first."""
        self._polled = True
        try:
            yield
        finally:
            self._polled = False

    def interrupted(self, when: str) -> Interrupted:
        """Return what to raise once the state is saved."""
        return Interrupted(f"stopped {when}; go on with\n  {self.advice}")

    def _handle(self, number: int, frame: Any) -> None:
        self.asked = True
        if not self._polled:
            raise self.interrupted("outside of training, with its state saved")
