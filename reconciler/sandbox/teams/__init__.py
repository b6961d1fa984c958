"""Teams, as far as a Workflows webhook reaches: flows with secret addresses, and what became of each message.

Facts: approvals.md section 1.2. `flow_address` is what an operator would copy out of a flow.
"""

from __future__ import annotations

from reconciler.sandbox.teams.records import Flow, Message, flow_address
from reconciler.sandbox.teams.workflows import Workflows

__all__ = ["Flow", "Message", "Workflows", "flow_address"]
