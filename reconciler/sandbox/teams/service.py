"""The webhook's host: Request -> Response. Flows take messages here, and people look at what became of them.

| address | answers |
|---|---|
| `POST /workflows/{id}/triggers/manual/paths/invoke?…&sig=…` | 202, empty; with a Response action 200 and the id |
| `GET /` | a page of all messages |
| `GET /messages`, `/messages/{n}` | the same as JSON; `?flow=` and `?state=` choose |
| `GET /messages/{n}/card` | the card alone |
| `GET /messages/{n}/render` | the card as Microsoft's renderer draws it, when `teams_renderer` names its files |
| `GET /flows` | the flows with their secret addresses: what an operator would copy |
"""

from __future__ import annotations

import hmac
import json
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec

from reconciler.sandbox.pages import page
from reconciler.sandbox.teams.records import Flow, Message, flow_address, signature
from reconciler.sandbox.world import World

INVOKE = "POST /workflows/{id}"
TAIL = ["triggers", "manual", "paths", "invoke"]
NOT_DONE = {"unavailable": 503, "server_error": 500, "bad_gateway": 502}
THROTTLED_S = 5
# The renderer draws Markdown only where a processor is set; without one a test of hostile text proves nothing
# (approvals.md section 2.3).
RENDER = """
const source = document.getElementById("card");
const card = new AdaptiveCards.AdaptiveCard();
if (window.markdownit) {
  const markdown = window.markdownit();
  AdaptiveCards.AdaptiveCard.onProcessMarkdown = (text, result) => {
    result.outputHtml = markdown.render(text);
    result.didProcess = true;
  };
}
card.parse(JSON.parse(source.textContent));
document.getElementById("drawn").replaceChildren(card.render());
document.body.dataset.drawn = "yes";
"""
RENDER_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'self'; img-src data:; frame-ancestors 'none'"
)


