"""Many reads, or independent writes, in few requests: $batch of 20. What fails is an error value, never a missing one.

Each item is throttled by itself inside a 200 (graph.md section 9); such items are asked again after the longest wait
that any of them named. When the batch as a whole fails, that error is raised: of a read it says nothing about its
items, of writes it says that each of them may have landed, or that none has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import httpx
import msgspec

from reconciler.backoff import delay
from reconciler.clients.graph.dialect import GRAPH_DIALECT, SYSTEM, said
from reconciler.clients.wire import Answer, Judgement, Sign, Wire
from reconciler.clients.wire.words import cut, retry_after_s
from reconciler.errors import Malformed, OutcomeUnknown, RemoteError, SignInFailed
from reconciler.model import Reply

SIZE = 20  # D:concepts/json-batching.md
K = TypeVar("K", bound=str)
T = TypeVar("T", bound=msgspec.Struct)


class _Item(msgspec.Struct, gc=False):
    id: str
    status: int
    headers: dict[str, str] | None = None
    body: msgspec.Raw = msgspec.Raw(b"")


class _Replies(msgspec.Struct, gc=False):
    responses: list[_Item]


_REPLIES = msgspec.json.Decoder(_Replies)


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """One read of a batch: a URL (relative, with its query), what its body is, and as which operation it is refused."""

    url: str
    decoder: msgspec.json.Decoder[T]
    operation: str
    units: int = 1  # of the quota


def read_many(
    wire: Wire, urls: Mapping[K, str], decoder: msgspec.json.Decoder[T], *, operation: str
) -> dict[K, T | RemoteError]:
    """Read every URL (relative, with its query); the result has every key of `urls`, whatever happened.

    Raises:
        RemoteError: the batch itself could not be asked; SignInFailed when a fresh token does not help its items.
    """
    return read_parts(wire, {key: Part(url, decoder, operation) for key, url in urls.items()}, operation=operation)


def read_parts(wire: Wire, parts: Mapping[K, Part[Any]], *, operation: str) -> dict[K, Any]:
    """Read parts of any kind, in their order, 20 a request: each key has what its decoder made of it, or a RemoteError.

    Raises what `read_many` raises. `operation` names the requests.
    """
    keys = list(parts)
    found: dict[K, Any] = {}
    for at in range(0, len(keys), SIZE):
        found.update(_chunk(wire, {key: parts[key] for key in keys[at : at + SIZE]}, operation))
    return found


def _chunk(wire: Wire, parts: Mapping[K, Part[Any]], operation: str) -> dict[K, Any]:
    found: dict[K, Any] = {}
    left, waited, attempt, has_renewed = dict(parts), 0.0, 0, False
    while left:
        attempt += 1
        judged = _ask(wire, left, operation)
        again: list[Judgement] = []
        if not has_renewed and any(judgement.sign is Sign.STALE for _, judgement in judged.values()):
            has_renewed = True
            if wire.renew():
                continue
        for key, (value, judgement) in judged.items():
            found[key] = value
            if judgement.sign in (Sign.WAIT, Sign.FAILING, Sign.BUSY):
                again.append(judgement)
            elif judgement.sign is Sign.STALE and isinstance(value, SignInFailed):
                raise value
            else:
                del left[key]
        if not again:
            break
        wait_s = _pause(wire, again, attempt, waited)
        if wait_s is None:
            break
        waited += wait_s
    return found


def _pause(wire: Wire, again: Sequence[Judgement], attempt: int, waited_s: float) -> float | None:
    """Wait before items are sent again, as long as the server asked for; for how many seconds, None: not once more."""
    wishes = [judgement.retry_after_s for judgement in again if judgement.retry_after_s is not None]
    wait_s = delay(attempt, retry_after_s=max(wishes) if wishes else None, chance=wire.rng.random())
    if attempt >= wire.patience.attempts or waited_s + wait_s > wire.patience.wait_s:
        return None
    wire.clock.sleep(wait_s)
    return wait_s


def _ask(wire: Wire, parts: Mapping[K, Part[Any]], operation: str) -> dict[K, tuple[Any, Judgement]]:
    numbered = {str(n): key for n, key in enumerate(parts, start=1)}
    body = {"requests": [{"id": n, "method": "GET", "url": parts[key].url} for n, key in numbered.items()]}
    answer = wire.ask("/$batch", json=body, operation=operation, cost=float(sum(p.units for p in parts.values())))
    by_id = _items(answer, numbered, operation)
    return {key: _judge(by_id.get(n), answer, parts[key], wire) for n, key in numbered.items()}


def _items(answer: Answer, numbered: Mapping[str, object], operation: str) -> dict[str, _Item]:
    try:
        items = _REPLIES.decode(answer.body).responses
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, f"$batch of {operation}: {cut(error)}", request_id=answer.request_id) from None
    by_id: dict[str, _Item] = {}
    for item in items:
        if item.id in by_id or item.id not in numbered:
            raise Malformed(SYSTEM, f"$batch of {operation}: an id twice or unasked", request_id=answer.request_id)
        by_id[item.id] = item
    return by_id


def _judge(item: _Item | None, outer: Answer, part: Part[Any], wire: Wire) -> tuple[Any, Judgement]:
    operation = part.operation
    if item is None:
        missing = Malformed(SYSTEM, f"$batch of {operation} left an item out", request_id=outer.request_id)
        return missing, Judgement(Sign.FAILING, missing)
    headers = httpx.Headers(item.headers or {})
    request_id = cut(headers.get("request-id", ""), limit=100) or outer.request_id
    if item.status == 200:
        try:
            return part.decoder.decode(item.body), Judgement(Sign.FINE)
        except msgspec.DecodeError as error:
            broken = Malformed(SYSTEM, f"{operation}: {cut(error)}", request_id=request_id)
            return broken, Judgement(Sign.FAILING, broken)
    code, detail = said(bytes(item.body)) or ("", "")
    wish = retry_after_s(headers.get("Retry-After"), now=wire.clock.now())
    judgement = GRAPH_DIALECT.refused(
        item.status,
        code,
        detail,
        operation=operation,
        is_write=False,
        retry_after_s=wish,
        request_id=request_id,
    )
    assert judgement.error is not None
    return judgement.error, judgement


def write_together(
    wire: Wire, items: Mapping[K, tuple[str, str, object]], *, operation: str
) -> dict[K, Reply | RemoteError]:
    """Send up to 20 writes (method, relative URL, JSON body) that do not depend on each other, in one request.

    Only items of which it is certain that nothing was done are sent again: throttled ones after the wait that they
    named, all refused for a stale token once. An item without a trustworthy answer is OutcomeUnknown.

    Raises:
        OutcomeUnknown: no trustworthy reply to the request as a whole; each of its items may have landed.
        RemoteError: whatever else `Wire.post` raises; nothing was done.
    """
    if len(items) > SIZE:
        raise ValueError(f"a batch has at most {SIZE} items")
    found: dict[K, Reply | RemoteError] = {}
    left, waited, attempt, has_renewed = dict(items), 0.0, 0, False
    while left:
        attempt += 1
        try:
            if attempt > 1:
                wire.ask_again()
            judged = _send(wire, left, operation)
        except RemoteError as error:
            if not found:
                raise
            return found | dict.fromkeys(left, error)
        found |= {key: value for key, (value, _) in judged.items()}
        again = [judgement for _, judgement in judged.values() if judgement.sign in (Sign.WAIT, Sign.BUSY)]
        stale = [key for key, (_, judgement) in judged.items() if judgement.sign is Sign.STALE]
        is_fresh = bool(stale) and not has_renewed and wire.renew()
        has_renewed = has_renewed or bool(stale)
        signs = (Sign.WAIT, Sign.BUSY, Sign.STALE) if is_fresh else (Sign.WAIT, Sign.BUSY)
        left = {key: item for key, item in left.items() if judged[key][1].sign in signs}
        if not again:
            continue
        wait_s = _pause(wire, again, attempt, waited)
        if wait_s is None:
            break
        waited += wait_s
    return found


def _send(
    wire: Wire, items: Mapping[K, tuple[str, str, object]], operation: str
) -> dict[K, tuple[Reply | RemoteError, Judgement]]:
    numbered = {str(n): key for n, key in enumerate(items, start=1)}
    body = {"requests": [_request(n, *items[key]) for n, key in numbered.items()]}
    answer = wire.post("/$batch", json=body, operation=operation, cost=float(len(items)))
    try:
        by_id = _items(answer, numbered, operation)
    except Malformed as error:
        raise OutcomeUnknown(SYSTEM, error.why, request_id=answer.request_id) from None
    return {key: _outcome(by_id.get(n), answer, operation, wire) for n, key in numbered.items()}


def _request(number: str, method: str, url: str, body: object) -> dict[str, Any]:
    return {
        "id": number,
        "method": method,
        "url": url,
        "headers": {"Content-Type": "application/json"},
        "body": body,
    }


def _outcome(item: _Item | None, outer: Answer, operation: str, wire: Wire) -> tuple[Reply | RemoteError, Judgement]:
    if item is None:
        lost: RemoteError = OutcomeUnknown(
            SYSTEM, f"$batch of {operation} left an item out", request_id=outer.request_id
        )
        lost.client_request_id = outer.client_request_id
        return lost, Judgement(Sign.FAILING, lost)
    headers = httpx.Headers(item.headers or {})
    request_id = cut(headers.get("request-id", ""), limit=100) or outer.request_id
    wish = retry_after_s(headers.get("Retry-After"), now=wire.clock.now())
    wire.tell(headers, retry_after_s=wish)
    if 200 <= item.status < 300:
        return Reply(request_id, outer.client_request_id, item.status), Judgement(Sign.FINE)
    code, detail = said(bytes(item.body)) or ("", "")
    judgement = GRAPH_DIALECT.refused(
        item.status,
        code,
        detail,
        operation=operation,
        is_write=True,
        retry_after_s=wish,
        request_id=request_id,
    )
    assert judgement.error is not None
    judgement.error.client_request_id = outer.client_request_id
    return judgement.error, judgement
