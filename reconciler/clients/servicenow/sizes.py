"""How many rows to ask for at once, by table: as many as the instance was seen to serve in time. Pure.

A page that was cut, cancelled, refused as too large or not served in time is asked for again in half. Where pages get
through for a while, they grow back; a reply near the limit of a response makes them smaller before one is lost.
Sources: servicenow.md section 13 (a transaction of the Table API has 60 s), section 15 trap 5 (large limits were seen
to break, so 1,000 unless an instance is known to take more); 5 MB is a response's limit by default.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

LARGEST = 1_000
SMALLEST = 10  # with so few rows, it is not their number that is in the way
GROW_AFTER = 25  # pages in a row that got through
GROWTH = 1.25
FEW = 100  # so many tickets are read by lists of ids: one of each table, whatever changed
BYTES_MAX = 4_000_000  # of one reply, unpacked: a fifth below what a response may have


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of a page, and how many pages of that size got through in a row."""

    rows: int
    served: int = 0

    def less(self, tried: int) -> Size:
        """After a page of `tried` rows did not get through."""
        return Size(max(SMALLEST, min(self.rows, tried) // 2))

    def after(self, *, body_bytes: int, largest: int) -> Size:
        """After a page got through whose reply had so many bytes, unpacked."""
        if body_bytes > BYTES_MAX:
            return Size(max(SMALLEST, self.rows * BYTES_MAX // body_bytes))
        if self.rows >= largest:
            return self
        if self.served + 1 < GROW_AFTER:
            return replace(self, served=self.served + 1)
        return Size(min(largest, max(self.rows + 1, int(self.rows * GROWTH))))


@dataclass
class Sizes:
    """The sizes of one instance's tables. What is learned outlives a cycle; a fresh process learns it again."""

    largest: int = LARGEST
    few: int = FEW
    _of: dict[str, Size] = field(default_factory=dict)

    def of(self, table: str) -> int:
        """How many rows of the table to ask for at most."""
        return min(self.largest, self._size(table).rows)

    def less(self, table: str, tried: int) -> int:
        """A page of so many rows did not get through; how many to ask for instead."""
        self._of[table] = self._size(table).less(tried)
        return self._of[table].rows

    def served(self, table: str, body_bytes: int) -> None:
        """A page that was as large as we dare got through."""
        now = self._size(table)
        after = now.after(body_bytes=body_bytes, largest=self.largest)
        if after is not now:
            self._of[table] = after

    def _size(self, table: str) -> Size:
        return self._of.get(table) or Size(self.largest)
