"""What the signs in the audit log stand for, and how a person is erased: by destroying the key, never the rows.

A session carries the veils of its tenants (`session.info["veil"]`) where the configuration says that persons are
pseudonyms. Without them nothing here does anything, and the log holds names as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlmodel import Session, col, select

from reconciler.audit.veil import SIGN, Veil, is_person, is_somebody, owner_of, replaced, signs_in
from reconciler.store.rows.audit import PersonRow, VeilRow

VEIL = "veil"


class Veils:
    """A veil for each tenant, made when it is first needed. Safe for threads: two that are made at once are equal.

    `refuse` names the error for a tenant whose persons are hidden by another key already, None where that is meant.
    """

    def __init__(self, of: Callable[[str], Veil], refuse: Callable[[str], Exception | None] = lambda _: None) -> None:
        self._of, self._refuse, self._known, self._asked = of, refuse, dict[str, Veil](), set[str]()

    def __getitem__(self, tenant: str) -> Veil:
        found = self._known.get(tenant)
        if found is None:
            found = self._known[tenant] = self._of(tenant)
        return found

    def to_hide(self, session: Session, tenant: str) -> Veil:
        """The veil to put somebody behind: it is asked once whether its key is the one of this log."""
        veil = self[tenant]
        if tenant not in self._asked:
            error = self._refuse(tenant)
            if error is not None and not is_read_by(session, tenant, veil):
                raise error
            self._asked.add(tenant)
        return veil


def is_veiled(session: Session) -> bool:
    """Whether persons stand behind signs in what this session writes."""
    return isinstance(session.info.get(VEIL), Veils)


def veil_of(session: Session, tenant: str) -> Veil | None:
    """The veil that a tenant's persons are behind; None when they stand in the log as they are. Raises UserError."""
    found = session.info.get(VEIL)
    return found[tenant] if isinstance(found, Veils) else None


def hide(
    session: Session, tenant: str, subject: str, actor: str, body: Mapping[str, Any], about: Sequence[str]
) -> tuple[str, str, dict[str, Any], tuple[str, ...]]:
    """Subject, actor, body and further subjects of a row as they may stand in the log.

    Raises UserError where the key that is at hand is not the one that hides this log's persons.
    """
    found = session.info.get(VEIL)
    if not isinstance(found, Veils):
        return subject, actor, dict(body), tuple(about)
    veil = found.to_hide(session, tenant)
    put = _Putting(session, tenant, veil).put
    owner = owner_of(subject, body)
    return (
        put("p", subject, subject) if is_person(subject) else subject,
        put("p", actor, actor) if is_somebody(actor) else actor,
        replaced(dict(body), put, owner),
        tuple(put("p", name, name) if is_person(name) else name for name in about),
    )


def signs_for(session: Session, tenant: str, subject: str) -> tuple[str, ...]:
    """Under which subjects the rows about somebody or something are found: as named, and behind the sign."""
    veil = veil_of(session, tenant)
    return (subject,) if veil is None else (subject, veil.pseudonym(tenant, subject))


def known(session: Session, tenant: str, values: Iterable[Any]) -> dict[str, str]:
    """What the signs in these values stand for, where the person was not erased."""
    veil = veil_of(session, tenant)
    signs = sorted({sign for value in values for sign in signs_in(value)}) if veil is not None else []
    found: dict[str, str] = {}
    for start in range(0, len(signs), 500):
        some = signs[start : start + 500]
        query = (
            select(VeilRow, PersonRow.key)
            .where(VeilRow.tenant == tenant, col(VeilRow.sign).in_(some))
            .where(PersonRow.tenant == VeilRow.tenant, PersonRow.pseudonym == VeilRow.pseudonym)
        )
        for row, key in session.exec(query):
            said = veil.unseal(key, row.pseudonym, row.sign, row.cipher) if veil is not None and key else None
            if said is not None:
                found[row.sign] = said
    return found


def is_read_by(session: Session, tenant: str, veil: Veil) -> bool:
    """Whether this veil's key is the one that hides the persons of a tenant; True where none is hidden yet."""
    query = (
        select(VeilRow, PersonRow.key)
        .where(VeilRow.tenant == tenant, col(PersonRow.key).is_not(None))
        .where(PersonRow.tenant == VeilRow.tenant, PersonRow.pseudonym == VeilRow.pseudonym)
    )
    found = session.exec(query.limit(1)).first()
    if found is None:
        return True
    row, key = found
    return key is None or veil.unseal(key, row.pseudonym, row.sign, row.cipher) is not None


def hidden_otherwise(session: Session, tenant: str, veil: Veil) -> int:
    """How many persons of a tenant are hidden by another key than this veil's: nobody is found among them by name."""
    query = select(PersonRow).where(PersonRow.tenant == tenant, col(PersonRow.key).is_not(None))
    return sum(p.key is not None and not veil.opens(p.key, p.pseudonym) for p in session.exec(query))


def erase(session: Session, tenant: str, names: Iterable[str], at: datetime) -> int:
    """Destroy the keys of a person, who is known under these names; how many keys that were.

    Everything that the log holds about them stays, as signs that nobody can read any more. Ciphers go too.
    """
    veil = veil_of(session, tenant)
    if veil is None:
        return 0
    signs = [veil.pseudonym(tenant, name) for name in names]
    owners = set(signs) | {
        row.pseudonym
        for row in session.exec(select(VeilRow).where(VeilRow.tenant == tenant, col(VeilRow.sign).in_(signs)))
    }
    count = 0
    for person in session.exec(
        select(PersonRow).where(PersonRow.tenant == tenant, col(PersonRow.pseudonym).in_(owners))
    ):
        if person.key is not None:
            person.key, person.erased_at = None, at.astimezone(UTC).isoformat()
            count += 1
    for row in session.exec(select(VeilRow).where(VeilRow.tenant == tenant, col(VeilRow.pseudonym).in_(owners))).all():
        session.delete(row)
    session.flush()
    return count


class _Putting:
    """Puts what one row says behind signs, and keeps what they stand for in the same transaction."""

    def __init__(self, session: Session, tenant: str, veil: Veil) -> None:
        self._session, self._tenant, self._veil = session, tenant, veil

    def put(self, kind: str, said: str, owner: str) -> str:
        if SIGN.fullmatch(said):
            return said
        pseudonym = owner if SIGN.fullmatch(owner) else self._veil.pseudonym(self._tenant, owner)
        if kind == "p":
            sign, content = self._veil.pseudonym(self._tenant, said), self._veil.name(said)
            if self._session.get(VeilRow, (self._tenant, sign)) is not None:
                return sign
        else:
            sign, content = self._veil.text(said)
        person = self._session.get(PersonRow, (self._tenant, pseudonym))
        if person is None:
            person = PersonRow(tenant=self._tenant, pseudonym=pseudonym, key=self._veil.new_key(pseudonym))
            self._session.add(person)
        if person.key is not None:  # who was erased is not remembered anew
            cipher = self._veil.seal(person.key, pseudonym, sign, content)
            self._session.add(VeilRow(tenant=self._tenant, sign=sign, pseudonym=pseudonym, cipher=cipher))
        self._session.flush()
        return sign
