"""Where messages to people go: a webhook for each queue's channel, and one to the chat of each person with a role."""

from __future__ import annotations

from reconciler.sandbox.world import World

CHANNELS = {"desk": "M365 Licence Desk", "telecom": "Telecom", "identity": "Identity", "operations": "Operations"}


def add_flows(world: World) -> None:
    """The flows of a tenant; `chat-anna.berger` is the chat of anna.berger."""
    for flow_id, name in CHANNELS.items():
        world.teams.add_flow(flow_id, name)
    for user in world.directory.store.users.values():
        if user.app_roles:
            name = user.upn.split("@")[0]
            world.teams.add_flow(f"chat-{name}", user.display_name, kind="chat", person_id=user.user_id)
