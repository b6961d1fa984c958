"""What all users of a tenant looked like the last time: a hint for the next pass, never a fact. Pure."""

from reconciler.observed.memory import CHANGES_MAX, Draft, Holdings, Listing, Memory

__all__ = ["CHANGES_MAX", "Draft", "Holdings", "Listing", "Memory"]
