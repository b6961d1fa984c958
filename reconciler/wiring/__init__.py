"""Builds every object; nothing else does. From a configuration to something that can run cycles.

Against the embedded sandbox the only difference is the transport, the addresses, the credentials and the clock: the
clients are the ones that ship.
"""

from reconciler.wiring.app import App
from reconciler.wiring.governing import governed
from reconciler.wiring.opening import open_app
from reconciler.wiring.stores import connect_store, open_store, pick_tenant
from reconciler.wiring.systems import Systems, reset_sandbox, sandbox_state, sandbox_twin, sandbox_world, systems

__all__ = [
    "App",
    "Systems",
    "connect_store",
    "governed",
    "open_app",
    "open_store",
    "pick_tenant",
    "reset_sandbox",
    "sandbox_state",
    "sandbox_twin",
    "sandbox_world",
    "systems",
]
