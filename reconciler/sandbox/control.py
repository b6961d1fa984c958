"""How another process turns and asks a world that is being served: a port of its own, and the client for it.

| request | does |
|---|---|
| `GET /clock` | `{"now"}` |
| `POST /clock {"advance_s"}` | turns the clock, lets what is due happen, `{"now"}` |
| `GET /status` | the figures of `status.Status`, JSON-plain |
| `POST /reset` | starts the story over, `{"now"}` |
| `POST /switch {"name", "value"}` | sets a switch; `servicenow.NAME` is one of ServiceNow |
| `POST /decide {"ticket", "verdict", "approver", …}` | decides an approval in ServiceNow (`deciding`), `{"said"}` |
| `POST /add-plan {"part_number", "plan"}` | Microsoft puts a plan into a SKU, `{"said"}` |
| `POST /rotate` | makes the next signing key of sign-in the current one |

Every request carries the token of the control file (0600 in the state directory): whoever may read the state may turn
it, nobody else on the machine.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

import httpx


class Controlled(Protocol):
    """What can be controlled: the process's own hold on its world."""

    def now(self) -> datetime: ...
    def advance(self, by: timedelta) -> datetime: ...
    def status(self) -> dict[str, Any]: ...
    def reset(self) -> None: ...
    def switch(self, name: str, value: Any) -> None: ...
    def decide(self, ticket: str, verdict: str, **how: str) -> str: ...
    def add_plan(self, part_number: str, plan: str) -> str: ...
    def rotate_keys(self) -> None: ...


class ControlService:
    """The serving side, as a service like the others."""

    def __init__(self, owner: Controlled, token: str) -> None:
        self._owner = owner
        self._token = token

    def __call__(self, request: httpx.Request) -> httpx.Response:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return httpx.Response(401, json={"error": "the control token is wrong"})
        match request.method, request.url.path:
            case "GET", "/clock":
                return self._clock()
            case "POST", "/clock":
                return self._advance(request)
            case "GET", "/status":
                return httpx.Response(200, json=self._owner.status())
            case "POST", "/reset":
                self._owner.reset()
                return self._clock()
            case "POST", ("/switch" | "/decide" | "/add-plan" | "/rotate") as command:
                return self._order(command, request)
            case _:
                return httpx.Response(404, json={"error": "no such command"})

    def _clock(self) -> httpx.Response:
        return httpx.Response(200, json={"now": self._owner.now().isoformat()})

    def _order(self, command: str, request: httpx.Request) -> httpx.Response:
        try:
            given = json.loads(request.content or b"{}")
            if command == "/decide":
                return httpx.Response(200, json={"said": self._owner.decide(**given)})
            if command == "/add-plan":
                return httpx.Response(200, json={"said": self._owner.add_plan(given["part_number"], given["plan"])})
            if command == "/switch":
                self._owner.switch(given["name"], given["value"])
            else:
                self._owner.rotate_keys()
        except (ValueError, KeyError, TypeError) as wrong:
            return httpx.Response(400, json={"error": str(wrong)})
        return self._clock()

    def _advance(self, request: httpx.Request) -> httpx.Response:
        try:
            step = timedelta(seconds=float(json.loads(request.content)["advance_s"]))
            self._owner.advance(step)
        except (ValueError, KeyError, TypeError, OverflowError) as wrong:
            return httpx.Response(400, json={"error": f"advance_s: {wrong}"})
        return self._clock()


class ControlClient:
    """The asking side. Raises httpx.HTTPError when the serving process does not answer."""

    def __init__(self, url: str, token: str, *, transport: httpx.BaseTransport) -> None:
        self._http = httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {token}"},
            transport=transport,
            trust_env=False,
            timeout=60.0,  # a long advance runs every event on the way
        )

    def now(self) -> datetime:
        """The instant of the world's clock."""
        return self._instant(self._http.get("/clock"))

    def advance(self, by: timedelta) -> datetime:
        """Turn the clock; returns the new instant. Raises ValueError when `by` is negative."""
        if by < timedelta(0):
            raise ValueError("a clock is never turned back")
        return self._instant(self._http.post("/clock", json={"advance_s": by.total_seconds()}))

    def status(self) -> dict[str, Any]:
        """The figures of the world."""
        return dict(self._json(self._http.get("/status")))

    def reset(self) -> None:
        """Start the story over."""
        self._json(self._http.post("/reset"))

    def switch(self, name: str, value: Any) -> None:
        """Set a switch. Raises ValueError in the serving process's words."""
        self._order("/switch", {"name": name, "value": value})

    def decide(self, ticket: str, verdict: str, **how: str) -> str:
        """Decide an approval in ServiceNow; the sentence of what happened. Raises ValueError."""
        return str(self._order("/decide", {"ticket": ticket, "verdict": verdict, **how})["said"])

    def add_plan(self, part_number: str, plan: str) -> str:
        """Put a plan into a SKU; the sentence of what happened. Raises ValueError."""
        return str(self._order("/add-plan", {"part_number": part_number, "plan": plan})["said"])

    def rotate_keys(self) -> None:
        """Make the next signing key the current one."""
        self._order("/rotate", {})

    def close(self) -> None:
        self._http.close()

    def _order(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        response = self._http.post(path, json=body)
        if response.status_code == 400:
            raise ValueError(response.json()["error"])
        return self._json(response)

    def _instant(self, response: httpx.Response) -> datetime:
        return datetime.fromisoformat(self._json(response)["now"])

    @staticmethod
    def _json(response: httpx.Response) -> Mapping[str, Any]:
        response.raise_for_status()
        answer: Mapping[str, Any] = response.json()
        return answer


class RemoteClock:
    """The clock of a world that another process owns; waiting turns it there. Implements `reconciler.clock.Clock`."""

    def __init__(self, control: ControlClient) -> None:
        self._control = control
        self._start = control.now()

    def now(self) -> datetime:
        return self._control.now()

    def monotonic(self) -> float:
        return (self._control.now() - self._start).total_seconds()

    def sleep(self, seconds: float) -> None:
        if seconds > 0:
            self._control.advance(timedelta(seconds=seconds))
