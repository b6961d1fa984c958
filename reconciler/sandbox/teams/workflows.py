"""The flows of a world: they take messages, and some time later each run ends well or badly.

Holds, always: a message that was answered 202 is in the list, whatever becomes of it; its run happens once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec

from reconciler.clock import Clock
from reconciler.sandbox.switches import Switches
from reconciler.sandbox.teams.judging import counted_size, judge
from reconciler.sandbox.teams.records import Flow, FlowKind, Message

SPACE = UUID("7ea35000-0000-4000-8000-000000000000")
Schedule = Callable[[datetime, dict[str, Any]], None]


class Workflows:
    """Flows and messages of one world. Not thread-safe: the service holds the world's lock."""

    def __init__(self, clock: Clock, switches: Switches, schedule: Schedule) -> None:
        self._clock = clock
        self._switches = switches
        self._schedule = schedule
        self.flows: dict[str, Flow] = {}
        self.messages: list[Message] = []
        self._recent: dict[str, list[datetime]] = {}

    def add_flow(
        self, flow_id: str, name: str, *, kind: FlowKind = "channel", person_id: str = "", responds: bool = False
    ) -> Flow:
        """Let somebody have made a flow."""
        flow = self.flows[flow_id] = Flow(flow_id, name, kind, person_id, responds=responds)
        return flow

    def wait_s(self, flow: Flow) -> float:
        """Seconds until this flow takes one more request; 0 is now."""
        rate, now = self._switches.teams_rate_per_s, self._clock.now()
        second = timedelta(seconds=1)
        recent = self._recent[flow.flow_id] = [at for at in self._recent.get(flow.flow_id, ()) if now - at < second]
        if rate is None or len(recent) < rate:
            return 0.0
        if not rate:
            return 1.0
        return (recent[-rate] + second - now) / second

    def take(self, flow: Flow, body: bytes, content_type: str, *, at_once: bool) -> Message:
        """Accept a request; its run ends now or after the usual time."""
        now = self._clock.now()
        self._recent.setdefault(flow.flow_id, []).append(now)
        text = body.decode("utf-8", "replace")
        same = (m.number for m in self.messages if m.flow_id == flow.flow_id and m.body == text)
        message = Message(
            number=len(self.messages) + 1,
            flow_id=flow.flow_id,
            received_at=now,
            content_type=content_type,
            body=text,
            size=counted_size(body, content_type),
            duplicate_of=next(same, None),
        )
        self.messages.append(message)
        if at_once:
            self._run(message)
        else:
            due = now + timedelta(seconds=self._switches.teams_run_s)
            self._schedule(due, {"kind": "teams_run", "message": message.number})
        return message

    def run_due(self, event: Mapping[str, Any]) -> None:
        """The run of a message ends."""
        self._run(self.messages[event["message"] - 1])

    def _run(self, message: Message) -> None:
        if message.state != "accepted":
            return
        flow = self.flows[message.flow_id]
        fate = judge(message.body, size=message.size, size_max=self._switches.teams_size_max)
        reason = fate.reason or self._switches.teams_run_fails
        if flow.kind == "private_channel":  # section 1.2: a known limit of the flow bot
            reason = reason or "The flow bot cannot post in a private channel."
        message.settled_at = self._clock.now()
        message.reason = reason
        message.state = "failed" if reason else "posted"
        if not reason:
            message.message_id = str(uuid5(SPACE, f"{message.flow_id}/{message.number}"))
            message.card, message.text = fate.card, fate.text
            message.dropped_buttons, message.ignored_attachments = fate.dropped_buttons, fate.ignored_attachments

    def to_json(self) -> dict[str, Any]:
        """Flows and messages, JSON-plain."""
        return {
            "flows": msgspec.to_builtins(list(self.flows.values())),
            "messages": msgspec.to_builtins(self.messages),
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Become what `to_json` wrote."""
        self.flows = {flow.flow_id: flow for flow in msgspec.convert(data["flows"], list[Flow])}
        self.messages = msgspec.convert(data["messages"], list[Message])
