"""Ctrl-C and SIGTERM, remembered until the work can be left in a state that continues."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from seedbed.errors import Interrupted


class StopSignal:
    """Remembers that Ctrl-C or SIGTERM came; the work stops at the next place where it can go on from later."""

    def __init__(self) -> None:
        self.name: str | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.name is not None:
            raise KeyboardInterrupt  # asked twice: stop where we stand
        self.name = signal.Signals(number).name

    def check(self) -> None:
        if self.name is not None:
            raise Interrupted(f"stopped by {self.name}: run the same command again to go on")

    @contextmanager
    def installed(self) -> Iterator[None]:
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
