"""What every stored row shares: one metadata with named constraints, and instants that cannot lose their zone.

Rows are declared in two places, the ledger's here and all others in `reconciler.store.rows`; both belong to one
schema, so both derive from `Row`. Nothing but the ledger and the store imports this module.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    Table,
    TextClause,
    TypeDecorator,
    and_,
    bindparam,
    text,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import SQLModel

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Row(SQLModel):
    """The base of all rows. Rows never leave the modules that declare and store them."""

    metadata: ClassVar[MetaData] = MetaData(naming_convention=NAMES)


def table_of(row: type[Row]) -> Table:
    """The table of a row, for statements that are built once, at import, and load values instead of objects.

    Building a statement anew costs several times what running it does, and so does tracking the objects it loads.
    """
    table: Table = row.__table__  # type: ignore[attr-defined]
    return table


def is_row(table: Table) -> ColumnElement[bool]:
    """The condition of one row by its key; the values are bound as `of_` and the column's name."""
    return and_(*(column == bindparam(f"of_{column.name}") for column in table.primary_key))


def unless_there(table: Table) -> TextClause:
    """A statement that adds a row unless one of its key is there, or is just being added by somebody else."""
    names = [column.name for column in table.columns]
    values = ", ".join(f":{name}" for name in names)
    sql = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) ON CONFLICT DO NOTHING"  # noqa: S608 names of ours
    return text(sql).bindparams(*(bindparam(column.name, type_=column.type) for column in table.columns))


class UtcDateTime(TypeDecorator[datetime]):
    """An aware instant in UTC, on every database.

    SQLite keeps no offset and would silently drop one, so instants are converted before they are bound and are
    given UTC when they are read. A naive datetime is a defect and is refused.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant without a time zone cannot be stored")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        assert isinstance(value, datetime)
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class RowId(TypeDecorator[int]):
    """A number the database gives out, growing: 64 bits everywhere (SQLite does so for INTEGER only)."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Integer() if dialect.name == "sqlite" else BigInteger())
