"""The chain of one ticket: what was asked, whom it means, what was found, decided, sent and seen, and what is left.

`chain` reads it from the store; `events` are the sentences of the log, `told` the JSON; `obstacles` say what is in the
way and whose move it is, `passing` with which values a rule would let it through.
"""

from reconciler.explain.chain import Chain, LineChain, explain
from reconciler.explain.events import Event
from reconciler.explain.obstacles import Obstacle, obstacles, why_not
from reconciler.explain.told import as_json, owner_of

__all__ = ["Chain", "Event", "LineChain", "Obstacle", "as_json", "explain", "obstacles", "owner_of", "why_not"]
