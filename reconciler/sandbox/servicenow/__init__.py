"""A pretend ServiceNow instance: its records and rules, and the HTTP APIs that programs reach them by.

`Instance` is the truth, `ServiceNowService` answers for it (servicenow.md sections 1 to 13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.sandbox.servicenow.instance import Instance

if TYPE_CHECKING:
    from reconciler.sandbox.servicenow.service import ServiceNowService

__all__ = ["Instance", "ServiceNowService"]


def __getattr__(name: str) -> Any:
    # The service imports the instance's parts from this package, so it is loaded when first asked for.
    if name == "ServiceNowService":
        from reconciler.sandbox.servicenow.service import ServiceNowService

        return ServiceNowService
    raise AttributeError(name)
