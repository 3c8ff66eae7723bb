"""Where a text can hold a number or a key at all: found on its code points as an array, some fifty times faster than by pattern.

Every finder asks here first and puts its pattern to these places alone. A place that a pattern would accept is never
left out (a test holds both ways against each other).
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from seedbed.corpus.words import places_of

Mask = NDArray[np.bool_]
Places = list[tuple[int, int]]


class Characters:
    def __init__(self, text: str) -> None:
        self.text = text
        if text.isascii():
            self.codes: NDArray[np.unsignedinteger] = np.frombuffer(text.encode(), np.uint8)
        else:
            self.codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)

    def between(self, low: str, high: str) -> Mask:
        """Whether each character lies between two, both included. Unsigned: what lies below wraps round to far above."""
        return self.codes - self.codes.dtype.type(ord(low)) <= ord(high) - ord(low)

    @cached_property
    def digits(self) -> Mask:
        return self.between("0", "9")

    @cached_property
    def digit_runs(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
        """Runs of digits with at most three other characters between two: first [R], last [R], number of digits [R]."""
        return runs(places_of(self.digits), 4)

    def long_runs(self, num_digits: int) -> Places:
        """[start, end) of the runs with at least so many digits."""
        first, last, count = self.digit_runs
        keep = count >= num_digits
        return list(zip(first[keep].tolist(), (last[keep] + 1).tolist(), strict=True))

    @cached_property
    def dotted(self) -> Places:
        """Three or more full stops between digits, at most three digits apart: [first stop, last stop]."""
        stops = places_of(self.codes[1:-1] == ord(".")) + 1
        stops = stops[self.digits[stops - 1] & self.digits[stops + 1]]
        if len(stops) < 3:
            return []
        first, last, count = runs(stops, 4)
        return list(zip(first[count >= 3].tolist(), last[count >= 3].tolist(), strict=True))

    @cached_property
    def account_starts(self) -> list[int]:
        """Two capitals, then two digits."""
        pairs = self.digits[:-1] & self.digits[1:]
        starts = places_of(pairs[2:]) if len(pairs) > 2 else np.empty(0, np.intp)
        codes, low = self.codes, ord("A")
        for offset in (0, 1):
            starts = starts[(codes[starts + offset] >= low) & (codes[starts + offset] <= ord("Z"))]
        return starts.tolist()

    @cached_property
    def colons_after_four(self) -> list[int]:
        """A 2 or 3 whose fourth successor is a colon."""
        colons = places_of(self.codes == ord(":"))
        starts = colons[colons >= 4] - 4
        return starts[(self.codes[starts] == ord("2")) | (self.codes[starts] == ord("3"))].tolist()

    def long_words(self, size: int) -> list[tuple[int, int, bool]]:
        """[start, end) of what stands between ASCII spaces and has at least `size` characters; whether it holds a digit."""
        spaces = places_of(self.codes <= ord(" "))
        edges = np.concatenate([[-1], spaces, [len(self.codes)]])
        word = places_of(np.diff(edges) > size)
        if not len(word):
            return []
        starts, ends = edges[word] + 1, edges[word + 1]
        where = places_of(self.digits)
        digits = np.searchsorted(where, ends) > np.searchsorted(where, starts)
        return list(zip(starts.tolist(), ends.tolist(), digits.tolist(), strict=True))


def runs(places: NDArray[np.intp], gap: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Rising places cut where two lie more than `gap` apart: first, last and number of each run."""
    if not len(places):
        return places, places, places
    cuts = places_of(np.diff(places) > gap) + 1
    begins = np.concatenate([[0], cuts])
    ends = np.concatenate([cuts, [len(places)]])
    return places[begins], places[ends - 1], ends - begins
