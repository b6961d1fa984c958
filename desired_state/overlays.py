"""What a site changes about a product, as `[products.KEY]` of config.toml declares it. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from desired_state.durations import duration
from desired_state.model import Path, Tier


def _as_duration(value: Any) -> timedelta:
    """Only text: a bare number would leave the unit to the reader."""
    if isinstance(value, timedelta):
        return value
    span = duration(value if isinstance(value, str) else "")
    if span <= timedelta(0):
        raise ValueError('a duration longer than nothing is expected, for example "15m"')
    return span


def _as_price(value: Any) -> Any:
    """A TOML float is read by its digits, so 13.7 is 13.70 and not 13.69999…"""
    return Decimal(str(value)) if isinstance(value, float) else value


Span = Annotated[timedelta, BeforeValidator(_as_duration)]
Price = Annotated[Decimal, BeforeValidator(_as_price), Field(ge=0, le=1_000_000)]
Share = Annotated[Decimal, BeforeValidator(_as_price), Field(ge=0, le=1, decimal_places=4)]

OnDrift = Literal["ask", "adopt", "revert"]


class ProductOverlay(BaseModel):
    """Changes to one product; None leaves the built-in word. SKUs are ids or part numbers, in order of preference.

    `like` makes a new product from an old one (a subsidiary with its own group). `sku_names` (id -> part number)
    names SKUs that the built-in table does not have. `mode`, `answers` and `enforce_share` narrow the tenant's for this
    product.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    like: str | None = None
    name: str | None = None
    aliases: tuple[str, ...] = ()  # added to the built-in ones
    path: Path | None = None
    group: str | None = None  # display name or object id; resolved against the directory
    price: Price | None = None  # list price a month
    tier: Tier | None = None
    window: Span | None = None  # how long provisioning may take before it counts as failed
    group_window: Span | None = None  # how long a group may take before it counts as failed
    enabling_group: str | None = None  # joining it switches the product's plans on for who has them by a group
    probe: str | None = None  # the workload probe that proves V3
    waived_plans: tuple[str, ...] = ()  # proof plans that may stay pending for ever; names or ids
    new_plans: Literal["on", "off"] | None = None
    on_drift: OnDrift | None = None
    on_drift_by: Mapping[Literal["person", "app", "group_licensing", "us"], OnDrift] = Field(default_factory=dict)
    owner: str | None = None  # who mends the workload
    grace: Span | None = None  # from the end of the period to the revoke
    remind: Span | None = None  # how long before the end the ticket is reminded
    skus: tuple[str, ...] | None = None
    sku_names: Mapping[str, str] = Field(default_factory=dict)
    retired: Mapping[str, date] = Field(default_factory=dict)  # plan or SKU -> the day from which it proves nothing
    replaces: tuple[str, ...] = ()
    held: str = ""
    mode: Literal["observe", "suggest", "enforce"] | None = None
    answers: Literal["silent", "note", "task", "full"] | None = None
    enforce_share: Share | None = None
