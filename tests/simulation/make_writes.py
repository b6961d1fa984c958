"""The writes that a request of ours carries, and the intents that announce them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from sqlalchemy import text

from reconciler.store.database import Database

BIND = "members@odata.bind"
_LAST = "select kind, subject, body, cycle from audit where tenant = 'contoso' order by seq desc limit 40"


@dataclass(frozen=True)
class Part:
    """One write: of a request, or of an item of a batch."""

    method: str
    path: str
    body: dict[str, Any]


def parts(request: httpx.Request) -> list[Part]:
    """The request itself, or what is no read of a batch of the directory's."""
    if not request.url.path.endswith("/$batch"):
        return [Part(request.method, request.url.path, json.loads(request.content or b"{}"))]
    items = json.loads(request.content)["requests"]
    root = request.url.path.removesuffix("/$batch")
    return [
        Part(i["method"], root + urlsplit(i["url"]).path, i.get("body") or {}) for i in items if i["method"] != "GET"
    ]


def announced(database: Database) -> list[str]:
    """Of the writes that are announced and have no result: whom or what each is about. None where the newest row of the
    audit log is no intent."""
    with database.read() as session:
        rows = session.connection().execute(text(_LAST)).all()
    found: list[str] = []
    for row in rows:
        if row.kind != "intent" or row.cycle != rows[0].cycle:
            break
        found += {row.subject, (json.loads(row.body).get("what") or {}).get("target")} - {None, ""}
    return found


def unannounced(part: Part, told: list[str]) -> list[str]:
    """What of a write nothing announced: each member that joins, or the write as such."""
    if BIND in part.body:
        return [link for link in part.body[BIND] if not any(t in link for t in told)]
    named = f"{part.path} {json.dumps(part.body)}"
    return [] if any(t in named for t in told) else [f"{part.method} {part.path}"]
