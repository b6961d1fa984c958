"""One HTTP discipline for both systems: correlation, time limits, bounded retries, honest errors.

A read is asked again a few times. A write is sent once; it is sent again only after a reply that says nothing was
done (401, 429, tenant busy) or when nothing left this machine. Any other trouble with a write is OutcomeUnknown.
Errors and exchanges never hold a URL, header, token or whole body.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx
import msgspec

from reconciler.backoff import delay
from reconciler.clients.wire.addresses import address
from reconciler.clients.wire.budget import Budget
from reconciler.clients.wire.counts import Counts, Exchange
from reconciler.clients.wire.links import leads_home
from reconciler.clients.wire.requests import Requests
from reconciler.clients.wire.signs import Answer, Dialect, Judgement, Sign
from reconciler.clients.wire.words import cut, http_date, retry_after_s
from reconciler.clock import Clock
from reconciler.errors import (
    Malformed,
    OutcomeUnknown,
    RemoteError,
    Spent,
    Throttled,
    TooMuch,
    Unavailable,
    Withheld,
)

BUSY_BASE_S = 6.0  # the first wait is 3 to 6 s: graph.md section 9 asks for "from about 4 s"
CLOSED_MAX_S = 86_400.0  # however long a server wants to be left alone, it is asked again after a day
BATCH = "/$batch"  # its items are the writes
SIZE_MAX = 32 * 1024 * 1024
HELD_S = 1.0  # a write that was announced so long before it may leave is asked about again
WRITE_DEADLINE_S = 45.0  # of one attempt: whoever sends it must hold the tenant for longer (I16)
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Spend(Protocol):
    """Who counts requests against a budget: spends one; 0.0, or in how many seconds there is one."""

    def __call__(self, operation: str, *, is_write: bool) -> float: ...


class Heard(Protocol):
    """Who listens to what answers to writes say of the quota."""

    def __call__(self, headers: Mapping[str, str], *, retry_after_s: float | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long one call may try. `wait_s` is the sum of its waits, in seconds."""

    attempts: int = 5
    wait_s: float = 90.0


