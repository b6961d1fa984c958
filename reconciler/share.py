"""Who is among the first when only a share of the people is enforced for. Pure.

A person has one place between 0 and 1 in a directory, and is in as long as it lies below the share: whoever is in stays
in while the share grows, and nobody else's coming or going moves them. The place is the same for every product, so that
the people who go first are the same ones, and does not follow from anything that people choose. This is no limit on how
much changes at once: the guards' canary, which sends 1, 10 and 10 % of a plan first, is another thing.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

WHOLE = Decimal(1)
_SALT = b"license-reconciler enforce_share 1"
_PLACES = 2**64


@dataclass(frozen=True, slots=True)
class Side:
    """On which side of a share a person is. Both numbers are from 0 to 1; `place` is rounded, for people."""

    share: Decimal
    place: Decimal
    is_in: bool

    def sentence(self) -> str:
        """Why it is enforced for this person, or why a person is asked."""
        share, place = (f"{number * 100:.2f}".rstrip("0").rstrip(".") for number in (self.share, self.place))
        if self.is_in:
            return f"The person is at {place} % and so among the first {share} % that are enforced for (enforce_share)."
        return (
            f"Mode enforce is for the first {share} % of the people (enforce_share), and this person is at {place} %: "
            "every change needs a person."
        )

    def as_json(self) -> dict[str, Any]:
        return {"share": str(self.share), "place": str(self.place), "is_in": self.is_in}


def side(share: Decimal, *, directory: str, subject: str) -> Side:
    """`subject` is an object id in the directory of this id; case does not matter to either."""
    text = b"\0".join((_SALT, directory.lower().encode(), subject.lower().encode()))
    number = int.from_bytes(hashlib.sha256(text).digest()[:8], "big")
    place = (Decimal(number) / _PLACES).quantize(Decimal("0.0001"))
    return Side(share, place, number < share * _PLACES)
