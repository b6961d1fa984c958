"""Worlds that are ready to use: Contoso with its 34 tickets, a generated tenant of any size, and an empty one."""

from __future__ import annotations

from reconciler.sandbox.stories import later
from reconciler.sandbox.stories.channels import add_flows
from reconciler.sandbox.stories.desk import Desk, add_access
from reconciler.sandbox.stories.generated import generated
from reconciler.sandbox.stories.past import history
from reconciler.sandbox.stories.people import START
from reconciler.sandbox.stories.tenancy import Tenancy
from reconciler.sandbox.world import World

__all__ = ["build", "contoso", "empty", "generated", "history"]


def contoso(*, seed: int = 1) -> World:
    """The tenant that tells every story, on Monday 2026-11-02 at 09:00 UTC. The same seed gives the same ids."""
    world = World(START, seed=seed)
    tenancy, desk = Tenancy(world), Desk(world.instance)
    tenancy.build()
    desk.build()
    later.schedule(world, tenancy, desk)
    add_flows(world)
    return world


def empty(*, seed: int = 1) -> World:
    """A tenant without people, groups, subscriptions or tickets, to which the published credentials sign in."""
    world = World(START, seed=seed)
    add_access(world.instance)
    add_flows(world)
    return world


def build(story: str) -> World:
    """The world of a story's name: "contoso", "empty", "users:N" or "users:N:SEED" ("generated" means "users").

    Raises:
        ValueError: there is no such story.
    """
    match story.split(":"):
        case ["contoso"]:
            return contoso()
        case ["empty"]:
            return empty()
        case ["users" | "generated", count] if count.isdigit():
            return generated(int(count), 1)
        case ["users" | "generated", count, seed] if count.isdigit() and seed.isdigit():
            return generated(int(count), int(seed))
    raise ValueError(f"the sandbox tells no story {story!r}; it has contoso, empty and users:N")
