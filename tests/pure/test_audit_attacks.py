"""The log under attack: each thing that somebody with the whole database can do, and what finds it (I14)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.audit import proofs
from reconciler.audit.chain import Head
from reconciler.audit.checkpoints import read
from reconciler.audit.merkle import Tree, leaf
from reconciler.audit.notes import Signer
from reconciler.audit.verify import Marks, Report, Segment, read_marks, verify
from tests.make import HOUR, MONDAY
from tests.make_audit import KEY, TENANT, THIEF, Rows, a_log, copied, marks, rehashed, signed

LOG = a_log(*({"n": n} for n in range(1, 11)))
MARKS = marks(LOG, 4, 8)
OLD = signed(LOG, 8)  # what an auditor took away
KEYS = [KEY.verifier]


def found(rows: Rows, beside: Marks = MARKS, **more) -> Report:
    return verify(rows, beside, verifiers=KEYS, **more)


def why(report: Report) -> set[str]:
    broken = {report.chain.broken.why} if report.chain.broken is not None else set()
    return broken | {f.why for f in report.findings}


def test_a_log_as_it_was_written_is_sound_and_its_unprotected_tail_is_counted():
    report = found(LOG)

    assert report.ok
    assert (report.unsigned, report.unprotected) == ({TENANT: 2}, {TENANT: 10})
    assert report.checkpoints[TENANT].size == 8
    assert found(LOG, since=[OLD]).unprotected == {TENANT: 2}


@given(st.integers(0, 9))
def test_a_row_that_was_changed_is_found(index):
    rows = copied(LOG)
    rows[index]["body"]["n"] = 99

    assert why(found(rows)) == {"changed"}


@given(st.integers(0, 8))
def test_a_row_that_was_removed_is_found(index):
    assert why(found(LOG[:index] + LOG[index + 1 :])) == {"missing"}


@given(st.integers(0, 8))
def test_rows_that_were_swapped_are_found(index):
    rows = [*LOG[:index], LOG[index + 1], LOG[index], *LOG[index + 2 :]]

    assert why(found(rows)) == {"reordered"}


@given(st.integers(0, 7), st.integers(0, 1))
def test_a_chain_that_was_hashed_anew_is_found_by_the_signature_behind_it(index, is_removed):
    rows = copied(LOG)
    if is_removed:
        del rows[index]
    else:
        rows[index]["body"]["n"] = 99

    assert "rewritten" in why(found(rehashed(rows)))
    assert verify(rehashed(rows)).ok, "without checkpoints nobody could tell"


def test_a_row_that_was_put_at_the_end_is_in_the_tail_that_is_told():
    rows = rehashed([*LOG, {"body": {"n": 99}}])

    assert found(rows).ok
    assert found(rows).unsigned == {TENANT: 3}


@pytest.mark.parametrize("size", range(10))
def test_a_cut_end_is_found_up_to_the_last_checkpoint(size):
    assert why(found(LOG[:size])) == ({"cut"} if size < 8 else set())


@pytest.mark.parametrize("size", range(1, 10))
def test_an_older_copy_of_everything_is_found_by_what_the_auditor_took_away(size):
    older = Marks(tuple(note for note in MARKS.notes if read(note).size <= size))

    assert found(LOG[:size], older).ok, "the copy itself is sound"
    assert why(found(LOG[:size], older, since=[OLD])) == ({"cut"} if size < 8 else set())


def test_a_forged_log_without_checkpoints_is_found_by_what_the_auditor_took_away():
    forged = rehashed([{"body": {"n": n}} for n in range(40, 60)])

    assert found(forged, Marks()).unsigned == {TENANT: 20}
    assert why(found(forged, Marks(), since=[OLD])) == {"rewritten"}


def test_a_checkpoint_by_another_key_is_found():
    forged = rehashed([{"body": {"n": n}} for n in range(40, 60)])

    assert why(found(forged, Marks((signed(forged, 20, THIEF),)))) == {"forged"}
    assert why(found(LOG, Marks((MARKS.notes[0].replace("\n4\n", "\n5\n"),)))) == {"forged"}
    assert why(found(LOG, since=[signed(LOG, 8, THIEF)])) == {"forged"}


def test_a_log_that_forked_is_found_even_with_the_true_key():
    other = rehashed([*LOG[:5], {"body": {"n": 99}}, *LOG[6:]])

    assert why(found(LOG, since=[signed(other, 8)])) >= {"forked"}
    assert why(found(LOG, since=[signed(other, 7)])) == {"rewritten"}


def test_heads_without_a_signature_still_count():
    assert why(verify(LOG[:5], heads=[Head(TENANT, 8, LOG[7]["hash"])])) == {"cut"}
    assert verify(LOG, MARKS).checkpoints[TENANT].size == 8
    assert verify(LOG, MARKS).unsigned == {TENANT: 10}, "a signature that was not checked protects nothing"


# --- removed segments ---------------------------------------------------------------------------------------


def a_segment(last: int, rows: Rows = LOG, **changes) -> Segment:
    tree = Tree(leaf(bytes.fromhex(row["hash"])) for row in rows)
    frontier = []
    at = 0
    while at < last:
        width = 1 << ((last - at).bit_length() - 1)
        frontier.append(Tree(leaf(bytes.fromhex(r["hash"])) for r in rows[at : at + width]).root())
        at += width
    kept = {size: tuple(tree.consistency(size, last)) for size in range(1, last + 1)}
    given = {"note": signed(rows, last), "head": rows[last - 1]["hash"], "first": 1} | changes
    return Segment(TENANT, given["first"], last, given["head"], tuple(frontier), given["note"], kept)


def test_when_a_sealed_segment_is_removed_the_rest_and_older_checkpoints_still_hold():
    beside = Marks(MARKS.notes, (a_segment(4),))

    report = found(LOG[4:], beside, since=[signed(LOG, 3), OLD])

    assert report.ok
    assert report.removed == {TENANT: 4}
    assert [n.why for n in report.notices] == ["removed"]
    assert why(found(LOG[5:], beside)) == {"missing"}
    assert why(found(LOG[4:])) == {"missing"}, "nothing says that they were removed"


def test_rows_removed_without_a_true_checkpoint_are_found():
    other = rehashed([{"body": {"n": 99}}, *LOG[1:]])

    for forged in (a_segment(4, note=signed(LOG, 4, THIEF)), a_segment(4, note=signed(LOG, 5)), a_segment(4, first=2)):
        assert "removed" in why(found(LOG[4:], Marks(MARKS.notes, (forged,))))
    assert "unlinked" in why(found(LOG[4:], Marks(MARKS.notes, (a_segment(4, other),))))
    assert "forked" in why(found(LOG[4:], Marks((), (a_segment(4),)), since=[signed(other, 3)]))


# --- conduct -------------------------------------------------------------------------------------------------

ADA = {"tid": "t", "oid": "ada", "upn": "ada@contoso.example", "employee_id": "7"}
BOB = {"tid": "t", "oid": "bob", "upn": "bob@contoso.example"}
ASKED = {"kind": "approval.requested", "subject": "LR-1", "id": "LR-1", "digest": "d1", "requester": ADA}
INTENT = {"kind": "intent", "subject": "u", "action": "assign_license", "system": "graph", "digest": "d1", "plan": "p"}
RESULT = {"kind": "result", "subject": "u", "action": "assign_license", "result": "accepted"}


def decided(**changes) -> dict:
    yes = {"kind": "approval.decided", "subject": "LR-1", "id": "LR-1", "digest": "d1", "verdict": "approve"}
    return yes | {"state": "approved", "actor": BOB} | changes


def test_a_grant_after_its_approval_is_sound():
    assert found(a_log(ASKED, decided(), INTENT, RESULT | {"intent": 3}), Marks()).ok


def ruled(says: str, ticket: str = "approved", **changes) -> dict:
    """The row by which a cycle records what the rules said of a request before it writes."""
    ruling = {"says": says, "facts": {"says": ticket}}
    return {"kind": "line_moved", "subject": "R/1", "digest": "d1", "plan": "p", "ruling": ruling} | changes


@pytest.mark.parametrize("says", ["denied", "held", "asked", "staged"])
def test_a_write_that_the_rules_were_against_and_nobody_was_asked_about_is_found(says):
    assert why(found(a_log(ruled(says), INTENT), Marks())) == {"unapproved"}
    assert found(a_log(ruled(says), ASKED, decided(), INTENT), Marks()).ok
    assert found(a_log(ruled("clear"), INTENT), Marks()).ok
    assert found(a_log(ruled(says, "fulfilled"), INTENT), Marks()).ok  # a closed ticket is verified, not judged again
    for strange in (None, [], {"says": says}, {"says": says, "facts": "sign"}):
        assert found(a_log(ruled(says, ruling=strange), INTENT), Marks()).ok


@pytest.mark.parametrize(
    ("log", "what"),
    [
        ([ASKED, INTENT], "unapproved"),
        ([ASKED, decided(state="pending"), INTENT], "unapproved"),
        ([ASKED, decided(verdict="reject", state="rejected"), INTENT], "unapproved"),
        ([ASKED, decided(), {**decided(), "kind": "approval.expired", "state": "expired"}, INTENT], "unapproved"),
        ([ASKED, decided(), {"kind": "approval.void", "subject": "LR-1", "digest": "d1"}, INTENT], "unapproved"),
        ([ASKED, decided(actor=ADA)], "self"),
        ([ASKED, decided(actor={"tid": "t", "oid": "second account", "employee_id": "7"})], "self"),
        ([ASKED, decided(acting_for=ADA)], "self"),
        ([ASKED | {"opener": BOB, "opener_may_approve": False}, decided()], "self"),
        ([INTENT, RESULT | {"intent": 1}, RESULT | {"intent": 1}], "unpaired"),
        ([INTENT, RESULT | {"intent": 1, "subject": "v"}], "unpaired"),
        ([INTENT, RESULT | {"intent": 9}], "unpaired"),
        ([INTENT, RESULT], "unpaired"),
        ([INTENT, INTENT | {"plan": "other"}], "replanned"),
        (
            [{"kind": "line_moved", "subject": "R/1", "digest": "d2", "plan": "p"}, INTENT | {"lines": ["R/1"]}],
            "replanned",
        ),
        ([{"n": 1}, {"n": 2, "at": (MONDAY - HOUR).isoformat(timespec="microseconds")}], "backwards"),
        ([{"n": 1, "at": "yesterday"}], "backwards"),
    ],
)
def test_what_must_never_happen_is_found_though_every_hash_is_right(log, what):
    assert why(found(a_log(*log), Marks())) == {what}


def test_what_may_happen_is_a_note_and_no_finding():
    early = (MONDAY - HOUR).isoformat(timespec="microseconds")
    log = a_log(INTENT, {"n": 1, "at": early, "clock_warning": MONDAY.isoformat()}, ASKED | {"opener": BOB}, decided())

    report = found(log, Marks())

    assert report.ok
    assert sorted(n.why for n in report.notices) == ["clock", "open", "opener"]


# --- proofs and files ------------------------------------------------------------------------------------------


def test_one_row_is_proved_by_its_file_and_the_public_key_alone():
    tree = Tree(leaf(bytes.fromhex(row["hash"])) for row in LOG)
    file = json.loads(json.dumps(proofs.of_row(LOG[2], tree, read(OLD))))

    assert proofs.check(file, KEYS).ok
    assert "row 3 of contoso" in proofs.check(file, KEYS).sentence
    for forged in (
        file | {"row": LOG[3]},
        file | {"row": file["row"] | {"actor": "somebody"}},
        file | {"row": rehashed([*LOG[:2], {"body": {"n": 99}}])[2]},
        file | {"checkpoint": signed(LOG, 8, THIEF)},
        file | {"checkpoint": signed(LOG, 4)},
        file | {"proof": file["proof"][1:]},
        file | {"proof": ["zz"]},
        file | {"proof": None},
        {"format": "other"},
        {},
    ):
        assert not proofs.check(forged, KEYS).ok
    assert not proofs.check(file, [THIEF.verifier]).ok


def test_that_the_log_only_grew_is_proved_between_two_checkpoints():
    tree = Tree(leaf(bytes.fromhex(row["hash"])) for row in LOG)
    file = proofs.of_growth(read(signed(LOG, 3)), read(OLD), tree)
    other = rehashed([{"body": {"n": 99}}, *LOG[1:]])

    assert proofs.check(file, KEYS).ok
    assert not proofs.check(file | {"old": signed(other, 3)}, KEYS).ok
    assert not proofs.check(file | {"new": signed(other, 8)}, KEYS).ok


@given(st.lists(st.text() | st.just('{"checkpoint":{"note":3}}') | st.just('{"segment":{"first":1}}'), max_size=3))
def test_whatever_lines_a_file_holds_are_findings_and_never_a_crash(lines):
    verify(LOG, read_marks(lines), verifiers=KEYS)
    assert read_marks(['{"segment":{"first":1}}', '{"checkpoint":[]}', '{"checkpoint":']).unreadable == 3


def test_a_log_whose_key_was_not_given_is_checked_by_its_chain_and_counts_as_unsigned():
    report = verify(LOG, MARKS, verifiers=[Signer("license-reconciler/fabrikam", KEY.private).verifier])

    assert report.ok
    assert (report.signed_by, report.unsigned) == ({TENANT: False}, {TENANT: 10})
