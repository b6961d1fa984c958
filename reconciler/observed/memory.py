"""The last listing of a tenant's users in 30 bytes a user, so that the next one decodes only what reads otherwise.

Of each row four things are kept, in columns of a page: the object id (16 bytes), a hash of the row as it was sent (8),
the number of what its user held (2), and the place of what was desired for them (4). A row whose bytes hash to the
same says the same, so it is cut out of its page before the page is decoded; the rest of the page is decoded as ever,
with its next link and with an error that it may hold. Python's hash of bytes is keyed by chance in each process, and 64
bits long: no tenant can make two rows agree.

Rows are told apart by their first property: Graph sends `id` first, and text inside a row cannot contain the mark,
because there a quote is escaped. Where that does not hold, nothing is cut out and nothing is kept: it only costs time.
What is kept lives in the memory of one process. A fresh one is right without it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import compress

MARK = b'{"id"'  # not longer: a search for one character more takes twice the time
ID_AT = slice(2, 38)  # of what comes behind a mark
ID_BYTES = 16
HOLDINGS_MAX = 0xFFFF  # what fits into two bytes; whoever holds something else is read each time
CHANGES_MAX = 65_536  # users who are named as changed; more of them are "not known", so memory stays small
SHIFTED_FROM = 8  # one row in so many that differs is a change; more of them are rows that moved along


class Holdings(dict[int, int]):
    """What users hold, numbered from 1 as it is met; 0 stands for "read it again"."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[int] = [0]  # by number

    def __missing__(self, have: int) -> int:
        if len(self.met) > HOLDINGS_MAX:
            return 0
        self[have] = number = len(self.met)
        self.met.append(have)
        return number


@dataclass(slots=True, eq=False)
class Rows:
    """One page, a place for each row."""

    ids: bytearray
    prints: array[int]  # "q": hashes of rows as sent
    holdings: array[int]  # "H": numbers in `Holdings`
    wanted: array[int]  # "I": places in what is desired, 0 for nothing

    @classmethod
    def blank(cls, count: int) -> Rows:
        return cls(bytearray(ID_BYTES * count), array("q", bytes(8 * count)), _zeros("H", count), _zeros("I", count))

    def __len__(self) -> int:
        return len(self.holdings)

    def id_at(self, row: int) -> bytes:
        return bytes(self.ids[ID_BYTES * row : ID_BYTES * (row + 1)])


def _zeros(code: str, count: int) -> array[int]:
    return array(code, bytes(array(code).itemsize * count))


@dataclass(slots=True, eq=False)
class Draft:
    """One page of a new listing. `body` is what is left to decode of it: the rows at `left`, of `count`.

    `names` are the ids of those rows as sent; none where all rows are left. `known` are those of them that read as
    before and are read all the same.
    """

    body: bytes
    count: int
    left: Sequence[int]
    names: Sequence[bytes]
    known: Collection[int]
    prints: array[int]
    rows: Rows
    is_new: bool
    listing: Listing

    def is_of(self, ids: Sequence[str]) -> bool:
        """Whether these are the ids of the rows that were left, in their order.

        Of a page that is left whole only their number counts: what is cut out of it the next time is looked at then.
        """
        return len(ids) == len(self.left) and (self.is_new or "".join(ids).encode() == b"".join(self.names))

    def settle(self, ids: Sequence[str], holdings: Sequence[int], wanted: Sequence[int]) -> bool:
        """Keep what was read of the rows that were left: their ids, numbers of what they hold, places.

        False: an id has another shape, and nothing of this page is kept.
        """
        rows, packed = self.rows, packed_ids(ids)
        if packed is None:
            return False
        self.listing.take(self, packed)
        if self.is_new:
            rows.ids, rows.prints = packed, self.prints
            rows.holdings, rows.wanted = array("H", holdings), array("I", wanted)
            return True
        for n, row in enumerate(self.left):
            rows.ids[ID_BYTES * row : ID_BYTES * (row + 1)] = packed[ID_BYTES * n : ID_BYTES * (n + 1)]
            rows.prints[row], rows.holdings[row], rows.wanted[row] = self.prints[row], holdings[n], wanted[n]
        return True


