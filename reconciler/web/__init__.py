"""The pages: sign-in, approvals, the inbox and the chain of one ticket. They write decisions and cannot execute.

Server-rendered, usable by keyboard and screen reader, without JavaScript. `app.create_app` builds them from a `Site`;
`server.WebServer` runs them in a thread of its own, so the loop keeps the main one.
"""
