"""What goes wrong on the wire, on a seeded schedule. Off until rules are given.

A service asks `pick(route)` once per request and plays the fault it is told, so the same seed, the same rules and the
same order of requests give the same failures. Nothing here knows what a fault does: the service that answers does.

Names that both services understand:

| fault | what happens |
|---|---|
| `throttled` | 429 with `Retry-After`, the request is not done |
| `unavailable` | 503, the request is not done |
| `server_error` | 500, the request is not done |
| `bad_gateway` | 502, the request is not done |
| `reply_lost` | the request **is done**, then the connection closes without an answer |
| `reply_timeout` | the request **is done**, the answer never comes |
| `done_then_500` | the request **is done**, the answer is 500 |
| `done_then_504` | the request **is done**, the answer is 504 |
| `stale_read` | a read is answered by a replica that has not seen the last writes (Graph only) |

ServiceNow has failures of its own (servicenow.md section 17), named in `SERVICENOW`; they strike its routes only. So do
those of the Teams webhook (`TEAMS`): the connection is reset and nothing done, the answer is slow, the flow runs twice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from reconciler.clock import Clock

NOT_DONE = ("throttled", "unavailable", "server_error", "bad_gateway")
DONE_BUT_UNSAID = ("reply_lost", "reply_timeout", "done_then_500", "done_then_504")
SERVICENOW = (
    "429_rule",
    "429_semaphore",
    "202_drop",
    "200_cancel_partial",
    "200_html_hibernate",
    "503_html",
    "403_but_done",
    "200_not_applied",
    "empty_page_acl",
    "late_visible_row",
    "same_second_burst",
    "row_moves_while_paging",
    "slow",
    "token_expires_early",
    "clock_skew",
    "dropped_invalid_clause",
    "string_in_result",
)
TEAMS = ("webhook_reset", "webhook_slow", "webhook_twice")
NAMES = (*NOT_DONE, *DONE_BUT_UNSAID, "stale_read", *SERVICENOW, *TEAMS)


class FaultRule(msgspec.Struct, frozen=True):
    """One kind of failure. `route` is a prefix of "METHOD /path/template" such as "POST /users"; "" is every route."""

    fault: str
    share: float = 1.0
    """Probability that a matching request meets it, 0 to 1."""
    route: str = ""
    from_at: datetime | None = None
    until_at: datetime | None = None
    times: int | None = None
    """How often at most; None is without limit."""
    burst: int = 1
    """How many matching requests in a row fail once one does."""


# A bad day, for `[sandbox] faults = true`: everything that a client must survive, each now and then.
BAD_DAY = (
    FaultRule("throttled", 0.03),
    FaultRule("unavailable", 0.02, burst=2),
    FaultRule("bad_gateway", 0.01),
    FaultRule("reply_lost", 0.05, "POST"),
    FaultRule("done_then_504", 0.03, "PATCH"),
    FaultRule("stale_read", 0.02, "GET"),
    FaultRule("202_drop", 0.02),
    FaultRule("403_but_done", 0.02, "POST"),
    FaultRule("200_html_hibernate", 0.01),
    FaultRule("200_cancel_partial", 0.01, "GET"),
    FaultRule("webhook_reset", 0.02),
    FaultRule("webhook_twice", 0.02),
)


class Faults:
    """The schedule. Rules are asked in order; the first that strikes decides."""

    def __init__(self, clock: Clock, *, seed: int = 1) -> None:
        self._clock = clock
        self._rng = random.Random(f"faults-{seed}")  # noqa: S311 - repeatable on purpose
        self._rules: list[FaultRule] = []
        self._struck: list[int] = []
        self._bursts: list[int] = []
        self.met: Counter[str] = Counter()
        """How often each fault struck since the world was made or loaded."""

    @property
    def enabled(self) -> bool:
        """Whether any rule is set."""
        return bool(self._rules)

    def add(self, rule: FaultRule) -> None:
        """Let this go wrong from now on.

        Raises:
            ValueError: the name is not one of `NAMES`.
        """
        if rule.fault not in NAMES:
            raise ValueError(f"no such fault: {rule.fault!r}; there are {', '.join(NAMES)}")
        self._rules.append(rule)
        self._struck.append(0)
        self._bursts.append(0)

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._rules.clear()
        self._struck.clear()
        self._bursts.clear()

    def pick(self, route: str) -> str | None:
        """The fault that this request meets, or None. `route` is "METHOD /path/template"."""
        now = self._clock.now()
        for i, rule in enumerate(self._rules):
            if not route.startswith(rule.route):
                continue
            if rule.fault in SERVICENOW and " /api/" not in route and " /oauth_token" not in route:
                continue
            if rule.fault in TEAMS and " /workflows" not in route:
                continue
            if (rule.from_at and now < rule.from_at) or (rule.until_at and now >= rule.until_at):
                continue
            if rule.times is not None and self._struck[i] >= rule.times:
                continue
            if self._bursts[i] > 0:
                self._bursts[i] -= 1
            elif self._rng.random() < rule.share:
                self._bursts[i] = rule.burst - 1
            else:
                continue
            self._struck[i] += 1
            self.met[rule.fault] += 1
            return rule.fault
        return None

    def to_json(self) -> dict[str, Any]:
        """Rules, counts and the state of chance, JSON-plain."""
        return {
            "rules": msgspec.to_builtins(self._rules),
            "struck": list(self._struck),
            "bursts": list(self._bursts),
            "rng": rng_to_json(self._rng),
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Become what `to_json` wrote."""
        self._rules = msgspec.convert(data["rules"], list[FaultRule])
        self._struck = list(data["struck"])
        self._bursts = list(data["bursts"])
        rng_from_json(self._rng, data["rng"])


def rng_to_json(rng: random.Random) -> list[Any]:
    """The state of a generator as JSON-plain lists."""
    version, internal, gauss = rng.getstate()
    return [version, list(internal), gauss]


def rng_from_json(rng: random.Random, state: Sequence[Any]) -> None:
    """Put a generator back into a state that `rng_to_json` wrote."""
    rng.setstate((state[0], tuple(state[1]), state[2]))
