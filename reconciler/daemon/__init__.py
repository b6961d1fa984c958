"""The service: cycles for ever, on a timetable. `service.Service` is the loop; the rest are its parts."""

from reconciler.daemon.service import Service
from reconciler.daemon.wishes import Stopping, Wishes, signals

__all__ = ["Service", "Stopping", "Wishes", "signals"]
