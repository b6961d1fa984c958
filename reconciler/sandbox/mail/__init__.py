"""The mailbox: whatever the tenant was sent, by SMTP or by Graph, and pages on which people read it.

Facts: approvals.md section 5. `records.Post` is what the world remembers, `smtp` the server, `service` the pages.
"""
