"""What leaves the log for others: OCSF that a SIEM accepts, and a table whose cells are inert."""

from __future__ import annotations

import csv
import io
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.audit import kinds, ocsf, sheet
from reconciler.audit.syslog import framed, message
from tests.make import MONDAY
from tests.make_audit import a_log

# The attributes that OCSF 1.8.0 requires, and the enumerations that we use (schema.ocsf.io, classes 3002 to 3006).
_NAMED = {"type": "object", "anyOf": [{"required": ["uid"]}, {"required": ["name"]}]}
_BASE = {
    "type": "object",
    "required": [
        "activity_id",
        "category_uid",
        "class_uid",
        "type_uid",
        "severity_id",
        "time",
        "metadata",
        "status_id",
    ],
    "properties": {
        "category_uid": {"const": 3},
        "severity_id": {"enum": [0, 1, 2, 3, 4, 5, 6, 99]},
        "status_id": {"enum": [0, 1, 2, 99]},
        "time": {"type": "integer", "minimum": 1_500_000_000_000},
        "user": _NAMED,
        "actor": {"type": "object", "required": ["user"], "properties": {"user": _NAMED}},
        "src_endpoint": {
            "type": "object",
            "anyOf": [{"required": ["ip"]}, {"required": ["name"]}],
            "properties": {"ip": {"type": "string", "pattern": r"^[0-9a-fA-F:.]+$"}},
        },
        "unmapped": {"type": "object"},
        "metadata": {
            "type": "object",
            "required": ["version", "product", "uid", "correlation_uid"],
            "properties": {
                "version": {"const": "1.8.0"},
                "product": {"type": "object", "required": ["name", "vendor_name", "version"]},
                "correlation_uid": {"type": "string", "minLength": 1},
            },
        },
    },
}
SCHEMAS: dict[int, dict[str, Any]] = {
    3005: {"required": ["user", "privileges", "resources"], "properties": {"activity_id": {"enum": [1, 2, 99]}}},
    3006: {"required": ["group", "user"], "properties": {"activity_id": {"enum": [3, 4]}, "group": _NAMED}},
    3004: {"required": ["entity"], "properties": {"activity_id": {"enum": [3, 99]}, "entity": _NAMED}},
    3002: {"required": ["user", "service"], "properties": {"activity_id": {"const": 1}, "service": _NAMED}},
}
for own in SCHEMAS.values():
    own["properties"]["privileges"] = {"type": "array", "minItems": 1, "items": {"type": "string"}}
    own["properties"]["resources"] = {"type": "array", "items": _NAMED}

SKU = {"sku": "Visio Plan 2", "sku_id": "s1", "disabled_plans": []}
WHAT = {"before": {"licence": None}, "after": {"licence": SKU}, "product": "visio-plan-2"}


def valid(event: dict[str, Any]) -> dict[str, Any]:
    jsonschema.validate(event, _BASE)
    jsonschema.validate(event, SCHEMAS[event["class_uid"]])
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    return event


def events(*bodies: dict[str, Any]) -> list[dict[str, Any]]:
    return [valid(event) for event in ocsf.events(a_log(*bodies), version="1.0")]


