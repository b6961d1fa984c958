"""The audit log verifies offline (I14): any change, loss, swap or forgery that a known head covers is found."""

from __future__ import annotations

import hashlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.audit.chain import GENESIS, Head, read_export, row_hash, verify

Rows = list[dict[str, Any]]


def a_row(seq: int, prev: str, tenant: str = "contoso", **changes: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "tenant": tenant,
        "seq": seq,
        "at": "2026-11-02T09:00:00.000000+00:00",
        "kind": "intent",
        "subject": f"user-{seq}",
        "actor": "reconciler",
        "cycle": "c1",
        "body": {"n": seq, "is": True, "words": ["a", None]},
        **changes,
    }
    return row | {"prev": prev, "hash": row_hash(row, prev)}


def a_log(size: int, tenant: str = "contoso", **changes: Any) -> Rows:
    rows: Rows = []
    for seq in range(1, size + 1):
        rows.append(a_row(seq, rows[-1]["hash"] if rows else GENESIS, tenant, **changes))
    return rows


def head_of(rows: Rows) -> Head:
    return Head(rows[-1]["tenant"], rows[-1]["seq"], rows[-1]["hash"])


LOG = a_log(6)
HEAD = head_of(LOG)
positions = st.integers(0, len(LOG) - 1)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def copied(rows: Rows) -> Rows:
    return json.loads(json.dumps(rows))


def why(rows: Rows, *heads: Head) -> tuple[str, int] | None:
    broken = verify(rows, heads).broken
    return (broken.why, broken.seq) if broken is not None else None


# --- what holds ---------------------------------------------------------------------------------------------


def test_a_log_as_it_was_written_holds():
    found = verify(LOG, [HEAD])

    assert found.ok
    assert (found.size, found.head, found.unprotected) == (6, HEAD.hash, 0)


def test_an_empty_log_holds():
    assert verify([]).ok
    assert verify([], [Head("contoso", 0, GENESIS)]).ok


def test_rows_behind_the_last_known_head_are_counted_as_unprotected():
    assert verify(LOG).unprotected == 6
    assert verify(LOG, [head_of(LOG[:2]), head_of(LOG[:4])]).unprotected == 2


def test_chains_of_several_tenants_may_be_mixed():
    mixed = a_log(4) + a_log(3, "fabrikam")
    random.Random(1).shuffle(mixed)
    mixed.sort(key=lambda row: row["seq"])

    found = verify(mixed, [head_of(a_log(3, "fabrikam"))])

    assert found.ok
    assert (found.size, found.head, found.unprotected) == (7, "", 4)


def test_a_row_is_hashed_as_the_documentation_says():
    row = LOG[1]
    told = {name: value for name, value in row.items() if name not in ("prev", "hash")}
    canonical = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    chained = b"license-reconciler/audit/1\n" + bytes.fromhex(LOG[0]["hash"]) + bytes([0, 0, 0, 0, 0, 0, 0, 2])

    assert row["hash"] == hashlib.sha256(chained + hashlib.sha256(canonical).digest()).hexdigest()


# --- what does not ------------------------------------------------------------------------------------------


@given(positions, st.sampled_from(sorted(LOG[0])), values)
def test_any_changed_field_is_found(index, name, value):
    rows = copied(LOG)
    if json.dumps(rows[index][name], sort_keys=True) == json.dumps(value, sort_keys=True):
        return
    rows[index][name] = value

    assert not verify(rows, [HEAD]).ok


@given(positions, values)
def test_any_change_inside_a_body_is_found(index, value):
    rows = copied(LOG)
    rows[index]["body"]["n"] = value

    assert verify(rows, [HEAD]).ok == (value == index + 1 and value is not True)


@pytest.mark.parametrize(
    "body", [{"n": 1.0, "is": True, "words": ["a", None]}, {"n": 1, "is": 1, "words": ["a", None]}]
)
def test_a_value_that_only_counts_as_equal_is_found(body):
    rows = copied(LOG)
    rows[0]["body"] = body

    assert why(rows) == ("changed", 1)


@given(positions)
def test_a_lost_row_is_found_and_named(index):
    rows = LOG[:index] + LOG[index + 1 :]

    assert why(rows, HEAD) == (("missing" if index < 5 else "cut"), index + 1)


