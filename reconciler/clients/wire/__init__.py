"""One HTTP discipline for every remote system. Start with `exchange.Wire`."""

from reconciler.clients.wire.budget import Budget
from reconciler.clients.wire.counts import Counts, Exchange
from reconciler.clients.wire.exchange import WRITE_DEADLINE_S, Patience, Wire
from reconciler.clients.wire.http import make_http
from reconciler.clients.wire.signs import FINE, Answer, Dialect, Judgement, Sign

__all__ = [
    "FINE",
    "WRITE_DEADLINE_S",
    "Answer",
    "Budget",
    "Counts",
    "Dialect",
    "Exchange",
    "Judgement",
    "Patience",
    "Sign",
    "Wire",
    "make_http",
]