def written(action: str, what: dict[str, Any], **result: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    intent = {"kind": "intent", "subject": "ada", "system": "graph", "action": action, "digest": "d", "what": what}
    said = {"kind": "result", "subject": "ada", "action": action, "intent": 1, "result": "accepted", **result}
    return intent | {"lines": ["R/1"]}, said


@pytest.mark.parametrize(
    ("action", "what", "type_uid"),
    [
        ("assign_license", WHAT, 300501),
        ("assign_license", {"before": {"licences": [SKU]}, "after": {"licences": [SKU]}}, 300501),
        ("remove_license", {"before": WHAT["after"], "after": WHAT["before"]}, 300502),
        ("add_group_member", {"after": {"group": "G", "group_id": "g1", "gives": ["Visio"]}}, 300603),
        ("remove_group_member", {"before": {"group": "G", "group_id": "g1"}}, 300604),
        ("set_usage_location", {"before": {"usage_location": ""}, "after": {"usage_location": "DE"}}, 300403),
        ("reprocess", {}, 300499),
    ],
)
def test_every_write_is_one_event_of_its_class(action, what, type_uid):
    (event,) = events(*written(action, what))

    assert event["type_uid"] == type_uid
    assert (event["status"], event["metadata"]["uid"]) == ("Success", "contoso/2")
    assert (event["unmapped"]["intent_seq"], event["unmapped"]["lines"]) == (1, ["R/1"])


def test_a_grant_names_whom_it_gives_what():
    (event,) = events(*written("assign_license", WHAT, request_id="q1"))

    assert event["user"]["uid"] == "ada"
    assert event["privileges"] == ["Visio Plan 2"]
    assert event["resources"] == [{"type": "Microsoft 365 SKU", "uid": "s1", "name": "Visio Plan 2"}]
    assert event["unmapped"]["request_id"] == "q1"


def test_a_refused_write_is_a_failure_and_one_without_result_unknown():
    intent, result = written("assign_license", WHAT, result="failed", words="no seat")

    assert [(e["status"], e.get("status_detail")) for e in events(intent, result)] == [("Failure", "no seat")]
    assert [e["status"] for e in events(intent)] == ["Unknown"]


def test_decisions_and_sign_ins_have_their_classes_and_the_rest_none():
    human = {"tid": "t", "oid": "o1", "upn": "ada@contoso.example"}
    found = events(
        {"kind": "approval.decided", "subject": "LR-1", "actor": human, "comment": "yes, please", "digest": "d"},
        {"kind": "config.changed", "subject": "config"},
        {"kind": "auth.signin", "subject": "ada", "actor": human, "source": "192.0.2.7"},
        {"kind": "auth.refused", "subject": "ada", "reason": "nonce"},
        {"kind": "line_moved", "subject": "R/1"},
    )

    assert [(e["type_uid"], e["status"]) for e in found] == [
        (300403, "Success"),
        (300403, "Success"),
        (300201, "Success"),
        (300201, "Failure"),
    ]
    assert found[0]["comment"] == "yes, please"
    assert found[0]["actor"]["user"]["uid"] == "o1"
    assert found[2]["src_endpoint"] == {"ip": "192.0.2.7"}


def test_where_a_decision_came_from_is_an_address_or_a_name():
    row = {"kind": "approval.decided", "subject": "LR-1", "digest": "d"}
    sources = ("2001:db8::7", "sysapproval_approver/0123456789abcdef0123456789abcdef", "ada@desk")

    found = events(*(row | {"source": source} for source in sources))

    assert [e["src_endpoint"] for e in found] == [{"ip": sources[0]}, {"name": sources[1]}, {"name": sources[2]}]


# --- the table ------------------------------------------------------------------------------------------------

HOSTILE = [
    '=HYPERLINK("http://evil.example","x")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r\n=1", " =1", "＝1+1",
    "x\n=cmd|' /C calc'!A0", "\u202egnp.exe", 'a","=1', "\x00=1", "\u2028=1",
]  # fmt: skip


def table(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


@pytest.mark.parametrize("said", HOSTILE)
def test_hostile_text_is_inert_in_every_cell(said):
    rows = table("".join(sheet.lines(a_log({"subject": said, "words": said, "cause": said, "lines": [said]}))))

    assert len(rows) == 2
    for cell in rows[1]:
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝", "\t", "\r"))
        assert not any(char in cell for char in "\r\n\0\u202e\u2028")


@given(st.text())
def test_any_text_stays_in_one_cell_and_begins_no_formula(said):
    ((cell,),) = table(sheet._line([sheet.inert(said)]))

    assert not cell.strip().startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell == sheet.inert(said)


def test_plain_values_are_shown_as_they_are():
    rows = table("".join(sheet.lines(a_log({"kind": "result", "action": "note", "result": "accepted", "intent": 1}))))

    cells = dict(zip(rows[0], rows[1], strict=True))
    assert (cells["tenant"], cells["seq"], cells["action"], cells["result"]) == ("contoso", "1", "note", "accepted")


def test_a_row_is_one_syslog_message_whose_end_is_certain():
    said = message(MONDAY, "host one", "intent", '{"a":"é"}')

    assert said.startswith(b"<109>1 2026-11-02T09:00:00.000000Z host_one license-reconciler - intent - \xef\xbb\xbf{")
    assert framed(said) == str(len(said)).encode() + b" " + said


# --- events by the contract's names (approvals.md 6.4)


def test_a_row_tells_of_the_events_that_it_is():
    judged = {"rules": [{"rule": "r"}]}
    assert kinds.events_of({"kind": "line_moved", "body": {"found": "never_assigned", **judged}}) == (
        "drift.found",
        "policy.evaluated",
    )
    assert kinds.events_of({"kind": "line_moved", "body": judged}) == ("policy.evaluated",)
    assert kinds.events_of({"kind": "line_moved", "body": {}}) == ("line_moved",)
    assert kinds.events_of({"kind": "intent", "body": {}}) == ("change.intent",)
    assert kinds.events_of({"kind": "ticket.seen", "body": {}}) == ("ticket.seen",)


def test_rows_are_chosen_by_kind_or_by_event():
    rows = [
        {"kind": "line_moved", "body": {"found": "never_assigned"}},
        {"kind": "line_moved", "body": {"rules": [1]}},
        {"kind": "intent", "body": {}},
    ]

    def chosen(*names: str) -> list[int]:
        named = frozenset(names)
        assert {r["kind"] for r in kinds.only(rows, named)} <= (kinds.rows_of(named) or {"line_moved", "intent"})
        return [rows.index(row) for row in kinds.only(rows, named)]

    assert chosen() == [0, 1, 2]
    assert chosen("drift.found") == [0]
    assert chosen("policy.evaluated", "change.intent") == [1, 2]
    assert chosen("line_moved") == [0, 1]
