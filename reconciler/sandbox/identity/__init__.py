"""People signing in with a browser: the authorization-code flow with PKCE, its pages, its keys, its ID tokens.

`records.SignIns` is what the world remembers of it, `authorize.Authorizer` the page and what follows from it,
`id_tokens` the proof. Facts: approvals.md section 3.
"""
