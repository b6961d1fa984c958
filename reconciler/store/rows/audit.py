"""The rows of the audit log: records, checkpoints, second places, and the keys of the people in it."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, LargeBinary, Text
from sqlmodel import Field

from desired_state.rows import Row, RowId


class AuditRecord(Row, table=True):
    """One row of the audit log. Triggers refuse UPDATE and DELETE; `hash` covers every other column."""

    __tablename__ = "audit"
    __table_args__ = (
        Index(None, "tenant", "subject"),
        Index(None, "tenant", "kind", "at"),
        {"sqlite_strict": True},
    )

    tenant: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(primary_key=True, sa_type=RowId)
    at: str = Field(sa_type=Text)  # UTC, microseconds, as hashed
    kind: str = Field(sa_type=Text)
    subject: str = Field(sa_type=Text)
    actor: str = Field(sa_type=Text)
    cycle: str = Field(sa_type=Text)
    body: str = Field(sa_type=Text)  # canonical JSON, as hashed
    prev: str = Field(sa_type=Text)
    hash: str = Field(sa_type=Text)


class AuditAbout(Row, table=True):
    """An index into the audit log: further lines that a row is about. Evidence is the row's body, not this."""

    __tablename__ = "audit_about"
    __table_args__ = (Index(None, "tenant", "seq"),)

    tenant: str = Field(primary_key=True)
    subject: str = Field(primary_key=True)
    seq: int = Field(primary_key=True, sa_type=BigInteger)


class CheckpointRow(Row, table=True):
    """A signed checkpoint of a tenant's log. `root`, `head` are hex, `frontier` a JSON list of hex; never changed."""

    __tablename__ = "audit_checkpoint"
    __table_args__ = ({"sqlite_strict": True},)

    tenant: str = Field(primary_key=True, sa_type=Text)
    size: int = Field(primary_key=True, sa_type=RowId)
    root: str = Field(sa_type=Text)
    head: str = Field(sa_type=Text)
    at: str = Field(sa_type=Text)
    frontier: str = Field(sa_type=Text)
    note: str = Field(sa_type=Text)


class SegmentRow(Row, table=True):
    """What is left of rows that retention removed. `proofs` is JSON: size of a checkpoint inside -> hashes."""

    __tablename__ = "audit_segment"
    __table_args__ = ({"sqlite_strict": True},)

    tenant: str = Field(primary_key=True, sa_type=Text)
    last: int = Field(primary_key=True, sa_type=RowId)
    first: int = Field(sa_type=RowId)
    head: str = Field(sa_type=Text)
    frontier: str = Field(sa_type=Text)
    note: str = Field(sa_type=Text)
    proofs: str = Field(sa_type=Text)
    sealed_at: str = Field(sa_type=Text)
    by: str = Field(sa_type=Text)


class SinkRow(Row, table=True):
    """How far a second place has the log: rows up to `seq`, checkpoints up to size `checkpoint`.

    `failing_since` is "" while it takes what it is given.
    """

    __tablename__ = "audit_sink"
    __table_args__ = ({"sqlite_strict": True},)

    tenant: str = Field(primary_key=True, sa_type=Text)
    sink: str = Field(primary_key=True, sa_type=Text)
    seq: int = Field(default=0, sa_type=RowId)
    checkpoint: int = Field(default=0, sa_type=RowId)
    failing_since: str = Field(default="", sa_type=Text)
    error: str = Field(default="", sa_type=Text)


class PersonRow(Row, table=True):
    """The key of one pseudonym, wrapped by the installation's own; gone once the person was erased."""

    __tablename__ = "audit_person"
    __table_args__ = ({"sqlite_strict": True},)

    tenant: str = Field(primary_key=True, sa_type=Text)
    pseudonym: str = Field(primary_key=True, sa_type=Text)
    key: bytes | None = Field(default=None, sa_type=LargeBinary)
    erased_at: str = Field(default="", sa_type=Text)


class VeilRow(Row, table=True):
    """What a sign in the log stands for, encrypted with the key of the person that it belongs to."""

    __tablename__ = "audit_veil"
    __table_args__ = (Index(None, "tenant", "pseudonym"), {"sqlite_strict": True})

    tenant: str = Field(primary_key=True, sa_type=Text)
    sign: str = Field(primary_key=True, sa_type=Text)
    pseudonym: str = Field(sa_type=Text)
    cipher: bytes = Field(sa_type=LargeBinary)
