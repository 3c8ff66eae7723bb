"""Fetching ahead: which shards the coming steps read can be computed, so a thread fetches them before they are asked for."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

STEPS_AHEAD = 256
FETCHERS = 4


class Prefetcher:
    """Fetches what rows [start, stop) of the next steps read, within `room` bytes of shards that are needed at a time.

    A fetch that fails is left alone: the step that needs the shard meets the error too, and says so. `tell` is told once when
    it cannot be known any longer what the next steps read; then each shard is fetched when training asks for it.
    """

    def __init__(
        self,
        shards_of: Callable[[int, int, int], set[int]],
        fetch: Callable[[int], object],
        size_of: Callable[[int], int],
        room: int,
        tell: Callable[[str], None],
    ) -> None:
        self._shards_of, self._fetch, self._size_of, self._room, self._tell = shards_of, fetch, size_of, room, tell
        self._changed = threading.Condition()
        self._step, self._start, self._stop = -1, 0, 0
        self._thread: threading.Thread | None = None

    def at(self, step: int, start: int, stop: int) -> None:
        """Training reads these rows of `step` now."""
        with self._changed:
            if self._step < 0:
                self._start, self._stop = start, stop
            self._step = step
            self._start, self._stop = min(self._start, start), max(self._stop, stop)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        walked = -1  # the last step whose shards were asked for
        last_use: dict[int, int] = {}  # shard -> the last of these steps that reads it
        asked: dict[int, Future[object]] = {}
        with ThreadPoolExecutor(FETCHERS, thread_name_prefix="prefetch") as pool:
            while True:
                with self._changed:
                    while self._step + STEPS_AHEAD <= walked or self._held(last_use) > self._room:
                        self._changed.wait()
                    step, start, stop = max(walked, self._step) + 1, self._start, self._stop
                try:
                    shards = sorted(self._shards_of(step, start, stop))
                except Exception as error:
                    found = f"{type(error).__name__}: {error}"
                    self._tell(f"shards are no longer fetched ahead of step {step} ({found}): training waits for each")
                    return
                try:
                    for shard in shards:
                        last_use[shard] = step
                        if shard not in asked or asked[shard].done():
                            asked[shard] = pool.submit(self._fetch, shard)
                except RuntimeError:
                    return  # the process is ending: nothing is submitted any more
                for shard in shards:
                    asked[shard].exception()  # waits: what is needed first is fetched first
                walked = step

    def _held(self, last_use: dict[int, int]) -> int:
        """Bytes of the shards that this step or one already asked for reads."""
        return sum(self._size_of(shard) for shard, step in last_use.items() if step >= self._step)
