"""Microsoft Graph v1.0, the part that licence reconciliation needs, over a world.

`GraphService` turns requests into responses. What it imitates, with sources, is the table in docs/sandbox-graph.md.
"""

from __future__ import annotations

from reconciler.sandbox.graph.service import GraphService

__all__ = ["GraphService"]
