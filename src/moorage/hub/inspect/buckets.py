"""A dictionary that can be walked a part at a time while it changes.

A Python dictionary cannot: to go on in the middle of one costs as much as its beginning, and a copy of its
keys touches every object. Here the entries are spread over many small dictionaries by their hash. A walk goes
from bucket to bucket and, in each, in the order of the keys. So an entry has a fixed position as long as it
exists, and a walk that resumes behind a key neither repeats nor skips others, whatever has come and gone.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

COUNT: Final = 1024
"""Number of buckets. With a million entries each holds about as many as one step of work."""

T = TypeVar("T")


class Buckets(Generic[T]):
    """Entries by their key."""

    __slots__ = ("_buckets", "_size")

    def __init__(self) -> None:
        self._buckets: list[dict[str, T] | None] = [None] * COUNT
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def add(self, key: str, value: T) -> None:
        """Add an entry, or replace it."""
        place = hash(key) % COUNT
        bucket = self._buckets[place]
        if bucket is None:
            bucket = self._buckets[place] = {}
        self._size += key not in bucket
        bucket[key] = value

    def remove(self, key: str) -> None:
        """Remove an entry, if it is there."""
        place = hash(key) % COUNT
        bucket = self._buckets[place]
        if bucket is not None and key in bucket:
            del bucket[key]
            self._size -= 1
            if not bucket:
                self._buckets[place] = None

    def batch(self, after: str, least: int) -> list[tuple[str, T]]:
        """The entries behind the key `after` ("" for the first ones), in order. At least `least` of them if
        there are as many, and at most one bucket more."""
        found: list[tuple[str, T]] = []
        start = 0
        if after:
            start = hash(after) % COUNT
            bucket = self._buckets[start]
            start += 1
            if bucket is not None:
                found = sorted([entry for entry in bucket.items() if entry[0] > after], key=_key)
        for place in range(start, COUNT):
            if len(found) >= least:
                break
            bucket = self._buckets[place]
            if bucket is not None:
                found += sorted(bucket.items(), key=_key)
        return found


def position(key: str) -> tuple[int, str]:
    """Where a key stands in the order of a walk."""
    return hash(key) % COUNT, key


def _key(entry: tuple[str, object]) -> str:
    return entry[0]
