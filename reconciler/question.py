"""What only a person may decide about access that is not as it was granted, and what they said. Pure.

A question names exactly what was seen and what each answer leads to. An answer is for that and for nothing else: it
counts only while a fresh look finds the same (I7), so an answer to what is no longer there changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from reconciler.digest import digest
from reconciler.model import Assignment

HOLDS = timedelta(days=7)  # how long an answer waits to be carried out, while a freeze holds for example


class Word(StrEnum):
    """What a person may answer."""

    ADOPT = "adopt"  # what is there is accepted, and the desired state follows it
    REVERT = "revert"  # it is made as it was granted
    LEAVE = "leave"  # nothing is done, and nobody is asked again while it stays so


@dataclass(frozen=True, slots=True)
class Question:
    """`about` is what is at stake, as JSON values, and what the digest is over; `choices` what each answer leads to."""

    about: Mapping[str, Any]
    choices: Mapping[Word, str]
    digest: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A person's answer to the question of this digest. `about` is what that was about."""

    word: Word
    by: str
    at: datetime
    digest: str
    about: Mapping[str, Any]


def question(about: Mapping[str, Any], choices: Mapping[Word, str]) -> Question:
    return Question(about, choices, digest(about))


def licences(rows: Iterable[Assignment]) -> list[dict[str, Any]]:
    """Assignments as a question names them: an answer is about these, by these ways, with these services off."""
    told = [{"sku": a.sku, "group": a.group, "off": sorted(a.disabled_plans)} for a in rows]
    return sorted(told, key=lambda row: (str(row["sku"]), str(row["group"] or "")))


def answered(decided: Decided | None, asked: Question) -> Decided | None:
    """The answer, if it is one to exactly this question."""
    if decided is None or decided.digest != asked.digest or decided.word not in asked.choices:
        return None
    return decided
