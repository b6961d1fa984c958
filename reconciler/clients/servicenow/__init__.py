"""ServiceNow: tickets in, answers out. Start with `client.ServiceNow`."""

from reconciler.clients.servicenow.answers import HIDDEN, Hidden, ItemState
from reconciler.clients.servicenow.approving import Asked, Change, Impersonation, StandsIn
from reconciler.clients.servicenow.client import ServiceNow
from reconciler.clients.servicenow.dialect import SERVICENOW_DIALECT, SYSTEM, ServiceNowDialect
from reconciler.clients.servicenow.keys import Watermark
from reconciler.clients.servicenow.probes import Probe
from reconciler.clients.servicenow.reading import Moved, TicketPage
from reconciler.clients.servicenow.records import Stamp, TicketFields
from reconciler.clients.servicenow.sizes import LARGEST, Sizes

__all__ = [
    "HIDDEN",
    "LARGEST",
    "SERVICENOW_DIALECT",
    "SYSTEM",
    "Asked",
    "Change",
    "Hidden",
    "Impersonation",
    "ItemState",
    "Moved",
    "Probe",
    "ServiceNow",
    "ServiceNowDialect",
    "Sizes",
    "Stamp",
    "StandsIn",
    "TicketFields",
    "TicketPage",
    "Watermark",
]
