"""The audit log as mathematics and text: chain, tree, signed checkpoints, proofs, exports, and their checks. Pure.

Nothing here knows a database or a socket: rows come as mappings, notes as text, and an auditor can run all of it from
an export and a public key.
"""
