"""Closed tickets replayed, read-only: how many say "granted" while nobody has access, why, and what would be done.

`judge.py`, `trail.py`, `costs.py` and `sums.py` decide over values (pure), `exported.py` reads a file of tickets,
`replay.py` looks at both systems and writes to neither, `shapes.py`, `page.py` and `charts.py` show the result.
"""
