"""What a tenant may do by its configuration, as the store knows it: compared at each cycle, kept, accepted."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from reconciler.config import Settings, Tenant
from reconciler.config.effective import approvals_of, defaults
from reconciler.config.tenants import Guards
from reconciler.errors import UserError
from reconciler.governance.payloads import CONFIGURATION, acceptance
from reconciler.governance.standing import Basis, Standing, acceptors, basis, lower, standing
from reconciler.governance.table import ANSWERS, MODES
from reconciler.promotion.advice import Move, moves, positions
from reconciler.signatures import BadSignature, fingerprint, signed_by, verified
from reconciler.signers import Signer, allowed, parse_signers
from reconciler.store import configs, directories, guards, journal, shadows, watermarks
from reconciler.wiring.measuring import vocabulary

LEFT_OBSERVE = "left-observe"  # since when tickets may cause anything, where the configuration does not say
_DENIALS = ("deny_domains", "deny_users", "deny_groups", "break_glass", "shared_accounts")

if TYPE_CHECKING:
    from sqlmodel import Session

    from reconciler.wiring.app import App


def governed(app: App) -> App:
    """The tenant with what it may do now. The same object where that has not changed."""
    found = standing_of(app)
    if found.is_accepted:
        return app if app.standing is None else replace(app, tenant=_own(app), settings=_all(app), standing=None)
    if app.standing == found:
        return app
    settings = _all(app)
    return replace(
        app, tenant=_narrowed(app, found), settings=_clipped(settings, found), asked=settings, standing=found
    )


def standing_of(app: App) -> Standing:
    """The configuration against the accepted one. Reads the store, changes nothing."""
    current, now = app.effective.read()
    with app.database.read() as session:
        kept = _basis(session, app.name, current, now)
    return standing(now, current, kept.digest, kept.document, defaults())


def basis_of(app: App) -> Basis:
    """What this tenant's configuration is compared with."""
    with app.database.read() as session:
        return _basis(session, app.name, *app.effective.read())


def acting_since(app: App) -> datetime | None:
    """The first instant whose tickets may cause anything. A tenant that never left observe has none yet."""
    since = app.tenant.act_on_tickets_since
    if since == "all":
        return None
    if since is None:
        with app.database.read() as session:
            left = watermarks.load(session, app.name, LEFT_OBSERVE)
        return left.at if left is not None else app.clock.now()
    return datetime.combine(since, time(), tzinfo=UTC)


def note_leaving(app: App) -> None:
    """Remember when the tenant left observe, where the configuration does not say from when on tickets count."""
    if app.tenant.mode != "observe" and app.tenant.act_on_tickets_since is None:
        with app.database.write() as session:
            if watermarks.load(session, app.name, LEFT_OBSERVE) is None:
                watermarks.save(session, app.name, LEFT_OBSERVE, watermarks.Watermark(app.clock.now(), ""))


def note_directory(app: App) -> None:
    """Remember which directory this name stands for; nothing is written when that is known."""
    with app.database.read() as session:
        known = guards.fact(session, app.name, directories.FACT)
    if known is None or known[0].get("id") != app.systems.tenant_id.lower():
        with app.database.write() as session:
            directories.note(session, app.name, app.systems.tenant_id, app.clock.now())


def note_configuration(app: App) -> None:
    """Keep what counts as accepted at a first start, and tell the audit log when the configuration is another one."""
    note_directory(app)
    current, now = app.effective.read()
    with app.database.read() as session:
        is_known = configs.seen(session, app.name) == now and not _basis(session, app.name, current, now).is_new
    if is_known:
        return
    at = app.clock.now()
    with app.database.write() as session:
        kept = _basis(session, app.name, current, now)
        if kept.is_new:
            configs.accept(session, app.name, kept.digest, kept.document, how=kept.how, at=at)
        found = standing(now, current, kept.digest, kept.document, defaults())
        body = {
            "by": [_account()],
            "source": _all(app).source,
            "accepted": kept.digest,
            "mode": found.mode,
            "answers": found.answers,
            "changes": [change.sentence for change in found.changes[:100]],
            "is_accepted": found.is_accepted,
        }
        configs.note(session, app.name, now, current, body, at)


