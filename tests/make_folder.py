"""A folder kept in memory, so that what is costly to make is made once in a test process and copied by each test."""

from __future__ import annotations

from pathlib import Path

Folder = tuple[tuple[str, int, bytes | None], ...]  # name, mode, content; None: a folder


def folder_of(path: Path) -> Folder:
    """What is in a folder now. Whoever has files of it open has closed them."""
    inside = sorted(p for p in path.rglob("*") if p.is_dir() or p.is_file())
    return tuple(
        (str(p.relative_to(path)), p.stat().st_mode & 0o777, None if p.is_dir() else p.read_bytes()) for p in inside
    )


def put(folder: Folder, path: Path) -> None:
    """The same files in another folder, which is made where it is not there yet."""
    path.mkdir(parents=True, exist_ok=True)
    for name, mode, content in folder:
        target = path / name
        if content is None:
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(content)
        target.chmod(mode)
