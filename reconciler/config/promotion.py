"""`[tenants.NAME.promotion]`: what counts as evidence for a step from observe to enforce."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Annotated

from pydantic import Field, model_validator

from reconciler.config.values import Section, Share, Span
from reconciler.promotion.values import Watching


class Promotion(Section):
    """When what people did counts as enough to go a step further, and how long it is looked for and kept."""

    wait: Annotated[Span, Field(ge=timedelta(hours=1))] = timedelta(days=7)  # how long people have to act
    window: Span = timedelta(days=60)  # what was judged before that says nothing about today
    keep: Span = timedelta(days=180)  # how long a judgement is kept
    decided_min: Annotated[int, Field(ge=5, le=100_000)] = 30  # accounts with a line that people decided, by product
    agreement_min: Annotated[float, Field(ge=0.5, lt=1)] = 0.9  # its lower bound, one-sided, at 95 %
    canary_share: Annotated[Share, Field(gt=0)] = Decimal("0.1")  # that enforce is advised to begin with

    @model_validator(mode="after")
    def _is_kept_as_long_as_it_counts(self) -> Promotion:
        if not self.wait <= self.window <= self.keep:
            raise ValueError("wait, window and keep have to grow in this order")
        return self

    def watching(self) -> Watching:
        return Watching(self.wait, self.keep, self.window, self.decided_min, self.agreement_min, self.canary_share)
