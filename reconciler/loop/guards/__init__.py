"""What stops a change although a rule allows it: scope, budgets, short sources, stops, breakers. Pure.

Each guard is decided here from values; `loop/guarding.py` reads what they need and keeps what they did, `gate` asks
them before a lane's first write, and the choke-point in `send` before every write.
"""

from reconciler.loop.guards.budgets import Limits, Used, affordable, counted, within
from reconciler.loop.guards.lanes import lane_digest, lane_of, lanes_of

__all__ = ["Limits", "Used", "affordable", "counted", "lane_digest", "lane_of", "lanes_of", "within"]
