"""How ServiceNow spells success and failure. Pure. Source: servicenow.md sections 5, 12 and 13.

Nothing that is not a complete JSON reply with a `result` and without an `error` counts as an answer: a web page, a
202, a cut stream and a status 200 with an error inside are failures, never zero rows.
"""

from __future__ import annotations

from datetime import UTC, datetime

import httpx
import msgspec

from reconciler.clients.wire import FINE, Answer, Judgement, Sign
from reconciler.clients.wire.words import cut, html_title, http_date, looks_like_html
from reconciler.errors import (
    Forbidden,
    Malformed,
    NotFound,
    OutcomeUnknown,
    Rejected,
    RemoteError,
    SignInFailed,
    Throttled,
    TooMuch,
    Unavailable,
)

SYSTEM = "ServiceNow"
_ASLEEP = "the instance may be hibernating, in maintenance, or behind a sign-on page"
_SIGN_IN_HINT = (
    "Check user and secret, that the user is active, not locked and allowed web services, and that no access policy "
    "or MFA rule stands in the way"
)
_LATE = frozenset({408, 504})  # of a gateway or the instance: it was not ready in time
_CANCELLED = b"maximum execution time exceeded"  # before a row was sent (servicenow.md sections 5 and 13)
_API_ACL = "failed api level acl validation"  # also after a session moved to another node (KB2466644)


class Truncated(Malformed):
    """A list that was cut while it was being sent; fewer rows may get through."""


class _Detail(msgspec.Struct):
    message: str | None = ""
    detail: str | None = ""


class _Envelope(msgspec.Struct):
    error: _Detail | str | None = None
    result: msgspec.Raw = msgspec.Raw(b"")


_ENVELOPE = msgspec.json.Decoder(_Envelope)


class ServiceNowDialect:
    """The Dialect of the Table, Attachment and Aggregate API."""

    system = SYSTEM

    def request_id(self, headers: httpx.Headers) -> str:
        return str(headers.get("X-Transaction-ID") or headers.get("X-Request-ID") or "")

    def judge(self, answer: Answer, *, operation: str, is_write: bool, retry_after_s: float | None) -> Judgement:
        status, html = answer.status, looks_like_html(answer.headers.get("Content-Type", ""), answer.body)
        if status == 401:
            return self._signed_out(answer)
        if status == 429:
            wish = retry_after_s if retry_after_s is not None else _reset_s(answer.headers)
            return Judgement(Sign.WAIT, Throttled(SYSTEM, retry_after_s=wish, request_id=answer.request_id), wish)
        if status == 202:
            return self._failing("the session queue was full (202): it was dropped, not done", answer, is_write)
        if status >= 500 or status in (408, 499) or 300 <= status < 400 or (html and status < 300):
            return self._failing(self._page(answer) if html else f"status {status}", answer, is_write, retry_after_s)
        if status == 204 and not answer.body:
            return FINE
        if status < 300:
            return self._success(answer, operation, is_write)
        return self._refused(answer, operation, is_write)

    def _success(self, answer: Answer, operation: str, is_write: bool) -> Judgement:
        try:
            envelope = _ENVELOPE.decode(answer.body)
        except msgspec.DecodeError as error:
            return self._broken(f"{operation}: {cut(error)}", answer, is_write)
        if envelope.error is not None:
            why = f"an error inside status {answer.status} of {operation}: {_sentence(envelope.error)}"
            if is_write:
                return self._broken(why, answer, is_write)
            return Judgement(Sign.FINAL, Truncated(SYSTEM, why, request_id=answer.request_id))
        if bytes(envelope.result) in (b"", b"null"):
            return self._broken(f"{operation} has no result", answer, is_write)
        return FINE

    def _refused(self, answer: Answer, operation: str, is_write: bool) -> Judgement:
        status, request_id = answer.status, answer.request_id
        try:
            said = _ENVELOPE.decode(answer.body).error
        except msgspec.DecodeError:
            said = None
        sentence = _sentence(said) or f"status {status}"
        error: RemoteError
        if status == 403:
            error = Forbidden(SYSTEM, operation=operation, detail=sentence, request_id=request_id)
            if is_write and answer.method == "POST":
                # The insert may be done although its read-back was denied (servicenow.md section 5): look first.
                unknown = OutcomeUnknown(SYSTEM, f"403 {sentence}", status=403, request_id=request_id)
                return Judgement(Sign.FINAL, unknown)
            if not is_write and _API_ACL in sentence.lower():
                return Judgement(Sign.FAILING, error)
        elif status == 404:
            error = NotFound(
                SYSTEM, f"such record ({operation}): it is not there or not visible to us", request_id=request_id
            )
        else:
            code = cut(said.message if isinstance(said, _Detail) else said or "", limit=100)
            error = Rejected(SYSTEM, status=status, code=code, detail=sentence, request_id=request_id)
        return Judgement(Sign.FINAL, error)

    def _signed_out(self, answer: Answer) -> Judgement:
        why, hint = "401 User Not Authenticated", _SIGN_IN_HINT
        if answer.headers.get("X-MFA_TOKEN"):
            why, hint = "it asks for a second factor", "Exempt the integration user from MFA, or use OAuth"
        return Judgement(Sign.STALE, SignInFailed(SYSTEM, why, hint=hint, request_id=answer.request_id))

    def _failing(self, why: str, answer: Answer, is_write: bool, retry_after_s: float | None = None) -> Judgement:
        is_late = answer.status in _LATE or _CANCELLED in answer.body
        kind = OutcomeUnknown if is_write else TooMuch if is_late else Unavailable
        trouble = kind(SYSTEM, why, status=answer.status, request_id=answer.request_id)
        return Judgement(Sign.FAILING, trouble, retry_after_s)

    def _broken(self, why: str, answer: Answer, is_write: bool) -> Judgement:
        trouble: RemoteError
        if is_write:
            trouble = OutcomeUnknown(SYSTEM, why, status=answer.status, request_id=answer.request_id)
        else:
            trouble = Malformed(SYSTEM, why, request_id=answer.request_id)
        return Judgement(Sign.FAILING, trouble)

    def _page(self, answer: Answer) -> str:
        title = html_title(answer.body)
        return f"a web page{f' titled {title!r}' if title else ''} came with status {answer.status}: {_ASLEEP}"


SERVICENOW_DIALECT = ServiceNowDialect()


def _sentence(error: _Detail | str | None) -> str:
    match error:
        case _Detail(message=message, detail=detail):
            return cut(": ".join(part for part in (message, detail) if part))
        case str():
            return cut(error)
        case _:
            return ""


def _reset_s(headers: httpx.Headers) -> float | None:
    """Seconds until an hourly rule opens again, from X-RateLimit-Reset (UNIX time) and the server's own Date."""
    reset, date = headers.get("X-RateLimit-Reset", ""), http_date(headers.get("Date"))
    if date is None or not reset.isdigit() or len(reset) > 11:
        return None
    return max(0.0, (datetime.fromtimestamp(int(reset), UTC) - date).total_seconds())