def note_start(app: App) -> None:
    """Tell the audit log by which configuration the service starts."""
    note_configuration(app)
    found = standing_of(app)
    body = {"digest": found.digest, "accepted": found.accepted, "mode": found.mode, "answers": found.answers}
    with app.database.write() as session:
        at = app.clock.now()
        journal.append(session, app.name, kind="config.started", subject="configuration", body=body, at=at)


def signers_of(app: App) -> tuple[Signer, ...]:
    """Who may sign for requests, as the accepted configuration has it, whatever a newer one says."""
    return parse_signers("\n".join(basis_of(app).document["signers"]))


def lifting_takes_two(app: App) -> bool:
    """Whether the kill switch takes two people: as the configuration has it, and as the accepted one has it too, which
    nobody changes by a quick edit. A mode that was only lowered comes back without a signature."""
    own, kept = _own(app), basis_of(app).document["tenant"]
    return (own.guards.second_person and own.mode == "enforce") or bool(
        kept.get("guards", {}).get("second_person") and kept["mode"] == "enforce"
    )


def to_accept(app: App) -> bytes:
    """The bytes that people sign to accept the configuration as it is now."""
    _, now = app.effective.read()
    return acceptance(app.name, now, basis_of(app).digest)


def accept(app: App, signatures: Sequence[str]) -> tuple[str, ...]:
    """Accept the configuration as it is now; who signed for it.

    Raises:
        UserError: nobody may accept, a signature is none or somebody else's, or more people have to sign.
    """
    current, now = app.effective.read()
    at = app.clock.now()
    with app.database.write() as session:
        kept = _basis(session, app.name, current, now)
        if kept.digest == now:
            raise UserError("this configuration is accepted already; there is nothing to sign")
        says = acceptors(kept, current)
        named = [str(name) for name in says["tenant"]["approvals"].get("accept_configuration", ())]
        keys = allowed(parse_signers("\n".join(says["signers"])), CONFIGURATION, at, named)
        if not keys:
            raise UserError(
                f"nobody can accept it: approvals.accept_configuration names {', '.join(named) or 'nobody'}, and the "
                "allowed_signers_file of the accepted configuration has no valid key of theirs for the namespace "
                f"{CONFIGURATION}"
            )
        who = _signed(acceptance(app.name, now, kept.digest), signatures, keys)
        needed = min(2, len(set(named)))
        if len(who) < needed:
            raise UserError(
                f"{needed} people have to sign, and {len(who)} did: {', '.join(who) or 'nobody'}", exit_code=3
            )
        if kept.is_new:
            configs.accept(session, app.name, kept.digest, kept.document, how=kept.how, at=at)
        found = standing(now, current, kept.digest, kept.document, defaults())
        sentences = [change.sentence for change in found.changes[:100]]
        seen = [m.sentence for m in _moves(session, app, kept.document, current, at)[:100]]
        configs.accept(session, app.name, now, current, how="signed", at=at, by=who, changes=sentences, evidence=seen)
    return who


def further(app: App) -> tuple[Move, ...]:
    """Where the configuration lets products go further than the accepted one, each with what people made of it."""
    current, now = app.effective.read()
    with app.database.read() as session:
        kept = _basis(session, app.name, current, now)
        return _moves(session, app, kept.document, current, app.clock.now()) if kept.digest != now else ()


def _moves(
    session: Session, app: App, before: Mapping[str, Any], after: Mapping[str, Any], at: datetime
) -> tuple[Move, ...]:
    offered = vocabulary(_all(app), [app.name]).configured
    watching = _own(app).promotion.watching()
    seen = shadows.since(session, app.name, at - watching.window)
    return moves(positions(before, offered), positions(after, offered), seen, watching)


