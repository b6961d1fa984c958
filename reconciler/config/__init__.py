"""The configuration: config.toml and the environment -> one frozen Settings. Only wiring and the commands import it."""

from reconciler.config.load import load
from reconciler.config.model import Audit, Notify, Sandbox, Schedule, Settings, Store, Web
from reconciler.config.tenants import Approvals, Graph, Guards, ServiceNow, Tenant

__all__ = [
    "Approvals",
    "Audit",
    "Graph",
    "Guards",
    "Notify",
    "Sandbox",
    "Schedule",
    "ServiceNow",
    "Settings",
    "Store",
    "Tenant",
    "Web",
    "load",
]
