"""Teams, by a Workflows webhook: one card goes out, nothing ever comes back (approvals.md section 1.2).

The address is the secret: whoever has it can post. It is in no error, log, exchange or traceback; what a server says
back is cleaned of every part of it. A card is posted to listed hosts only, over https, and never to where a redirect
points. A post is sent once: after a lost reply nobody here sends it again, whoever owes the notice decides that.

202 says that the flow took it, not that it was posted: a bad card fails later, inside of the run, and nobody hears of
it. Only a flow that ends with a "Response" action (200, with the message's id) proves that it was posted.
"""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import httpx
import msgspec
from pydantic import SecretStr

from reconciler.clients.wire import FINE, Answer, Counts, Exchange, Judgement, Patience, Sign, Wire
from reconciler.clients.wire.words import cut
from reconciler.clock import Clock
from reconciler.errors import Forbidden, NotFound, OutcomeUnknown, Rejected, Throttled, Unavailable, UserError
from reconciler.secrecy import keep

SYSTEM = "Teams"
HOSTS = ("*.logic.azure.com", "*.api.powerplatform.com")  # of Microsoft's flows; the old connectors' host is not one
CONTENT_TYPE = "application/json; charset=utf-8"  # without a charset the service counts each character twice
DEADLINE_S = 40.0  # of one post: a flow with a Response action answers when its run has ended
SECRET_PART_MIN = 4  # shorter parts of an address give nothing away, and would blot out plain words


BRIEF = Patience(attempts=2, wait_s=10.0)  # whoever owes the notice tries again later


class _NoAddresses(logging.Filter):
    """httpx logs the address of each request at level INFO: here that would be the secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not re.search(r"(?i)[?&]sig=|/workflows/", record.getMessage())


NO_ADDRESSES = _NoAddresses()


@dataclass(frozen=True, slots=True)
class Posted:
    """What became of a post. `is_proven`: the flow said that it was posted; otherwise it has only taken it."""

    is_proven: bool
    message_id: str = ""
    run: str = ""


def address_fault(address: str, hosts: Collection[str] = HOSTS) -> str:
    """Why nothing may be posted to this address, without repeating any of it; "" when it may.

    `hosts` are names, `*.name` for everything below a name, and `name:port` where the port is not 443.
    """
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").lower().rstrip("."), parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme != "https" or not host:
        return "it is no https address"
    if parts.username is not None or parts.password is not None or "\\" in address or parts.fragment:
        return "it holds more than host, path and query"
    if any(ord(c) <= 32 or ord(c) > 126 for c in address):
        return "it holds characters that no address has"
    place = host if port in (None, 443) else f"{host}:{port}"
    if not any(place == h or (h.startswith("*.") and place.endswith(h[1:])) for h in map(str.lower, hosts)):
        return "its host is not among Microsoft's flow hosts or notify.teams_hosts"
    return ""


class Teams:
    """Posts cards. Safe for threads. `hosts` are those beside Microsoft's own."""

    def __init__(
        self,
        http: httpx.Client,
        clock: Clock,
        rng: random.Random,
        *,
        hosts: Collection[str] = (),
        counts: Counts | None = None,
        patience: Patience = BRIEF,
        on_exchange: Callable[[Exchange], None] | None = None,
    ) -> None:
        logging.getLogger("httpx").addFilter(NO_ADDRESSES)  # the same filter again is no second one
        self._http, self._clock, self._rng = http, clock, rng
        self._on_exchange = on_exchange
        self._hosts, self._counts, self._patience = (*HOSTS, *hosts), counts or Counts(), patience

    def post(self, address: SecretStr, message: bytes) -> Posted:
        """Send one message, as `cards.check.message` makes it.

        Raises:
            UserError: this address may not be posted to; nothing was sent.
            Throttled: told to wait longer than one call may; nothing was posted.
            Rejected, Forbidden, NotFound: not taken; asking again cannot help before the address is mended.
            Unavailable: nothing was sent.
            OutcomeUnknown: no trustworthy reply; it may have been posted.
        """
        fault = address_fault(address.get_secret_value(), self._hosts)
        if fault:
            raise UserError(f"nothing is posted to this webhook address: {fault}")
        keep(address.get_secret_value())
        parts = urlsplit(address.get_secret_value())
        dialect = TeamsDialect(_secrets_of(address))
        wire = Wire(
            "teams",
            self._http,
            f"https://{parts.netloc}",
            dict,
            lambda _: False,
            self._clock,
            self._rng,
            dialect=dialect,
            patience=self._patience,
            counts=self._counts,
            on_exchange=self._on_exchange,
            deadline_s=DEADLINE_S,
            size_max=1_000_000,
        )
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        try:
            answer = wire.post(path, operation="post a card", json=msgspec.Raw(message), content_type=CONTENT_TYPE)
        except Unavailable as error:  # what a library says about a connection may name the whole address
            raise Unavailable(SYSTEM, dialect.clean(error.why, 300), status=error.status) from None
        except OutcomeUnknown as error:
            raise OutcomeUnknown(SYSTEM, dialect.clean(error.why, 300), status=error.status) from None
        return Posted(answer.status == 200, _message_id(answer), answer.request_id)


