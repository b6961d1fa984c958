"""Builders for tests of the store, and strategies that make every value it keeps."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from desired_state import ledger
from desired_state.model import (
    Claim,
    Entitlement,
    LineKey,
    Period,
    Person,
    ProductKey,
    Refusal,
    Request,
    Says,
    Ticket,
    UserId,
    Why,
)
from reconciler.answers import Answer
from reconciler.model import AnswerKind
from tests.make import ADA, MONDAY

TENANT = "contoso"
KEY = LineKey("RITM0000001", 1)


def a_wish(**changes: Any) -> Request:
    base = Request(
        key=KEY,
        claim=Claim(upn="ada@contoso.example", person=None),
        product=ProductKey("visio-plan-1"),
        says=Says.APPROVED,
        requested_at=MONDAY,
        due_since=MONDAY,
    )
    return replace(base, **changes)


def a_binding(user: UserId = ADA, **changes: Any) -> Entitlement:
    return Entitlement(a_wish(**changes), "tenant-id", user, "ada@contoso.example", MONDAY)


def an_owed_answer(key: str = "key-1", **changes: Any) -> Answer:
    base = Answer(AnswerKind.NOTE, key, "RITM0000001", "sys-1", (KEY,), "The access works.")
    return replace(base, **changes)


# --- strategies ---------------------------------------------------------------------------------------------

# Any but U+0000, which PostgreSQL keeps in no text and the store there as U+FFFD: told apart in test_memory.
words = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=8)
maybe = st.none() | words
instants = st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))
money = st.none() | st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=0, max_value=10**9)
keys = st.builds(LineKey, st.sampled_from(["RITM0000001", "RITM0000002"]), st.integers(1, 2))
people = st.builds(Person, sys_id=words, user_name=maybe, email=maybe, name=maybe, is_active=st.none() | st.booleans())
claims = st.builds(Claim, upn=maybe, person=st.none() | people)
periods = st.builds(
    Period, st.none() | st.dates(), st.none() | st.dates(), st.none() | st.integers(min_value=1, max_value=9999)
)
requests = st.builds(
    Request,
    key=keys,
    claim=claims,
    product=st.sampled_from(["visio", "project"]).map(ProductKey),
    says=st.sampled_from(Says),
    requested_at=instants,
    due_since=instants,
    period=periods,
    justification=words,
    price_cap=money,
    approvers=st.lists(words, max_size=3).map(tuple),
)
entitlements = st.builds(Entitlement, requests, words, words.map(UserId), words, instants)
refusals = st.builds(
    Refusal, keys, st.sampled_from(Why), words, st.sampled_from(Says), st.none() | words.map(ProductKey), words
)
changes = st.one_of(
    requests.map(ledger.Declared),
    entitlements.map(ledger.Bound),
    refusals.map(ledger.Refused),
    st.builds(ledger.Granted, keys, instants, st.none() | instants, st.booleans()),
    st.builds(ledger.Ended, keys, instants, words),
    st.builds(ledger.Withdrawn, keys, words),
)
tickets = st.builds(
    Ticket,
    sys_id=words,
    number=words,
    item=words,
    item_name=words,
    state=words,
    stage=words,
    approval=words,
    is_active=st.none() | st.booleans(),
    request=words,
    request_number=words,
    request_approval=words,
    opened_at=instants,
    updated_at=instants,
    mod_count=st.integers(0, 10**6),
    closed_at=st.none() | instants,
    requested_for=st.none() | people,
    price=money,
    variables=st.none() | st.dictionaries(words, words, max_size=3),
    rows=st.lists(st.dictionaries(words, words, max_size=2), max_size=2).map(tuple),
)
