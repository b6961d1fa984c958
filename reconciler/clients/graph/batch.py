"""Many reads in few requests: $batch of 20. What cannot be read stays an error value, never a missing one.

Each item is throttled by itself inside a 200 (graph.md section 9); such items are asked again after the longest wait
that any of them named. When the batch as a whole fails, that error is raised: it says nothing about its items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import httpx
import msgspec

from reconciler.backoff import delay
from reconciler.clients.graph.dialect import GRAPH_DIALECT, SYSTEM, said
from reconciler.clients.wire import Answer, Judgement, Sign, Wire
from reconciler.clients.wire.words import cut, retry_after_s
from reconciler.errors import Malformed, RemoteError, SignInFailed

SIZE = 20  # D:concepts/json-batching.md
K = TypeVar("K", bound=str)
T = TypeVar("T", bound=msgspec.Struct)


class _Item(msgspec.Struct, gc=False):
    id: str
    status: int
    headers: dict[str, str] | None = None
    body: msgspec.Raw = msgspec.Raw(b"")


class _Reply(msgspec.Struct, gc=False):
    responses: list[_Item]


_REPLY = msgspec.json.Decoder(_Reply)


def read_many(
    wire: Wire, urls: Mapping[K, str], decoder: msgspec.json.Decoder[T], *, operation: str
) -> dict[K, T | RemoteError]:
    """Read every URL (relative, with its query); the result has every key of `urls`, whatever happened.

    Raises:
        RemoteError: the batch itself could not be asked; SignInFailed when a fresh token does not help its items.
    """
    keys = list(urls)
    found: dict[K, T | RemoteError] = {}
    for at in range(0, len(keys), SIZE):
        found.update(_chunk(wire, {key: urls[key] for key in keys[at : at + SIZE]}, decoder, operation))
    return found


def _chunk(
    wire: Wire, urls: Mapping[K, str], decoder: msgspec.json.Decoder[T], operation: str
) -> dict[K, T | RemoteError]:
    found: dict[K, T | RemoteError] = {}
    left, waited, attempt, has_renewed = dict(urls), 0.0, 0, False
    while left:
        attempt += 1
        judged = _ask(wire, left, decoder, operation)
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
        wishes = [judgement.retry_after_s for judgement in again if judgement.retry_after_s is not None]
        wait = delay(attempt, retry_after_s=max(wishes) if wishes else None, chance=wire.rng.random())
        if attempt >= wire.patience.attempts or waited + wait > wire.patience.wait_s:
            break
        wire.clock.sleep(wait)
        waited += wait
    return found


def _ask(
    wire: Wire, urls: Mapping[K, str], decoder: msgspec.json.Decoder[T], operation: str
) -> dict[K, tuple[T | RemoteError, Judgement]]:
    numbered = {str(n): key for n, key in enumerate(urls, start=1)}
    body = {"requests": [{"id": n, "method": "GET", "url": urls[key]} for n, key in numbered.items()]}
    answer = wire.ask("/$batch", json=body, operation=operation, cost=float(len(urls)))
    try:
        items = _REPLY.decode(answer.body).responses
    except msgspec.DecodeError as error:
        raise Malformed(SYSTEM, f"$batch of {operation}: {cut(error)}", request_id=answer.request_id) from None
    by_id: dict[str, _Item] = {}
    for item in items:
        if item.id in by_id or item.id not in numbered:
            raise Malformed(SYSTEM, f"$batch of {operation}: an id twice or unasked", request_id=answer.request_id)
        by_id[item.id] = item
    return {key: _judge(by_id.get(n), answer, decoder, operation, wire) for n, key in numbered.items()}


def _judge(
    item: _Item | None, outer: Answer, decoder: msgspec.json.Decoder[T], operation: str, wire: Wire
) -> tuple[T | RemoteError, Judgement]:
    if item is None:
        missing = Malformed(SYSTEM, f"$batch of {operation} left an item out", request_id=outer.request_id)
        return missing, Judgement(Sign.FAILING, missing)
    headers = httpx.Headers(item.headers or {})
    request_id = cut(headers.get("request-id", ""), limit=100) or outer.request_id
    if item.status == 200:
        try:
            return decoder.decode(item.body), Judgement(Sign.FINE)
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
