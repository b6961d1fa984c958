"""Microsoft Entra as it really is: users, groups, subscriptions, licences, and what happens to them.

`Directory` is the way in; the other modules are its parts.
"""

from __future__ import annotations

from reconciler.sandbox.directory.audit import Actor, Change
from reconciler.sandbox.directory.directory import Directory
from reconciler.sandbox.directory.records import Assignment, Group, PlanState, Sku, User
from reconciler.sandbox.directory.refusals import Refused

__all__ = ["Actor", "Assignment", "Change", "Directory", "Group", "PlanState", "Refused", "Sku", "User"]
