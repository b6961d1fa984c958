"""Write everything that is generated. `--check` writes nothing and fails when a file is not current."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.monitoring.files import files

ROOT = Path(__file__).parent.parent


def main() -> int:
    stale = []
    for name, text in files().items():
        path = ROOT / name
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    if "--check" in sys.argv and stale:
        sys.stderr.write(f"not current: {', '.join(stale)}; run python -m deploy.monitoring\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
