"""Microsoft Graph: people, seats, licences, groups. Start with `client.Graph`."""

from reconciler.clients.graph.client import GUID, Graph
from reconciler.clients.graph.delta import Tracked, tracked
from reconciler.clients.graph.dialect import GRAPH_DIALECT, SYSTEM, GraphDialect
from reconciler.clients.graph.glance import Glance
from reconciler.clients.graph.permissions import ENFORCE, EVIDENCE, OBSERVE, PERMISSIONS, missing
from reconciler.clients.graph.refusals import Refusal, RefusalReason, read_refusal
from reconciler.clients.graph.scan import ScanRow, ScanState, UserPage
from reconciler.clients.graph.voice import Voice

__all__ = [
    "ENFORCE",
    "EVIDENCE",
    "GRAPH_DIALECT",
    "GUID",
    "OBSERVE",
    "PERMISSIONS",
    "SYSTEM",
    "Glance",
    "Graph",
    "GraphDialect",
    "Refusal",
    "RefusalReason",
    "ScanRow",
    "ScanState",
    "Tracked",
    "UserPage",
    "Voice",
    "missing",
    "read_refusal",
    "tracked",
]
