"""A directory of people without licences in virtual time: what it costs to write to it, and nothing else.

Each request turns the clock by the latency. Writes are taken from a bucket as published (refused ones are charged too,
which the documents leave open and which is worse for the client); a licence write that meets another is refused with
409, and so is the second of one batch. Reads are served and counted. Facts: graph.md sections 6, 8, 9 and 10.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import unquote

import httpx

from reconciler.clock import ManualClock

GROUP = "99999999-0000-4000-8000-000000000001"
PAGE = 999
WRITES, WINDOW_S, SHOWN_FROM = 3000.0, 150.0, 0.8
T = TypeVar("T")
_ID = re.compile(r"'([0-9a-f-]{36})'")
_USER = re.compile(r"/users/([0-9a-f-]{36})(/\w+)?")


class Lanes(ManualClock):
    """A clock of several connections: what is done beside begins when it is begun and takes its own time, and whoever
    asks for its result waits until that has gone by. `waited_s` is how long that was.

    What is read beside is served as it stands when it begins.
    """

    is_beside = False
    waited_s = 0.0

    def beside(self, work: Callable[[], T]) -> Callable[[], T]:
        """See `rereading.Beside`."""
        began = self._now, self._elapsed
        self.is_beside = True
        try:
            result = work()
        finally:
            self.is_beside, until_s = False, self._elapsed
            self._now, self._elapsed = began

        def told() -> T:
            left_s = max(0.0, until_s - self._elapsed)
            self.waited_s += left_s
            self.advance(seconds=left_s)
            return result

        return told


@dataclass
class Directory(httpx.BaseTransport):
    """One tenant. `refused` counts answers by status; `write_at` are the instants of the first and the last write."""

    clock: ManualClock
    latency_s: float
    sku: str
    held: dict[str, set[str]] = field(default_factory=dict)  # user -> SKUs, direct
    members: dict[str, None] = field(default_factory=dict)
    countries: dict[str, str] = field(default_factory=dict)  # of those who are not in DE
    gone: set[str] = field(default_factory=set)  # whom no group can take in
    without_seat: set[str] = field(default_factory=set)  # SKUs
    asked: list[tuple[str, str, Any]] = field(default_factory=list)  # writes: method, address, body
    lost: Callable[[str], bool] = lambda _: False  # whether the answer to a write to this address is lost
    refused: Counter[int] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    quota: int = 0  # writes as the quota counts them
    first_write_at: datetime | None = None
    last_write_at: datetime | None = None
    read_s: float = 0.0  # spent on reads since the first write
    given_at: dict[str, datetime] = field(default_factory=dict)
    _left: float = WRITES
    _at: datetime | None = None
    _reads_since_write_s: float = 0.0
    _pages: list[str] = field(default_factory=list)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        path, body = request.url.path.removeprefix("/v1.0"), json.loads(request.content or b"{}")
        begun = self.clock.now()
        self.clock.advance(seconds=self.latency_s)
        if request.method != "GET" and not (path == "/$batch" and body["requests"][0]["method"] == "GET"):
            self.asked.append((request.method, path, body))
        if path == "/$batch":
            return self._batch(body["requests"], begun)
        self._note(is_write=request.method != "GET", begun=begun)
        status, answer, headers = self._answer(request.method, f"{path}?{request.url.query.decode()}", body, False)
        if self.lost(path):
            raise httpx.ReadError("the answer is lost")
        return (
            httpx.Response(status, headers=headers, json=answer)
            if answer is not None
            else httpx.Response(status, headers=headers)
        )

    def _batch(self, items: list[dict[str, Any]], begun: datetime) -> httpx.Response:
        self._note(is_write=any(i["method"] != "GET" for i in items), begun=begun)
        responses, licences = [], 0
        for item in items:
            is_licence = item["url"].endswith("assignLicense")
            status, answer, headers = self._answer(
                item["method"], item["url"], item.get("body") or {}, is_licence and licences > 0
            )
            licences += is_licence
            responses.append({"id": item["id"], "status": status, "headers": headers, "body": answer})
        return httpx.Response(200, json={"responses": responses})

    def _note(self, *, is_write: bool, begun: datetime) -> None:
        self.calls["write" if is_write else "read"] += 1
        if is_write:
            self.first_write_at = self.first_write_at or begun
            self.last_write_at = self.clock.now()
            self.read_s += self._reads_since_write_s
            self._reads_since_write_s = 0.0
        elif self.first_write_at is not None and not (isinstance(self.clock, Lanes) and self.clock.is_beside):
            self._reads_since_write_s += self.latency_s

    # --- one call

    def _answer(self, method: str, url: str, body: Any, meets: bool) -> tuple[int, Any, dict[str, str]]:
        if method == "GET":
            return 200, self._read(url), {}
        headers, wait_s = self._charge()
        if wait_s > 0:
            self.refused[429] += 1
            return 429, _error("TooManyRequests", "Too many requests."), {"Retry-After": str(int(wait_s) + 1)}
        if meets:
            self.refused[409] += 1
            return 409, _error("Directory_ConcurrencyViolation", "concurrent requests"), {}
        if url.startswith(f"/groups/{GROUP}"):
            wanted = [link.rpartition("/")[2] for link in body.get("members@odata.bind") or [body.get("@odata.id")]]
            if missing := [user for user in wanted if user in self.gone]:
                self.refused[404] += 1
                return 404, _error("Request_ResourceNotFound", f"Resource '{missing[0]}' does not exist"), {}
            if any(user in self.members for user in wanted):
                self.refused[400] += 1
                return 400, _error("Request_BadRequest", "One or more added object references already exist"), {}
            self.members.update(dict.fromkeys(wanted))
            self.given_at.update(dict.fromkeys(wanted, self.clock.now()))
            return 204, None, headers
        found = _USER.match(url)
        assert found is not None
        if url.partition("?")[0].endswith("/assignLicense"):
            if {grant["skuId"] for grant in body["addLicenses"]} & self.without_seat:
                self.refused[400] += 1
                text = "Subscription with SKU does not have any available licenses."
                return 400, _error("Request_BadRequest", text), {}
            for grant in body["addLicenses"]:
                self.held[found[1]].add(grant["skuId"])
            self.given_at[found[1]] = self.clock.now()
            return 200, {"id": found[1]}, headers
        self.countries[found[1]] = body["usageLocation"]
        return 204, None, headers

    def spend(self, writes: float) -> None:
        """Somebody has made so many writes just now."""
        self._left, self._at = WRITES - writes, self.clock.now()

    def _charge(self) -> tuple[dict[str, str], float]:
        now = self.clock.now()
        passed_s = (now - (self._at or now)) / timedelta(seconds=1)
        self._left = min(WRITES, self._left + passed_s * WRITES / WINDOW_S) - 1
        self._at = now
        self.quota += 1
        if self._left < -1e-6:
            return {}, -self._left * WINDOW_S / WRITES
        used = 1 - self._left / WRITES
        return ({"x-ms-throttle-limit-percentage": f"{used:.4f}"} if used > SHOWN_FROM else {}), 0.0

    def _read(self, url: str) -> Any:
        if url.startswith(f"/groups/{GROUP}/members"):
            return self._page(url)
        if url.startswith("/groups/"):
            lists = "/memberOf" in url or "/appRole" in url
            return {"value": []} if lists else self._group()
        if url.startswith("/users?$filter="):
            return {"value": [self._user(user) for user in _ID.findall(unquote(url))]}
        found = _USER.match(url)
        assert found is not None, url
        if found[2] == "/licenseDetails":
            return {"value": []}
        if found[2] == "/memberOf":
            return {"value": [{"id": GROUP}] if found[1] in self.members else []}
        return self._user(found[1])

    def _page(self, url: str) -> Any:
        at = int(url.rpartition("skiptoken=")[2]) if "skiptoken=" in url else 0
        if at == 0:
            self._pages = list(self.members)
        rows = [{"id": user, "assignedLicenses": []} for user in self._pages[at : at + PAGE]]
        after = at + PAGE
        base = "https://graph.microsoft.com/v1.0"
        link = f"{base}/groups/{GROUP}/members/microsoft.graph.user?$skiptoken={after}"
        return {"value": rows} | ({"@odata.nextLink": link} if after < len(self._pages) else {})

    def _group(self) -> Any:
        return {
            "id": GROUP,
            "displayName": "Visio people",
            "groupTypes": [],
            "securityEnabled": True,
            "mailEnabled": False,
            "onPremisesSyncEnabled": None,
            "isAssignableToRole": None,
            "assignedLicenses": [{"skuId": self.sku, "disabledPlans": []}],
            "licenseProcessingState": {"state": "ProcessingComplete"},
        }

    def _user(self, user: str) -> Any:
        held = sorted(self.held[user])
        states = [
            {
                "skuId": sku,
                "assignedByGroup": None,
                "disabledPlans": [],
                "state": "Active",
                "error": "None",
                "lastUpdatedDateTime": "2026-11-02T09:00:00Z",
            }
            for sku in held
        ]
        return {
            "id": user,
            "userPrincipalName": f"u{user[:8]}@contoso.example",
            "accountEnabled": True,
            "usageLocation": self.countries.get(user, "DE") or None,
            "country": "Germany",
            "userType": "Member",
            "assignedLicenses": [{"skuId": sku, "disabledPlans": []} for sku in held],
            "licenseAssignmentStates": states,
            "assignedPlans": [],
        }


def _error(code: str, message: str) -> Any:
    return {"error": {"code": code, "message": message}}