@given(st.integers(0, 5))
def test_a_cut_end_is_found_by_a_head_that_was_kept_elsewhere(size):
    assert why(LOG[:size]) is None
    assert why(LOG[:size], HEAD) == ("cut", size + 1)


def test_a_chain_that_vanished_as_a_whole_is_found():
    assert why([], HEAD) == ("cut", 1)
    assert why(a_log(2, "fabrikam"), HEAD) == ("cut", 1)


@given(st.permutations(range(6)))
def test_rows_in_another_order_are_found(order):
    rows = [LOG[i] for i in order]
    first = next((i for i, place in enumerate(order) if i != place), None)

    assert why(rows, HEAD) == (None if first is None else ("reordered", first + 1))


@given(positions, positions)
def test_a_row_that_comes_twice_is_found(index, place):
    rows = [*LOG[: place + 1], LOG[index], *LOG[place + 1 :]]

    assert not verify(rows).ok


@given(positions)
def test_a_forged_row_between_two_others_is_found(index):
    prev = LOG[index - 1]["hash"] if index else GENESIS
    forged = a_row(index + 1, prev, subject="forged")
    rows = [*LOG[:index], forged, *LOG[index:]]

    assert not verify(rows).ok


@given(positions)
def test_a_row_written_anew_with_its_own_hash_does_not_carry_the_next(index):
    rows = copied(LOG)
    rows[index] = a_row(index + 1, rows[index]["prev"], subject="forged")

    assert why(rows, HEAD) == (("unlinked", index + 2) if index < 5 else ("rewritten", 6))


@given(positions)
def test_a_chain_rewritten_to_its_end_is_found_by_a_head_that_was_kept_elsewhere(index):
    rows = copied(LOG[:index])
    for seq in range(index + 1, 7):
        rows.append(a_row(seq, rows[-1]["hash"] if rows else GENESIS, subject="forged"))

    assert why(rows) is None
    assert why(rows, HEAD) == ("rewritten", 6)
    assert why(rows, *(head_of(LOG[:n]) for n in range(1, 7))) == ("rewritten", index + 1)


def test_rows_of_another_tenant_do_not_pass_for_ours():
    rows = [row | {"tenant": "contoso"} for row in a_log(6, "fabrikam")]

    assert why(rows) == ("changed", 1)


def test_two_heads_of_one_size_cannot_both_be_right():
    assert why(LOG, HEAD, Head("contoso", 6, "0" * 64)) == ("rewritten", 6)


@given(st.lists(st.dictionaries(st.sampled_from([*LOG[0], "more"]), values), min_size=1, max_size=3))
def test_whatever_a_file_holds_is_a_finding_and_never_a_crash(rows):
    assert not verify(rows).ok
    assert not verify([*LOG, *rows]).ok


def test_a_row_with_more_or_fewer_fields_is_no_row_of_the_log():
    assert why([LOG[0] | {"note": "x"}]) == ("malformed", 1)
    assert why([{name: value for name, value in LOG[0].items() if name != "prev"}]) == ("malformed", 1)


# --- files --------------------------------------------------------------------------------------------------


def lines(rows: Rows) -> list[str]:
    return [json.dumps(row) for row in rows]


def test_an_export_holds_whatever_its_line_ends_are():
    assert verify(read_export("\r\n".join([*lines(LOG), "", " "]).splitlines(keepends=True)), [HEAD]).ok


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        "3",
        '{"a": NaN}',
        "[" * 100_000,
        json.dumps(LOG[0]).replace('"kind": "intent"', '"kind": "result", "kind": "intent"'),
        json.dumps(LOG[0]).replace('"n": 1', '"n": 9, "n": 1'),
    ],
)
def test_a_line_that_is_not_one_plain_object_is_a_finding(line):
    assert why(list(read_export([line, *lines(LOG[1:])]))) == ("malformed", 1)


def test_a_head_is_read_as_it_was_written():
    head = Head("contoso north", 12, "ab" * 32)

    assert Head.parse(f" {head}\n") == head


@pytest.mark.parametrize(
    "text", ["", "contoso", "contoso 12", "contoso 12 abc", "contoso x " + "ab" * 32, "12 " + "ab" * 32]
)
def test_what_is_no_head_is_refused(text):
    with pytest.raises(ValueError, match="TENANT SIZE HASH"):
        Head.parse(text)