class Wire:
    """Requests to one system. Safe for threads. `system` is its label in logs and metrics.

    `authorize` gives the headers of sign-in; `refresh` renews them after a 401, told which ones were refused, and
    returns False when there is nothing to renew (asking again would only count towards a lock-out). `before_write` is
    called before each attempt of a write and raises when it must not be sent any more; `why_not_again` before each that
    had to wait, a second try or one that the budget held back, and says why it may not leave now, "" when it may.
    `heard` is told of the headers of each answer to a write, and for how long it asks to wait, in seconds. `spend` is
    asked before each attempt; where it names a wait nothing is sent and Spent, which is a Throttled, is raised.
    """

    def __init__(
        self,
        system: str,
        http: httpx.Client,
        base_url: str,
        authorize: Callable[[], dict[str, str]],
        refresh: Callable[[Mapping[str, str]], bool],
        clock: Clock,
        rng: random.Random,
        budget: Budget | None = None,
        *,
        dialect: Dialect,
        patience: Patience = Patience(),
        on_exchange: Callable[[Exchange], None] | None = None,
        counts: Counts | None = None,
        deadline_s: float = 120.0,
        write_deadline_s: float = WRITE_DEADLINE_S,
        size_max: int = SIZE_MAX,
        before_write: Callable[[], None] = lambda: None,
        why_not_again: Callable[[], str] = lambda: "",
        heard: Heard | None = None,
        spend: Spend | None = None,
    ) -> None:
        if urlsplit(base_url).scheme != "https":
            raise ValueError(f"{system} must be reached over https")
        self.system, self.base_url = system, base_url.rstrip("/")
        self.dialect, self.clock, self.rng, self.patience = dialect, clock, rng, patience
        self.counts = counts or Counts()
        self.budget = budget
        self._http, self._authorize, self._refresh = http, authorize, refresh
        self._requests = Requests(http)
        self._on_exchange, self._size_max, self._before_write = on_exchange, size_max, before_write
        self._heard, self._spend, self._why_not_again = heard, spend, why_not_again
        self._deadline_s, self._write_deadline_s = deadline_s, min(deadline_s, write_deadline_s)

    def get(self, path: str, *, operation: str, params: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """Read. Raises Throttled, Unavailable, NotFound, Forbidden, Rejected, SignInFailed, Malformed.

        `shrinks`: the caller can ask for less, so TooMuch is raised at once and not asked again as it is.
        """
        return self._call("GET", self._url(path), operation, params=params, **more)

    def follow(self, link: str, *, operation: str, under: str = "", headers: Mapping[str, str] | None = None) -> Answer:
        """Read a link that the server gave. Raises Malformed when it leads elsewhere; see `links.leads_home`."""
        if not leads_home(link, self.base_url, under=under):
            raise Malformed(
                self.dialect.system, f"a link of {operation} leads to another place than the configured one"
            )
        return self._call("GET", link, operation, headers=headers)

    def ask(self, path: str, *, operation: str, json: object, **more: Any) -> Answer:
        """Read by POST ($batch of reads): retried like a read, not counted as a write."""
        return self._call("POST", self._url(path), operation, content=msgspec.json.encode(json), **more)

    def post(self, path: str, *, operation: str, json: object = None, **more: Any) -> Answer:
        """Write. Raises Throttled, Conflicted, OutcomeUnknown, NotFound, Forbidden, Rejected, SignInFailed;
        Unavailable only when nothing was sent."""
        return self._write("POST", path, operation, json, **more)

    def patch(self, path: str, *, operation: str, json: object, **more: Any) -> Answer:
        """Write; errors as for `post`."""
        return self._write("PATCH", path, operation, json, **more)

    def put(self, path: str, *, operation: str, json: object, **more: Any) -> Answer:
        """Write; errors as for `post`."""
        return self._write("PUT", path, operation, json, **more)

    def delete(self, path: str, *, operation: str, **more: Any) -> Answer:
        """Write; errors as for `post`."""
        return self._write("DELETE", path, operation, None, **more)

    def tell(self, headers: Mapping[str, str], *, retry_after_s: float | None) -> None:
        """One write was answered, by itself or as an item of a reply."""
        if self._heard is not None:
            self._heard(headers, retry_after_s=retry_after_s)

    def ask_again(self) -> None:
        """Before a write leaves that had to wait. Raises Withheld when it may not leave any more."""
        if why := self._why_not_again():
            raise Withheld(self.dialect.system, why)

    def renew(self) -> bool:
        """Renew the sign-in after a refusal that was found inside a reply; False when there is nothing to renew."""
        return self._refresh(self._authorize())

    def _write(self, method: str, path: str, operation: str, json: object, **more: Any) -> Answer:
        if json is not None:
            more["content"] = msgspec.json.encode(json)
        return self._call(method, self._url(path), operation, is_write=True, **more)

    def _url(self, path: str) -> str:
        if not path.startswith("/"):
            raise ValueError("a path starts with /")
        return self.base_url + path

    def _call(
        self,
        method: str,
        url: str,
        operation: str,
        *,
        is_write: bool = False,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        content_type: str = "application/json",
        cost: float = 1.0,
        shrinks: bool = False,
    ) -> Answer:
        waited, has_renewed, where = 0.0, False, address(url, params, is_kept=method == "POST" and not is_write)
        for attempt in range(1, self.patience.attempts + 2):  # one more for a renewed token
            held_s = 0.0
            if self.budget is not None:
                self._respect(self.budget)
                held_s = self.budget.take(cost)
                # A clock may end a cycle where it is asked to wait: an announced write that need not wait goes out.
                if held_s > 0 or not is_write:
                    self.clock.sleep(held_s)
            if self._spend is not None and (left_s := self._spend(operation, is_write=is_write)) > 0:
                raise Spent(self.dialect.system, retry_after_s=left_s)
            signed = self._authorize()
            sent = {**(headers or {}), **signed, "client-request-id": self._new_id()}
            if content is not None:
                sent["Content-Type"] = content_type
            request = self._requests.build(method, where, sent, content=content, extensions=self._limits(is_write))
            if is_write:
                if attempt > 1 or held_s >= HELD_S:
                    self.ask_again()
                self._before_write()
            try:
                answer, judgement = self._send(request, operation, attempt, is_write, sent["client-request-id"])
            except NOT_SENT as error:
                why = f"nothing was sent: {type(error).__name__} {cut(error, limit=160)}"
                answer, judgement = None, Judgement(Sign.WAIT, Unavailable(self.dialect.system, why))
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                judgement = self._lost(error, is_write=is_write)
                answer = None
            if judgement.error is None and answer is not None:
                if self.budget is not None:
                    self.budget.went_well()
                return answer
            error_now = judgement.error or Malformed(self.dialect.system, "no reply")
            error_now.client_request_id = sent["client-request-id"]
            if shrinks and isinstance(error_now, TooMuch):
                raise error_now
            if judgement.sign is Sign.STALE:
                if has_renewed or not self._refresh(signed):
                    raise error_now
                has_renewed = True
                continue
            wait = self._wait(judgement, attempt - has_renewed)
            if not self._may_try_again(judgement, attempt - has_renewed, waited + wait, is_write=is_write):
                raise error_now
            self.clock.sleep(wait)
            waited += wait
        raise Malformed(self.dialect.system, f"{operation} never ended")  # the last attempt above raises

    def _may_try_again(self, judgement: Judgement, attempt: int, waited: float, *, is_write: bool) -> bool:
        if attempt >= self.patience.attempts or waited > self.patience.wait_s:
            return False
        if is_write:
            return judgement.sign in (Sign.WAIT, Sign.BUSY)
        return judgement.sign in (Sign.WAIT, Sign.BUSY, Sign.FAILING)

    def _wait(self, judgement: Judgement, attempt: int) -> float:
        chance, wish = self.rng.random(), judgement.retry_after_s
        if judgement.sign is Sign.BUSY:
            return delay(attempt, retry_after_s=wish, base_s=BUSY_BASE_S, chance=chance)
        if judgement.sign is Sign.WAIT and self.budget is not None and wish is not None:
            self.budget.throttled(min(wish, CLOSED_MAX_S))
        return delay(attempt, retry_after_s=wish, chance=chance)

    def _send(
        self, request: httpx.Request, operation: str, attempt: int, is_write: bool, client_id: str
    ) -> tuple[Answer, Judgement]:
        started, status, request_id, left_us = self.clock.monotonic(), 0, "", True
        try:
            response = self._http.send(request, stream=True)
            try:
                status = response.status_code
                request_id = cut(self.dialect.request_id(response.headers), limit=100)
                dated = response.headers.get("Date")
                if dated is not None:
                    self.counts.dated(dated, self.clock.monotonic())
                body = self._body(response)
            finally:
                response.close()
        except NOT_SENT:
            left_us = False
            raise
        finally:
            told = (request.method, operation, attempt, status, started, request_id, client_id)
            self._note(*told, is_write=is_write, is_sent=left_us)
        answer = Answer(status, response.headers, body, request_id, client_id, request.method)
        wish: float | None = None
        asked = response.headers.get("Retry-After")
        if asked is not None:
            wish = retry_after_s(asked, now=http_date(dated) or self.clock.now())
        is_batch = request.url.path.endswith(BATCH)
        if is_write and (not is_batch or status >= 300):  # refused as a whole, it says for its items what they would
            self.tell(response.headers, retry_after_s=wish)
        return answer, self.dialect.judge(answer, operation=operation, is_write=is_write, retry_after_s=wish)

    def _body(self, response: httpx.Response) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > self._size_max:
                raise httpx.DecodingError(f"the reply is larger than {self._size_max} bytes")
            parts.append(part)
        return b"".join(parts)

    def _lost(self, error: Exception, *, is_write: bool) -> Judgement:
        why = f"no complete reply: {type(error).__name__} {cut(error, limit=160)}".rstrip()
        kind = TooMuch if isinstance(error, httpx.TimeoutException | httpx.DecodingError) else Unavailable
        trouble: RemoteError
        trouble = OutcomeUnknown(self.dialect.system, why) if is_write else kind(self.dialect.system, why)
        return Judgement(Sign.FAILING, trouble)

    def _note(
        self,
        method: str,
        operation: str,
        attempt: int,
        status: int,
        started: float,
        request_id: str,
        client_id: str,
        *,
        is_write: bool,
        is_sent: bool,
    ) -> None:
        if is_sent:
            self.counts.add(is_write=is_write)
        if self._on_exchange is not None:
            seconds = self.clock.monotonic() - started
            self._on_exchange(
                Exchange(
                    system=self.system,
                    operation=operation,
                    method=method,
                    status=status,
                    seconds=seconds,
                    request_id=request_id,
                    client_request_id=client_id,
                    attempt=attempt,
                    is_write=is_write,
                    is_sent=is_sent,
                )
            )

    def _respect(self, budget: Budget) -> None:
        """A wait that is longer than a call may take is kept without asking again: nothing is sent until it is over."""
        left_s = budget.closed_s()
        if left_s > self.patience.wait_s:
            raise Throttled(self.dialect.system, retry_after_s=left_s)

    def _limits(self, is_write: bool) -> dict[str, Any]:
        return {"deadline_s": self._write_deadline_s if is_write else self._deadline_s}

    def _new_id(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))
