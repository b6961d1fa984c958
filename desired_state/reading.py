"""Answers on a form read as dates, periods, prices and persons, or the sentence why not. Pure.

Every sentence names the variable, what it says and what is expected, so that a requester can mend it. What a form
says is data (invariant I17): it is made one short line before it appears anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, InvalidOperation

from desired_state.durations import period_days
from desired_state.model import Claim, Period, Person, Why
from desired_state.text import one_line

YEARS_AHEAD_MAX = 10
_SHOWN = 60
_SYS_ID = re.compile(r"[0-9a-f]{32}")
_USER_NAME = re.compile(r"[\w.@\\'+/-]{1,60}")  # without spaces, so that no display name is taken for one
_UPN = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,190}[A-Za-z0-9])?")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An answer that could not be taken as it is."""

    why: Why
    sentence: str


def read_day(name: str, answer: str, *, zone: tzinfo) -> date | Unreadable:
    """A day: "2026-12-31", or an instant, whose day in `zone` counts.

    ServiceNow stores instants as UTC without saying so (servicenow.md section 6).
    """
    text = answer.strip()
    try:
        if _DAY.fullmatch(text):
            return date.fromisoformat(text)
        if _INSTANT.fullmatch(text):
            at = datetime.fromisoformat(text)
            return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(zone).date()
    except (ValueError, OverflowError):
        pass  # a 31st of February, or a year that no zone can shift
    return Unreadable(
        Why.POLICY_REFUSED,
        f"The answer to '{name}' is '{one_line(answer, _SHOWN)}'; a date like 2026-12-31 is expected. "
        "Please answer with the date.",
    )


@dataclass(frozen=True, slots=True)
class PeriodNames:
    """The variables that a period is read from."""

    start: str | None
    end: str | None
    duration: str | None


def read_period(names: PeriodNames, answers: Mapping[str, str], *, at: datetime, zone: tzinfo) -> Period | Unreadable:
    """The period that was asked for; no answer means no limit on that side.

    Both an end and a duration are accepted only when they say the same (to a day, as forms count either way).
    """
    days: dict[str, date | None] = {}
    for name in (names.start, names.end):
        text = answers.get(name, "") if name else ""
        if not name or not text.strip():
            continue
        day = read_day(name, text, zone=zone)
        if isinstance(day, Unreadable):
            return day
        if day.year > at.year + YEARS_AHEAD_MAX:
            hint = "Please answer with an earlier date, or leave it empty for no end."
            return Unreadable(Why.POLICY_REFUSED, f"The answer to '{name}' is {day}, which is too far ahead. {hint}")
        days[name] = day
    start = days.get(names.start or "")
    end = days.get(names.end or "")
    length = _read_length(names.duration, answers)
    if isinstance(length, Unreadable):
        return length
    if start and end and end < start:
        return Unreadable(
            Why.POLICY_REFUSED,
            f"'{names.end}' is {end}, before '{names.start}', which is {start}. Please answer with the right dates.",
        )
    if end and length is not None:
        if start is None or abs((end - start).days - length) > 1:
            return Unreadable(
                Why.POLICY_REFUSED,
                f"'{names.end}' is {end} and '{names.duration}' is {length} days; only one of them can count. "
                "Please answer with the date it should end.",
            )
        length = None
    return Period(starts_on=start, ends_on=end, duration_days=length)


def _read_length(name: str | None, answers: Mapping[str, str]) -> int | Unreadable | None:
    text = answers.get(name, "") if name else ""
    if not name or not text.strip():
        return None
    days = period_days(text)
    if days is None or days > 366 * YEARS_AHEAD_MAX:
        return Unreadable(
            Why.POLICY_REFUSED,
            f"The answer to '{name}' is '{one_line(text, _SHOWN)}'; a number of days, or '4 weeks', or '3 months' is "
            "expected. Please answer with the period.",
        )
    return days


def read_price(answer: str) -> Decimal | None:
    """A price a month, None when it is none. Zero is none too: ServiceNow stores 0 where no price is kept."""
    text = answer.strip()
    if not re.fullmatch(r"\d{1,9}([.,]\d{1,4})?", text):
        return None
    try:
        price = Decimal(text.replace(",", "."))
    except InvalidOperation:
        return None
    return price or None


def user_name(answer: str) -> str:
    """The user name of ServiceNow that an answer may be, "" when it is a sys_id, a sign-in name or no such name."""
    text = answer.strip()
    if _SYS_ID.fullmatch(text.lower()) or _UPN.fullmatch(text):
        return ""
    return text if _USER_NAME.fullmatch(text) else ""


def read_person(
    name: str, answer: str, people: Mapping[str, Person], named: Mapping[str, Person | None]
) -> Claim | Unreadable:
    """Whom one answer names: a sys_id, a user name of ServiceNow, or a sign-in name.

    A reference variable can hold another key than a sys_id (servicenow.md section 15, trap 15), so an exact user name
    is taken when one person has it; `named` are those who were looked up, None for one that is not shown. A display
    name is never taken: two people can share one (I18). A sign-in name names an account by itself.
    """
    text = answer.strip()
    if _SYS_ID.fullmatch(text.lower()):
        person = people.get(text) or people.get(text.lower())
        if person is None:
            return _not_shown(name)
        return Claim(None, person)
    if len(text) <= 254 and _UPN.fullmatch(text):
        known = [person for person in people.values() if person.user_name == text]
        return Claim(text, known[0] if len(known) == 1 else None)
    if text in named:
        meant = named[text]
        return Claim(None, meant) if meant is not None else _not_shown(name)
    return Unreadable(
        Why.IDENTITY_MISMATCH,
        f"The answer to '{name}' is '{one_line(answer, _SHOWN)}', which could mean several people. "
        "Please answer with the sign-in name, like ada@contoso.com.",
    )


def _not_shown(name: str) -> Unreadable:
    return Unreadable(Why.UNKNOWN, f"The person in '{name}' could not be read in ServiceNow, so nobody is looked up.")
