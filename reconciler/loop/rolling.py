"""The scan of all users in slices: a page now and then, so that a large tenant is asked evenly and not in one burst.

It follows a whole scan, which says what is desired and what the rows showed; each user is compared as often as a full
scan comes, at another time. A pass that came to its end stands for the burst of the next full scan, with those read by
name for whom something else is desired since. Whatever goes wrong with it, that scan is done whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from reconciler.clients.graph import Graph, UserPage
from reconciler.loop.sweep import Desired, Hint, Sweeping, SweepResult, begin_again, ended
from reconciler.observed import Listing, Memory

PAGE = 999
WITHIN = 0.8  # of the time between two full scans: the pass is over before the next one
NEWS_MAX = 0.01  # of the users; for more of them a whole scan is cheaper than reads by name


@dataclass
class _Pass:
    """A pass under way. `listing` is the one whose page was read last."""

    desired: Desired
    pages: Iterator[UserPage]
    sweeping: Sweeping
    listing: Listing | None = None


@dataclass
class Rolling:
    """One tenant's scan in slices. One thread."""

    memory: Memory
    _pass: _Pass | None = field(default=None, init=False)
    _next: Desired | None = field(default=None, init=False)  # what the next pass compares with; None: as the one before
    _done: tuple[SweepResult, Desired] | None = field(default=None, init=False)  # of the last pass that ended

    def every_s(self, full_s: float) -> float | None:
        """Seconds between two slices; None while no scan has shown how large the tenant is."""
        pages = -(-self.memory.size // PAGE) if isinstance(self.memory.key, Desired) else 0
        return WITHIN * full_s / pages if pages else None

    def slice(self, graph: Graph) -> SweepResult | None:
        """Read one page; the result of the pass when it was the last.

        Raises:
            RemoteError: it could not be read; the pass is given up.
        """
        if not isinstance(self.memory.key, Desired):
            return None
        if self._pass is not None and self.memory.now is not self._pass.listing:  # a whole scan came between
            self._pass = None
        if self._pass is None:
            desired, self._next = self._next, None
            if desired is None or desired.follows is not self.memory.key.mark:  # or another scan came between
                desired = self.memory.key
            pages = graph.scan(begin=begin_again(desired, self.memory))
            self._pass = _Pass(desired, pages, Sweeping(desired, self.memory))
        going = self._pass
        try:
            page = next(going.pages)
        except BaseException:
            self._pass = None
            self.memory.end(is_complete=False)
            raise
        going.sweeping.add(page)
        going.listing = self.memory.now
        if not page.is_last:
            return None
        result = ended(going.sweeping.result(), self.memory)
        self._done, self._pass = (result, going.desired), None
        return result

    def take(self, desired: Desired) -> SweepResult | None:
        """What the last pass found, as against what is desired now, if that follows what it was compared with.

        None: a whole scan is needed. A result is given once.
        """
        done, self._done = self._done, None
        if done is None or self.memory.key is not done[1] or desired.follows is not done[1].mark:
            return None
        news = desired.news()
        if len(news) > NEWS_MAX * done[0].rows + 1:
            return None
        self._next = desired
        return replace(done[0], looks={**done[0].looks, **dict.fromkeys(news, Hint.UNKNOWN)})
