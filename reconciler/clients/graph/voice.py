"""What Teams knows of a person's telephone. Source: Graph v1.0 reference, "teamsUserConfiguration: get"."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import UNSET, UnsetType

VOICE_SELECT = "id,isEnterpriseVoiceEnabled,telephoneNumbers"


@dataclass(frozen=True, slots=True)
class Voice:
    """None is "not shown"."""

    is_enabled: bool | None
    numbers: tuple[str, ...] | None


class _Number(msgspec.Struct, gc=False, rename="camel"):
    telephone_number: str | None = None


class VoiceRow(msgspec.Struct, gc=False, rename="camel"):
    id: str
    is_enterprise_voice_enabled: bool | UnsetType | None = UNSET
    telephone_numbers: list[_Number] | UnsetType | None = UNSET


def voice(row: VoiceRow) -> Voice:
    enabled, numbers = row.is_enterprise_voice_enabled, row.telephone_numbers
    return Voice(
        is_enabled=None if enabled is UNSET else enabled,
        numbers=tuple(n.telephone_number for n in numbers if n.telephone_number) if isinstance(numbers, list) else None,
    )