class TeamsService:
    """Answers requests to the Teams host."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer one request.

        Raises:
            httpx.RemoteProtocolError: a fault cut the connection, before or after the work.
            httpx.ReadTimeout: a fault let the answer go missing.
        """
        parts = [part for part in request.url.path.split("/") if part]
        with self._world.lock:
            if request.method == "POST" and parts[:1] == ["workflows"] and parts[2:] == TAIL:
                return self._invoke(request, parts[1])
            if request.method == "GET":
                return self._look(request, parts)
        return _error(501, "NotImplemented", f"The sandbox does not imitate {request.method} {request.url.path}.")

    # --- taking messages

    def _invoke(self, request: httpx.Request, flow_id: str) -> httpx.Response:
        world, switches = self._world, self._world.switches
        flow = world.teams.flows.get(flow_id)
        if flow is None:
            return _error(404, "WorkflowNotFound", f"The workflow '{flow_id}' could not be found.")
        given = request.url.params.get("sig", "")
        if not hmac.compare_digest(given.encode(), signature(flow_id, world.seed).encode()):
            message = "The provided authorization scheme is not valid: the signature does not match."
            return _error(switches.teams_bad_sig_status, "AuthorizationFailed", message)
        if not flow.enabled:
            return _error(400, "WorkflowTriggerIsNotEnabled", f"The trigger of workflow '{flow_id}' is not enabled.")
        fault = world.faults.pick(INVOKE) if world.faults.enabled else None
        if fault == "throttled" or (wait_s := world.teams.wait_s(flow)) > 0:
            wait = THROTTLED_S if fault == "throttled" else math.ceil(wait_s)
            answer = _error(429, "TooManyRequests", "Rate limit is exceeded. Try again later.")
            answer.headers["retry-after"] = str(max(1, wait))
            return answer
        if fault in NOT_DONE:
            return _error(NOT_DONE[fault], "ServiceUnavailable", "The service is temporarily unavailable.")
        if fault == "webhook_reset":
            raise httpx.RemoteProtocolError("Connection reset by peer", request=request)
        try:
            json.loads(request.content)
        except (ValueError, RecursionError):
            return _error(400, "InvalidRequestContent", "The request content is not valid and could not be parsed.")
        return self._taken(request, flow, fault)

    def _taken(self, request: httpx.Request, flow: Flow, fault: str | None) -> httpx.Response:
        world = self._world
        waits = flow.responds or world.switches.teams_response_variant
        content_type = request.headers.get("content-type", "")
        message = world.teams.take(flow, request.content, content_type, at_once=waits)
        if fault == "webhook_twice":
            world.teams.take(flow, request.content, content_type, at_once=waits)
        if fault == "webhook_slow":
            world.clock.advance(timedelta(seconds=world.switches.teams_slow_s))
        if fault == "reply_lost":
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.", request=request)
        if fault == "reply_timeout":
            raise httpx.ReadTimeout("The read operation timed out", request=request)
        if fault in {"done_then_500", "done_then_504"}:
            return _error(int(fault[-3:]), "InternalServerError", "Encountered an internal server error.")
        headers = {
            "x-ms-workflow-run-id": f"run-{message.number:08}",
            "date": world.clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT"),
        }
        if not waits:
            return httpx.Response(202, headers=headers)
        if message.state == "posted":
            return httpx.Response(200, headers=headers, json={"id": message.message_id})
        return _error(502, "NoResponse", "The server did not receive a response from an upstream server.")

    # --- looking

    def _look(self, request: httpx.Request, parts: list[str]) -> httpx.Response:
        base = f"{request.url.scheme}://{request.headers.get('host') or request.url.netloc.decode()}"
        chosen = self._chosen(request)
        match parts:
            case []:
                rows = [self._row(message) for message in reversed(chosen)]
                return page("messages", messages=rows, flows=list(self._world.teams.flows.values()))
            case ["messages"]:
                return httpx.Response(200, json={"value": [self._row(message) for message in chosen]})
            case ["flows"]:
                flows = self._world.teams.flows.values()
                return httpx.Response(200, json={"value": [self._flow(flow, base) for flow in flows]})
            case ["messages", number, *rest] if number.isdecimal() and 0 < int(number) <= len(self._all()):
                return self._one(self._all()[int(number) - 1], rest)
            case ["assets", "render.js"]:
                return httpx.Response(200, headers={"content-type": "text/javascript"}, content=RENDER.encode())
            case ["assets", number] if number.isdecimal() and int(number) < len(self._renderer()):
                script = Path(self._renderer()[int(number)]).read_bytes()
                return httpx.Response(200, headers={"content-type": "text/javascript"}, content=script)
        return _error(404, "NotFound", f"There is nothing at {request.url.path}.")

    def _one(self, message: Message, rest: list[str]) -> httpx.Response:
        match rest:
            case []:
                return httpx.Response(200, json=self._row(message))
            case ["card"] if message.card is not None:
                return httpx.Response(200, json=message.card)
            case ["render"]:
                text = json.dumps(message.card, indent=1, ensure_ascii=False) if message.card else ""
                scripts = [f"/assets/{n}" for n in range(len(self._renderer()))]
                # The card stands in the page as data: "<" is written so that no text can end its element.
                data = text.replace("<", "\\u003c")
                row = self._row(message)
                return page("card", policy=RENDER_POLICY, message=row, text=text, data=data, scripts=scripts)
        return _error(404, "NotFound", "This message has no such part.")

    def _all(self) -> list[Message]:
        return self._world.teams.messages

    def _renderer(self) -> tuple[str, ...]:
        return tuple(path for path in self._world.switches.teams_renderer if Path(path).is_file())

    def _chosen(self, request: httpx.Request) -> list[Message]:
        wanted = {name: request.url.params[name] for name in ("flow", "state") if name in request.url.params}
        rows = self._all()
        rows = [m for m in rows if m.flow_id == wanted["flow"]] if "flow" in wanted else rows
        return [m for m in rows if m.state == wanted["state"]] if "state" in wanted else list(rows)

    def _row(self, message: Message) -> dict[str, Any]:
        flow = self._world.teams.flows[message.flow_id]
        row: dict[str, Any] = msgspec.to_builtins(message)
        shown = "nothing" if message.state != "posted" else "card" if message.card is not None else "text"
        return row | {"where": flow.name, "kind": flow.kind, "shown": shown, "headline": _headline(message)}

    def _flow(self, flow: Flow, base: str) -> dict[str, Any]:
        row: dict[str, Any] = msgspec.to_builtins(flow)
        return row | {"url": flow_address(base, flow.flow_id, seed=self._world.seed)}


def _headline(message: Message) -> str:
    """The first text that people see of a message."""
    if message.card is None:
        return message.text.partition("\n")[0]
    waiting: list[Any] = [message.card.get("body")]
    while waiting:
        part = waiting.pop(0)
        if isinstance(part, dict):
            if isinstance(part.get("text"), str):
                return str(part["text"])
            waiting = [*part.values(), *waiting]
        elif isinstance(part, list):
            waiting = [*part, *waiting]
    return ""


def _error(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": code, "message": message}})
