"""Dashboards, rules and their proofs, from one source. `python -m deploy.monitoring` writes what is committed.

Every series that is named here is exported by `reconciler.metrics.series`; a test holds the two together, another one
compares the committed files with what this writes, and `make check-service` runs every expression against a Prometheus
that scraped the service.
"""
