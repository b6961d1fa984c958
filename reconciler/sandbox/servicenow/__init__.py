"""The pretend ServiceNow instance: its truth (`Instance`) and its REST API (`ServiceNowService`).

Built from servicenow.md alone; it never imports our clients.
"""

from reconciler.sandbox.servicenow.instance import Instance
from reconciler.sandbox.servicenow.service import ServiceNowService

__all__ = ["Instance", "ServiceNowService"]
