"""The file that keeps a world between commands: one JSON document, replaced in one step.

A crash at any moment leaves the old document or the new one. `format` tells whether this version can read it.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from reconciler.sandbox.world import World

FORMAT = 2


class DamagedWorld(ValueError):
    """The file of the world cannot be read as one."""


def read_world(path: Path) -> tuple[World, str]:
    """The world in a file, and the story it tells. Raises DamagedWorld."""
    try:
        data = msgspec.json.decode(path.read_bytes())
        if data["format"] == FORMAT:
            kept = data["world"]
            return World.from_json({**kept, "wakings": kept.get("wakings", 0) + 1}), str(data["story"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as wrong:
        raise DamagedWorld(f"{path} is damaged and cannot be read: run `sandbox reset` to start over") from wrong
    raise DamagedWorld(f"{path} has format {data['format']}, this version reads {FORMAT}: run `sandbox reset`")


def keep_world(path: Path, world: World, story: str) -> int:
    """Put the world as it is now into the file; its size in bytes."""
    content = msgspec.json.encode({"format": FORMAT, "story": story, "world": world.to_json()})
    write_atomically(path, content)
    return len(content)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one step, readable by its owner only; after a crash it is the old one or the new one."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