def packed_ids(ids: Sequence[str]) -> bytearray | None:
    """Object ids as 16 bytes each, one after the other; None when one of them is something else."""
    try:
        packed = bytearray.fromhex("".join(ids).replace("-", ""))
    except ValueError:
        return None
    return packed if len(packed) == ID_BYTES * len(ids) else None


class Listing:
    """One listing as it comes, page by page, beside the one before.

    `stale` are places whose user is desired something else since then, `fresh` the ids (lower case) of those who were
    desired nothing before: their rows are read whatever they show.
    """

    def __init__(
        self, old: list[Rows | None], stale: Collection[int], fresh: Collection[bytes], *, is_first: bool
    ) -> None:
        self._old, self._stale, self._fresh = old, stale, fresh
        self._at = self._shift = 0
        self._used: dict[int, bytearray] = {}  # rows of old pages that another page has taken over
        self._lost: set[bytes] = set()
        self._met: set[bytes] = set()
        self._is_told = not is_first
        self.pages: list[Rows] = []
        self.written = 0  # rows that were put in the place of others, or anew

    # --- what is left to read ---------------------------------------------------------------------------------------

    def cut(self, body: bytes) -> Draft | None:
        """What is to be decoded of a page. None: all of it, and nothing of it can be kept."""
        pieces = body.split(MARK)
        count = len(pieces) - 1
        if not count:
            self._at += 1
            return None
        hashes = list(map(hash, pieces))
        hashes[-1] = hash(pieces[-1][: pieces[-1].rfind(b"}]") + 1] + b",")  # as if another row came behind it
        del hashes[0]
        prints = array("q", hashes)
        rows, left, is_new = self._matched(prints, count)
        known: set[int] = set()
        if not is_new:
            known = self._to_read_again(rows, pieces) - set(left)
            known |= {count - 1} - set(left)  # whose piece holds the end of the page
            left = sorted({*left, *known})
            for row in left:
                rows.holdings[row] = rows.wanted[row] = 0  # until it is settled
        self._at += 1
        rest = body if len(left) == count else MARK.join([pieces[0], *(pieces[row + 1] for row in left)])
        names = () if is_new else [pieces[row + 1][ID_AT] for row in left]
        return Draft(rest, count, left, names, known, prints, rows, is_new, self)

    def _matched(self, prints: array[int], count: int) -> tuple[Rows, list[int], bool]:
        """The page to keep the rows in, the rows that read otherwise, and whether that is all of them."""
        self._release(self._at - 2)
        old = self._page(self._at)
        if old is not None and len(old) == count and self._at not in self._used:
            if old.prints == prints:
                left = []
            else:
                left = [row for row, (a, b) in enumerate(zip(prints, old.prints, strict=True)) if a != b]
            if len(left) <= max(1, count // SHIFTED_FROM):
                self._used[self._at] = bytearray(b"\1" * count)
                return old, left, False
        return self._moved_along(prints, count)

    def _moved_along(self, prints: array[int], count: int) -> tuple[Rows, list[int], bool]:
        """Rows that were on a page nearby: somebody before them came or went."""
        rows, left = Rows.blank(count), []
        centre = self._at + self._shift
        near = [n for n in range(centre - 1, centre + 2) if self._page(n) is not None]
        where = {value: (n, row) for n in near for row, value in enumerate(self._old[n].prints)}  # type: ignore[union-attr]
        if not where:
            return rows, list(range(count)), True
        rows.prints = prints[:]
        for row, value in enumerate(prints):
            found = where.get(value)
            if found is None:
                left.append(row)
                continue
            number, at = found
            page = self._page(number)
            assert page is not None
            rows.ids[ID_BYTES * row : ID_BYTES * (row + 1)] = page.id_at(at)
            rows.holdings[row], rows.wanted[row] = page.holdings[at], page.wanted[at]
            self._used.setdefault(number, bytearray(len(page)))[at] = 1
            self._shift = number - self._at
        return rows, left, len(left) == count

    def _to_read_again(self, rows: Rows, pieces: Sequence[bytes]) -> set[int]:
        again: set[int] = set()
        if 0 in rows.holdings:
            again.update(row for row, number in enumerate(rows.holdings) if not number)
        if self._stale:
            again.update(row for row, place in enumerate(rows.wanted) if place in self._stale)
        if self._fresh:
            fresh, names = self._fresh, (piece[ID_AT] for piece in pieces[1:])
            again.update(row for row, name in enumerate(names) if name.lower() in fresh)
        return again

    # --- what was read ----------------------------------------------------------------------------------------------

    def take(self, draft: Draft, packed: bytearray) -> None:
        """A page whose rest was read, with the ids of those rows."""
        self.pages.append(draft.rows)
        self.written += len(draft.left) - len(draft.known)
        if not self._is_told:
            return
        for n, row in enumerate(draft.left):
            if row not in draft.known:
                user = bytes(packed[ID_BYTES * n : ID_BYTES * (n + 1)])
                before = draft.rows.id_at(row)
                if not draft.is_new and before != user and any(before):
                    self._lost.add(before)
                self._met.add(user)
        self._is_told = len(self._met) + len(self._lost) <= CHANGES_MAX

    def end(self, *, is_complete: bool) -> list[Rows]:
        """What is kept of it, and of the pages of the one before that it did not come to."""
        if is_complete:
            for number in range(len(self._old)):
                self._release(number)
            return self.pages
        rest = () if self._stale or self._fresh else self._old[self._at :]  # those were not looked for there
        return [*self.pages, *(page for page in rest if page is not None)]

    def changed(self) -> frozenset[bytes] | None:
        """Ids of users whose rows read otherwise than before, or were not there; None when that is not known."""
        return frozenset(self._met) if self._is_told else None

    def gone(self) -> frozenset[bytes] | None:
        """Ids of users who were shown before and are not any more. Only of a listing that ended."""
        return frozenset(self._lost - self._met) if self._is_told else None

    def _page(self, number: int) -> Rows | None:
        return self._old[number] if 0 <= number < len(self._old) else None

    def _release(self, number: int) -> None:
        """Let go of an old page; who was on it and was taken over by no other may be gone."""
        page = self._page(number)
        if page is None:
            return
        if self._is_told:
            used = self._used.get(number, bytearray(len(page)))
            self._lost.update(map(page.id_at, compress(range(len(page)), (not is_used for is_used in used))))
            self._is_told = len(self._met) + len(self._lost) <= CHANGES_MAX
        self._used.pop(number, None)
        self._old[number] = None


@dataclass
class Memory:
    """What is kept between two listings. One pass at a time."""

    pages: list[Rows] = field(default_factory=list)
    holdings: Holdings = field(default_factory=Holdings)
    bits: dict[str, int] = field(default_factory=dict)  # what the numbers in `holdings` are made of
    key: object = None  # what was desired when it was kept
    size: int = 0  # rows of the last listing that ended
    now: Listing | None = None
    _is_owed: bool = False  # stale rows that no listing has looked for yet

    def __len__(self) -> int:
        return sum(map(len, self.pages))

    def begin(
        self, key: object, *, is_same: bool, stale: Collection[int], fresh: Collection[bytes]
    ) -> Callable[[], Listing]:
        """Get ready for a pass against `key`; gives what each listing of the pass is begun with.

        `is_same`: places and holdings mean what they meant; otherwise everything is forgotten.
        """
        self.end(is_complete=False)  # of a pass that was broken off
        if not is_same:
            self.pages, self.holdings, self.bits = [], Holdings(), {}
        self.key, self._is_owed = key, bool(stale or fresh)
        is_first = not self.pages

        def listing() -> Listing:
            self._is_owed = False
            self.end(is_complete=False)
            self.now = Listing(list(self.pages), stale, fresh, is_first=is_first)
            self.pages = []
            return self.now

        return listing

    def end(self, *, is_complete: bool) -> Listing | None:
        """The pass is over, or its listing begins anew. Returns the listing that ended."""
        ended, self.now = self.now, None
        if ended is not None:
            self.pages = ended.end(is_complete=is_complete)
            self.size = len(self) if is_complete else self.size
        elif self._is_owed:
            self.pages, self._is_owed = [], False
        return ended