class TeamsDialect:
    """The Dialect of a flow's trigger. `secrets` are the parts of the address that no reply may carry further."""

    system = SYSTEM

    def __init__(self, secrets: Collection[str] = ()) -> None:
        self._secrets = tuple(sorted(secrets, key=len, reverse=True))

    def request_id(self, headers: httpx.Headers) -> str:
        return self.clean(headers.get("x-ms-workflow-run-id", ""), 100)

    def judge(self, answer: Answer, *, operation: str, is_write: bool, retry_after_s: float | None) -> Judgement:
        status, id = answer.status, answer.request_id
        if status in (200, 201, 202, 204):
            return FINE
        code, said = self._said(answer.body)
        if status == 429:
            return Judgement(Sign.WAIT, Throttled(SYSTEM, retry_after_s=retry_after_s, request_id=id), retry_after_s)
        if status in (401, 403):
            return Judgement(Sign.FINAL, Forbidden(SYSTEM, operation=operation, detail=said or code, request_id=id))
        if status in (404, 410):
            return Judgement(Sign.FINAL, NotFound(SYSTEM, "flow at this address", request_id=id))
        if 400 <= status < 500 and status not in (408, 425):
            return Judgement(Sign.FINAL, Rejected(SYSTEM, status=status, code=code, detail=said, request_id=id))
        why = f"status {status} {code}".rstrip()
        if 300 <= status < 400:
            refused = Rejected(SYSTEM, status=status, code="redirect", detail="it points elsewhere", request_id=id)
            return Judgement(Sign.FINAL, refused)
        error = OutcomeUnknown(SYSTEM, why, status=status, request_id=id) if is_write else None
        return Judgement(Sign.FAILING, error or Unavailable(SYSTEM, why, status=status, request_id=id))

    def _said(self, body: bytes) -> tuple[str, str]:
        """Code and message of an error body, cleaned; ("", "") for what is none."""
        try:
            error = msgspec.json.decode(body[:100_000]).get("error")
            code, message = error.get("code"), error.get("message")
        except (msgspec.DecodeError, AttributeError, RecursionError):
            return "", ""
        return self.clean(code or "", 100), self.clean(message or "", 300)

    def clean(self, text: object, limit: int) -> str:
        """Words of others without any part of the address."""
        plain = str(text)[:10_000]
        for secret in self._secrets:
            plain = re.sub(re.escape(secret), "[removed]", plain, flags=re.IGNORECASE)
        return cut(plain, limit=limit)


def _secrets_of(address: SecretStr) -> set[str]:
    """Everything in an address that is not the same in every flow's."""
    parts = urlsplit(address.get_secret_value())
    common = {"workflows", "triggers", "manual", "paths", "invoke", "powerautomate", "automations", "direct"}
    values = [
        parts.query,
        *(v for _, v in parse_qsl(parts.query)),
        *(p.partition("=")[2] for p in parts.query.split("&")),
    ]
    found = {*values, *(step for step in parts.path.split("/") if step not in common), parts.path}
    return {part for part in found if len(part) >= SECRET_PART_MIN and part.strip("/") not in common}


def _message_id(answer: Answer) -> str:
    """The id that a Response action may give, "" where it gives none."""
    if answer.status != 200:
        return ""
    try:
        found: object = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return ""
    id = found.get("id") if isinstance(found, Mapping) else None
    return cut(id, limit=100) if isinstance(id, str) else ""
