"""How Microsoft Graph spells success and failure. Pure. Source: graph.md sections 6 and 9."""

from __future__ import annotations

import re

import httpx
import msgspec

from reconciler.clients.wire import FINE, Answer, Judgement, Sign
from reconciler.clients.wire.words import cut, html_title, looks_like_html
from reconciler.errors import (
    Conflicted,
    Forbidden,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    SignInFailed,
    Throttled,
    Unavailable,
)

SYSTEM = "Microsoft Graph"
DETAIL_MAX = 1000  # refusals list plan ids, and those must survive
LISTING = "scan_users"  # its pages are large: they are decoded once, by `scan`, which looks for an error inside too
EXPIRED_PAGE = "Directory_ExpiredPageToken"
_BUSY = re.compile(r"concurrent requests being made to the tenant", re.IGNORECASE)
_FAILING = frozenset({408, 424, 425, 500, 502, 503, 504})
_SIGN_IN_HINT = (
    "Check that the tenant, the application and its Graph permissions (with admin consent) belong together, and that "
    "the clock of this machine is right"
)


class _Error(msgspec.Struct, gc=False):
    code: str = ""
    message: str | None = ""


class _Body(msgspec.Struct, gc=False):
    error: _Error | str | None = None


_DECODER = msgspec.json.Decoder(_Body)


def said(body: bytes) -> tuple[str, str] | None:
    """(code, message) of an error body, safe to repeat; None when it is no JSON object, ("", "") without error."""
    try:
        error = _DECODER.decode(body).error
    except msgspec.DecodeError:
        return None
    match error:
        case _Error():
            return cut(error.code, limit=100), cut(error.message or "", limit=DETAIL_MAX)
        case str():
            return cut(error, limit=100), ""
        case _:
            return "", ""


class GraphDialect:
    """The Dialect of Graph, for whole replies and for the items of a batch."""

    system = SYSTEM

    def request_id(self, headers: httpx.Headers) -> str:
        return str(headers.get("request-id", ""))

    def judge(self, answer: Answer, *, operation: str, is_write: bool, retry_after_s: float | None) -> Judgement:
        if 200 <= answer.status < 300:
            return self._success(answer, operation, is_write=is_write)
        code, detail = said(answer.body) or ("", "")
        return self.refused(
            answer.status,
            code,
            detail or self._page(answer),
            operation=operation,
            is_write=is_write,
            retry_after_s=retry_after_s,
            request_id=answer.request_id,
        )

    def _success(self, answer: Answer, operation: str, *, is_write: bool) -> Judgement:
        if not answer.body and (answer.status in (202, 204) or is_write):
            return FINE
        if operation == LISTING and answer.body[:1] == b"{" and answer.body[-1:] == b"}":
            return FINE
        error = said(answer.body)
        if error is None:
            return self._failing(f"no JSON in the answer to {operation}{self._page(answer)}", answer, is_write=is_write)
        if error != ("", ""):
            why = f"an error inside status {answer.status} of {operation}: {error[0]}"
            return self._failing(why, answer, is_write=is_write)
        return FINE

    def refused(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        operation: str,
        is_write: bool,
        retry_after_s: float | None,
        request_id: str,
    ) -> Judgement:
        """The judgement of any reply outside 2xx."""
        if status == 401:
            why = f"{code} {detail}".strip() or "401"
            return Judgement(Sign.STALE, SignInFailed(SYSTEM, why, hint=_SIGN_IN_HINT, request_id=request_id))
        if status in (429, 509):
            throttled = Throttled(SYSTEM, retry_after_s=retry_after_s, request_id=request_id)
            return Judgement(Sign.WAIT, throttled, retry_after_s)
        if code == "Directory_ConcurrencyViolation" or (status in (400, 409) and _BUSY.search(detail)):
            busy = Conflicted(SYSTEM, retry_after_s=retry_after_s, request_id=request_id)
            return Judgement(Sign.BUSY, busy, retry_after_s)
        if status in _FAILING or status < 400 or (status > 504 and status not in (507, 509)):
            why = f"status {status} {code}".rstrip() + (f": {detail}" if detail and detail[0] != " " else detail)
            trouble: RemoteError = (
                OutcomeUnknown(SYSTEM, why, status=status, request_id=request_id)
                if is_write
                else Unavailable(SYSTEM, why, status=status, request_id=request_id)
            )
            return Judgement(Sign.FAILING, trouble, retry_after_s)
        error: RemoteError
        if status == 403:
            error = Forbidden(SYSTEM, operation=operation, detail=detail or code or "403", request_id=request_id)
        elif status == 404:
            error = NotFound(SYSTEM, f"such object ({operation})", request_id=request_id)
        elif status in (412, 423):  # the object moved under us: look again, then decide
            error = Conflicted(SYSTEM, retry_after_s=retry_after_s, request_id=request_id)
        else:
            error = Rejected(SYSTEM, status=status, code=code or "unnamed", detail=detail, request_id=request_id)
        return Judgement(Sign.FINAL, error)

    def _failing(self, why: str, answer: Answer, *, is_write: bool) -> Judgement:
        trouble: RemoteError
        if is_write:
            trouble = OutcomeUnknown(SYSTEM, why, status=answer.status, request_id=answer.request_id)
        else:
            trouble = Malformed(SYSTEM, why, request_id=answer.request_id)
        return Judgement(Sign.FAILING, trouble)

    def _page(self, answer: Answer) -> str:
        if not looks_like_html(answer.headers.get("Content-Type", ""), answer.body):
            return ""
        title = html_title(answer.body)
        return f" (a web page{f' titled {title!r}' if title else ''} came instead: is there a proxy in between?)"


GRAPH_DIALECT = GraphDialect()
