"""The rows of what only a person may decide, and of what they said."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field

from desired_state.rows import Row, UtcDateTime


class QuestionRow(Row, table=True):
    """The newest question about a line. `about` and `choices` are JSON; `word` is "" until a person has answered."""

    __tablename__ = "question"

    tenant: str = Field(primary_key=True)
    ticket: str = Field(primary_key=True)
    line: int = Field(primary_key=True)
    digest: str
    about: str
    choices: str
    state: str
    asked_at: datetime = Field(sa_type=UtcDateTime)
    word: str = ""
    by: str = ""
    reason: str = ""
    decided_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    why: str = ""
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
