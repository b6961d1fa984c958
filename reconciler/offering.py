"""What a proposal has to look like, field by field, whichever way it comes. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr, WithJsonSchema

from desired_state.text import one_line

REASON_MAX, COST_CENTER_MAX = 1000, 60
PRICE_MAX = Decimal("10000")
_WORDS = {
    "extra_forbidden": "there is no such field",
    "missing": "it is missing",
    "json_invalid": "the body is not JSON",
}
UPN = r"^[A-Za-z0-9._'+!#^~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$"
KEY = r"^[A-Za-z0-9._:-]{8,100}$"


def _person(value: Any) -> Any:
    if isinstance(value, list):
        raise ValueError("a proposal is for one person; propose for each of them")  # noqa: TRY004 - pydantic's word
    return value


def _day(value: Any) -> Any:
    if value is not None and not (isinstance(value, str) and len(value) == 10):
        raise ValueError("a day is written as 2026-12-31")
    return value


def _price(value: Any) -> Any:
    """Text, as money is; a number that is not exact is no price."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError('a price is text, as in "57.00"')  # noqa: TRY004 - pydantic's word
    whole, _, cents = value.partition(".")
    is_digits = value.isascii() and whole.isdigit() and len(whole) <= 6 and ("." not in value or cents.isdigit())
    if not is_digits or len(cents) > 2 or not 0 < Decimal(value) <= PRICE_MAX:
        raise ValueError(f"a price a month is above 0 and at most {PRICE_MAX}, with two digits after the point at most")
    return Decimal(value)


Day = Annotated[date, BeforeValidator(_day)]
Price = Annotated[
    Decimal, BeforeValidator(_price), WithJsonSchema({"type": "string", "pattern": r"^[1-9][0-9]{0,3}(\.[0-9]{1,2})?$"})
]


class ProposalBody(BaseModel):
    """One suggestion: for one person, one product."""

    model_config = ConfigDict(extra="forbid")

    person: Annotated[StrictStr, BeforeValidator(_person), Field(max_length=113, pattern=UPN)]
    product: Annotated[StrictStr, Field(max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")]
    reason: Annotated[StrictStr, Field(min_length=10, max_length=REASON_MAX)]
    tenant: Annotated[StrictStr, Field(max_length=64)] | None = None
    starts_on: Day | None = None
    ends_on: Day | None = None
    duration_days: Annotated[StrictInt, Field(ge=1, le=3650)] | None = None
    cost_center: Annotated[StrictStr, Field(max_length=COST_CENTER_MAX)] = ""
    source_ticket: Annotated[StrictStr, Field(pattern=r"^([A-Z]{2,8}[0-9]{4,20})?$")] = ""
    price_max_monthly: Price | None = None


def faults(errors: Any) -> list[tuple[str, str]]:
    """What pydantic found, as (field, sentence); the field is "" where the whole is wrong."""
    return [(_field(error["loc"]), _said(error)) for error in list(errors)[:20]]


def sentence(found: list[tuple[str, str]]) -> str:
    """The first of them, as one sentence."""
    field, said = found[0] if found else ("", "it cannot be read")
    return f"{field}: {said}." if field else f"{said[:1].upper()}{said[1:]}."


def _field(where: Sequence[object]) -> str:
    """The field's own name; where the body itself is wrong there is none."""
    names = [str(part) for part in where if part not in ("body", "header", "path", "query") and isinstance(part, str)]
    return one_line(".".join(names), 60)


def _said(error: Mapping[str, Any]) -> str:
    words = _WORDS.get(str(error.get("type")))
    text = words or str(error.get("msg", "")).removeprefix("Value error, ")
    return one_line(text, 200).rstrip(".") or "it is not valid"
