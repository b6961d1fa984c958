"""What Graph's refusals teach is kept, counted and forgotten again."""

from __future__ import annotations

from desired_state.model import LineKey, PlanId, ProductKey
from desired_state.plan_rules import Enforcement, Need, PlanRules, exclusion
from reconciler.loop.bounds import Bounds
from reconciler.loop.learn import learn, taught
from reconciler.model import Action, ActionKind, Outcome, Result, Undo
from reconciler.store import journal, learned
from reconciler.store.database import Database, row_counts
from tests.make import ADA, DAY, HOUR, MONDAY
from tests.make_store import KEY, TENANT

A, B, C = PlanId("a"), PlanId("b"), PlanId("c")
WORDS = "License assignment failed because service plans a, b are mutually exclusive."
REFUSED = Action(ActionKind.ASSIGN_LICENSE, ADA, ProductKey("visio"), (KEY,), {}, {}, Undo.REVERSIBLE)


def refused(rule=None) -> dict[LineKey, tuple[Outcome, ...]]:
    return {KEY: (Outcome(REFUSED, Result.FAILED, "refused", "req-1", "plan_conflict", False, rule, WORDS),)}


def heard(database: Database, rule, at=MONDAY) -> None:
    learn(refused(rule), database, TENANT, cycle="c1", at=at)


def lessons(database: Database) -> tuple[learned.Lesson, ...]:
    with database.read() as session:
        return learned.lessons(session, TENANT)


def rules(database: Database, at) -> PlanRules:
    return taught(Bounds(rules=PlanRules((exclusion(A, B, Enforcement.CONTESTED),))), database, TENANT, at).rules


def test_a_refused_pair_counts_like_a_hard_rule_from_then_on(database):
    heard(database, exclusion(B, A))

    (rule,) = rules(database, MONDAY + HOUR).violations({A, B})
    assert (rule.enforcement, rule.learnt_at) == (Enforcement.HARD, MONDAY)


def test_a_refused_dependency_names_what_is_needed(database):
    heard(database, Need(C, (B, A)))

    assert rules(database, MONDAY).violations({C}) == (Need(C, (A, B), learnt_at=MONDAY),)
    assert rules(database, MONDAY).violations({C, B}) == ()


def test_a_lesson_that_is_heard_again_is_counted_and_not_kept_twice(database):
    heard(database, exclusion(A, B))
    heard(database, exclusion(B, A), MONDAY + DAY)

    (lesson,) = lessons(database)
    assert (lesson.times, lesson.seen_at, lesson.last_at, lesson.words) == (2, MONDAY, MONDAY + DAY, WORDS)


def test_a_lesson_is_tried_again_after_half_a_year(database):
    heard(database, exclusion(A, B))

    later = rules(database, MONDAY + learned.LESSON_HOLDS)

    assert [r.enforcement for r in later.violations({A, B})] == [Enforcement.CONTESTED]


def test_every_lesson_has_its_row_in_the_audit_log(database):
    heard(database, exclusion(A, B))

    with database.read() as session:
        (row,) = journal.rows_for(session, TENANT, KEY.ticket)
    assert (row.kind, row.subject, row.body["words"], row.body["plans"]) == ("learnt", str(KEY), WORDS, ["a", "b"])


def test_a_refusal_that_teaches_nothing_writes_nothing(database):
    with database.read() as session:
        before = row_counts(session)
    heard(database, None)

    with database.read() as session:
        assert row_counts(session) == before


def test_what_one_tenant_learnt_is_not_another_tenants(database):
    heard(database, exclusion(A, B))

    with database.read() as session:
        assert learned.lessons(session, "other") == ()
