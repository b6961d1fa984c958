"""Rows of the log as OCSF events for a SIEM. Pure.

| row | class | activity |
|---|---|---|
| licence assigned, removed directly | User Access Management 3005 | Assign 1, Revoke 2 |
| licence through a group | Group Management 3006 | Add User 3, Remove User 4 |
| approval, configuration, switch, usage location | Entity Management 3004 | Update 3, else Other 99 |
| sign-in | Authentication 3002 | Logon 1 |

A write is one event, made of its intent and its result; an intent without result is an event of unknown status.
Everything else of the log has no class of its own and is left to the JSON Lines. What OCSF has no place for is in
`unmapped`. Source: OCSF 1.8.0 (schema.ocsf.io): type_uid is class × 100 + activity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Any

VERSION = "1.8.0"
ACCESS, GROUP, ENTITY, LOGON = 3005, 3006, 3004, 3002
_NAMES = {
    ACCESS: "User Access Management",
    GROUP: "Group Management",
    ENTITY: "Entity Management",
    LOGON: "Authentication",
}
_ACTIVITIES = {
    (ACCESS, 1): "Assign Privileges",
    (ACCESS, 2): "Revoke Privileges",
    (GROUP, 3): "Add User",
    (GROUP, 4): "Remove User",
    (ENTITY, 3): "Update",
    (LOGON, 1): "Logon",
}
_WRITES = {
    "assign_license": (ACCESS, 1),
    "remove_license": (ACCESS, 2),
    "add_group_member": (GROUP, 3),
    "remove_group_member": (GROUP, 4),
    "set_usage_location": (ENTITY, 3),
    "reprocess": (ENTITY, 99),
}
_ENTITIES = ("approval.", "policy.", "config", "switch", "killswitch.", "freeze.", "guard.", "breakglass.", "audit.")


def events(rows: Iterable[Mapping[str, Any]], *, version: str) -> Iterator[dict[str, Any]]:
    """The events of the rows that have a class, in order; `version` is that of this program."""
    intents: dict[tuple[str, int], Mapping[str, Any]] = {}
    for row in rows:
        kind, body = row["kind"], row["body"]
        if kind == "intent" and body.get("system") == "graph" and body.get("action") in _WRITES:
            intents[row["tenant"], row["seq"]] = row
        elif kind == "result":
            intent = intents.pop((row["tenant"], body.get("intent")), None)
            if intent is not None:
                yield _write(intent, row, version)
        elif kind.startswith("auth."):
            yield _logon(row, version)
        elif kind.startswith(_ENTITIES):
            yield _entity(row, version)
    for intent in intents.values():
        yield _write(intent, None, version)


def _write(intent: Mapping[str, Any], result: Mapping[str, Any] | None, version: str) -> dict[str, Any]:
    body, said = intent["body"], result["body"] if result is not None else {}
    class_uid, activity = _WRITES[body["action"]]
    event = _base(result or intent, class_uid, activity, version)
    event |= _status(None if result is None else said.get("result") == "accepted")
    if said.get("words"):
        event["status_detail"] = str(said["words"])[:1000]
    what = body.get("what") or {}
    event["user"] = {"uid": intent["subject"], "type_id": 1}
    event["metadata"]["correlation_uid"] = body.get("digest") or intent["cycle"] or "-"
    if class_uid == ACCESS:
        skus = _skus(what, "after" if activity == 1 else "before")
        event["privileges"] = [s["name"] for s in skus] or [str(what.get("product") or "licence")]
        event["resources"] = [{"type": "Microsoft 365 SKU", **s} for s in skus]
    elif class_uid == GROUP:
        state = what.get("after") or what.get("before") or {}
        event["group"] = {"uid": str(state.get("group_id") or "-"), "name": str(state.get("group") or "-")}
        event["privileges"] = [str(p) for p in state.get("gives") or ()] or [str(what.get("product") or "licence")]
    else:
        event["entity"] = {"uid": intent["subject"], "type": "user", "data": what.get("before") or {}}
        event["entity_result"] = {"uid": intent["subject"], "type": "user", "data": what.get("after") or {}}
    event["unmapped"] |= {
        "lines": list(body.get("lines") or ()),
        "plan": body.get("plan"),
        "intent_seq": intent["seq"],
        "before": what.get("before"),
        "after": what.get("after"),
        "undo": what.get("undo"),
        "request_id": said.get("request_id"),
        "client_request_id": said.get("client_request_id"),
    }
    return event


def _logon(row: Mapping[str, Any], version: str) -> dict[str, Any]:
    body = row["body"]
    event = _base(row, LOGON, 1, version)
    event |= _status(row["kind"] == "auth.signin")
    if row["kind"] != "auth.signin":
        event["status_detail"] = str(body.get("reason") or body.get("sentence") or "refused")[:1000]
    event["user"] = _user(body.get("actor") or body.get("human") or row["actor"])
    event["service"] = {"name": "license-reconciler"}
    return event


def _entity(row: Mapping[str, Any], version: str) -> dict[str, Any]:
    body = row["body"]
    event = _base(row, ENTITY, 3, version)
    event |= _status(True)
    event["entity"] = {"uid": str(body.get("id") or row["subject"]), "type": row["kind"].partition(".")[0]}
    event["comment"] = str(body.get("comment") or body.get("reason") or "")
    if body.get("digest"):
        event["metadata"]["correlation_uid"] = body["digest"]
    return event


def _base(row: Mapping[str, Any], class_uid: int, activity: int, version: str) -> dict[str, Any]:
    body = row["body"]
    event: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": _ACTIVITIES.get((class_uid, activity), "Other"),
        "category_uid": 3,
        "category_name": "Identity & Access Management",
        "class_uid": class_uid,
        "class_name": _NAMES[class_uid],
        "type_uid": class_uid * 100 + activity,
        "type_name": f"{_NAMES[class_uid]}: {_ACTIVITIES.get((class_uid, activity), 'Other')}",
        "severity_id": 1,
        "severity": "Informational",
        "time": int(datetime.fromisoformat(row["at"]).timestamp() * 1000),
        "metadata": {
            "version": VERSION,
            "uid": f"{row['tenant']}/{row['seq']}",
            "correlation_uid": row["cycle"] or "-",
            "event_code": row["kind"],
            "tenant_uid": row["tenant"],
            "product": {"name": "license-reconciler", "vendor_name": "license-reconciler", "version": version},
        },
        "actor": {"user": _user(body.get("actor") or row["actor"])},
        "unmapped": {"hash": row["hash"], "cycle": row["cycle"], "subject": row["subject"]},
    }
    if isinstance(body.get("source"), str) and body["source"]:
        event["src_endpoint"] = _endpoint(body["source"])
    return event


def _endpoint(source: str) -> dict[str, str]:
    """Where it came from: an address, or the name of what is none (a row of ServiceNow, an account at a terminal)."""
    try:
        return {"ip": str(ip_address(source))}
    except ValueError:
        return {"name": source}


def _status(is_success: bool | None) -> dict[str, Any]:
    if is_success is None:
        return {"status_id": 0, "status": "Unknown"}
    return {"status_id": 1, "status": "Success"} if is_success else {"status_id": 2, "status": "Failure"}


def _user(said: Any) -> dict[str, Any]:
    if not isinstance(said, Mapping):
        return {"name": str(said or "reconciler"), "type_id": 3 if said == "reconciler" else 0}
    user = {"uid": said.get("oid"), "name": said.get("upn") or said.get("name"), "type_id": 1}
    return {name: value for name, value in user.items() if value}


def _skus(what: Mapping[str, Any], side: str) -> list[dict[str, str]]:
    """The licences of one side of a change, as (uid, name)."""
    state = what.get(side) or {}
    every = state.get("licences") or [state.get("licence")]
    return [
        {"uid": str(one.get("sku_id") or "-"), "name": str(one.get("sku") or one.get("sku_id") or "-")}
        for one in every
        if isinstance(one, Mapping)
    ]