def _signed(payload: bytes, signatures: Sequence[str], keys: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    who: list[str] = []
    for signature in signatures:
        try:
            name = signed_by(payload, signature, keys, CONFIGURATION)
            if name is None:
                key = fingerprint(verified(payload, signature, CONFIGURATION))
                raise UserError(f"the key {key} is of nobody who may accept this configuration", exit_code=1)
        except BadSignature as error:
            raise UserError(f"a signature does not count: {error}", exit_code=1) from None
        if name not in who:
            who.append(name)
    return tuple(sorted(who))


def _basis(session: Session, tenant: str, current: Mapping[str, Any], now: str) -> Basis:
    last = _kept(configs.accepted(session, tenant))
    return basis(last, current, _elsewhere(session, tenant, current), named=now)


def _elsewhere(session: Session, tenant: str, current: Mapping[str, Any]) -> Iterator[Basis]:
    """Read only where somebody asks: once in the life of a tenant. Where the store knows already which names stand for
    the directory of this configuration, nothing is read of others."""
    known, graph = guards.fact(session, tenant, directories.FACT), current["tenant"].get("graph") or {}
    is_known = known is not None and known[0].get("id") == str(graph.get("tenant_id") or "").lower()
    names = directories.names(session, tenant)[1:] if is_known else configs.others(session, tenant)
    yield from (kept for found in configs.newest(session, names) if (kept := _kept(found)) is not None)


def _kept(last: configs.Accepted | None) -> Basis | None:
    return Basis(last.digest, last.document, last.how) if last is not None and last.document else None


def _all(app: App) -> Settings:
    """The configuration as it was read, whatever of it may be used."""
    return app.asked if app.asked is not None else app.settings


def _own(app: App) -> Tenant:
    return _all(app).tenants[app.name]


def _narrowed(app: App, found: Standing) -> Tenant:
    """The tenant as it may run: with the people of the accepted configuration, who are the only ones that decide."""
    own, before = _own(app), basis_of(app).document["tenant"]
    mode, answers = found.mode, found.answers
    try:
        approvals = approvals_of(before)
    except (ValidationError, KeyError, TypeError):  # kept by another version: nobody is known who may decide
        approvals, mode, answers = own.approvals, "observe", "silent"
    agents = tuple(dict.fromkeys((*own.servicenow.agents, *before["servicenow"].get("agents", ()))))
    guests = own.sign_in.guests and bool(before.get("sign_in", {}).get("guests"))
    return own.model_copy(
        update={
            "mode": mode,
            "answers": answers,
            "approvals": approvals,
            "guards": _still_denied(own.guards, before.get("guards", {})),
            "servicenow": own.servicenow.model_copy(update={"agents": agents}),
            "sign_in": own.sign_in.model_copy(update={"guests": guests}),
        }
    )


def _still_denied(own: Guards, before: Mapping[str, Any]) -> Guards:
    """Whoever was never to be changed stays so, whoever approves, until people accepted that they are not."""
    update: dict[str, Any] = {
        name: tuple(dict.fromkeys((*getattr(own, name), *before.get(name, ())))) for name in _DENIALS
    }
    return own.model_copy(
        update=update | {"deny_role_holders": own.deny_role_holders or bool(before.get("deny_role_holders"))}
    )


def _clipped(settings: Settings, found: Standing) -> Settings:
    """No product goes further than its tenant may."""
    products = {
        key: overlay.model_copy(
            update={
                "mode": None if overlay.mode is None else lower(MODES, overlay.mode, found.mode),
                "answers": None if overlay.answers is None else lower(ANSWERS, overlay.answers, found.answers),
            }
        )
        for key, overlay in settings.products.items()
    }
    return settings.model_copy(update={"products": products})


def _account() -> str:
    """The account that runs the program, for the record: a name and no proof."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return f"{name}@{os.uname().nodename}"
