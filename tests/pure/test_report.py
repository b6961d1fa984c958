"""What a cycle says of itself: each trouble once, however many it is about."""

from __future__ import annotations

from reconciler.report import folded

SPENT = "the requests of this hour are spent"


def test_a_few_are_named_one_by_one():
    said = tuple(f"RITM000000{n}/1: who may approve it could not be read: {SPENT}" for n in range(1, 4))

    assert folded(said) == said


def test_of_many_the_first_is_named_and_the_others_counted():
    said = [f"RITM{n:07d}/1: who may approve it could not be read: {SPENT}" for n in range(1, 41)]

    assert folded(["the log is not signed", *said, "RITM0000099 was not answered yet: refused"]) == (
        "the log is not signed",
        f"RITM0000001/1 (and 39 more): who may approve it could not be read: {SPENT}",
        "RITM0000099 was not answered yet: refused",
    )


def test_what_is_said_of_different_things_stays_apart():
    said = (
        *(f"RITM{n:07d} was not answered yet: {SPENT}" for n in range(1, 6)),
        f"the answered tickets could not be read again: {SPENT}",
    )

    assert folded(said) == (f"RITM0000001 was not answered yet (and 4 more): {SPENT}", said[-1])
