"""How a tenant asks people, from its configuration."""

from __future__ import annotations

from datetime import timedelta, tzinfo

from reconciler.approvals.clocks import EVERY_DAY, Calendar, Clocks
from reconciler.approvals.routes import Label, RouteBook, StageSpec
from reconciler.approvals.values import Assurance, Channel, Terms
from reconciler.config.tenants import Approvals, StageSettings

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
STAGES = ("manager", "cost_center_owner", "license_admin", "telecom", "security_officer", "service_desk")


def route_book(settings: Approvals, zone: tzinfo) -> RouteBook:
    """Every stage with what holds for it, and who is asked where no rule says."""
    questions = settings.questions
    return RouteBook(
        stages={name: _stage(name, settings, zone) for name in STAGES},
        default={
            Label.PROPOSAL: settings.proposals,
            Label.UNAPPROVED: settings.proposals,
            Label.UNCLEAR: questions,
            Label.PERSON: questions,
            Label.SUGGEST: questions,
            Label.RULE: questions,
        },
        desk=settings.service_desk,
        terms=Terms(
            comment_min=settings.comment_min,
            opener_may_approve=settings.opener_may_approve,
            config_change_s=_seconds(settings.recent_config_change),
            valid_s=_seconds(settings.valid_for),
        ),
        voids_on_lost_role=settings.void_on_lost_role,
    )


def _stage(name: str, settings: Approvals, zone: tzinfo) -> StageSpec:
    own = {str(stage): value for stage, value in settings.stages.items()}.get(name, StageSettings())
    approvers = {str(stage): names for stage, names in settings.approvers.items()}.get(name, ())
    channels = settings.channels if own.channels is None else own.channels
    return StageSpec(
        name=name,
        resolver=own.resolver,
        quorum=own.quorum,
        approvers=approvers,
        group=own.group,
        fallback=own.fallback or settings.fallback,
        escalate_to=own.escalate_to or settings.escalate_to,
        channels=tuple(Channel(channel) for channel in channels),
        assurance=Assurance(own.assurance),
        ticket_suffices=own.accepts_ticket_approval,
        needs_comment=own.needs_comment,
        clocks=Clocks(
            remind_percent=settings.remind_percent,
            escalate_after=own.escalate_after or settings.escalate_after,
            expire_after=own.expire_after or settings.expire_after,
            calendar=Calendar(
                frozenset(_DAYS.index(day) for day in settings.working_days) or EVERY_DAY,
                frozenset(settings.holidays),
                zone,
            ),
        ),
    )


def _seconds(span: timedelta | None) -> int:
    return int(span.total_seconds()) if span is not None else 0
