"""What tickets are told: which answers a change calls for, in which words, with which evidence. Pure.

`decide` says what is owed, `words` how it is put, `evidence` what is attached; `values` are what they hand to the
outbox and to those who give the answers.
"""

from reconciler.answers.decide import answers, level_of, signature, told
from reconciler.answers.evidence import AuditHead
from reconciler.answers.owners import owner, owner_of
from reconciler.answers.values import (
    ITEM,
    LEVELS,
    NOTE_LENGTH_MAX,
    REQUEST,
    Answer,
    Deed,
    Manners,
    Names,
)

__all__ = [
    "ITEM",
    "LEVELS",
    "NOTE_LENGTH_MAX",
    "REQUEST",
    "Answer",
    "AuditHead",
    "Deed",
    "Manners",
    "Names",
    "answers",
    "level_of",
    "owner",
    "owner_of",
    "signature",
    "told",
]
