"""From observe to suggest to enforce, with evidence: what would have been done, what people did, what that carries.

Pure. `effects` says what would be done for a line, `judge` and `desk` what people made of it in the directory and in
the ticket, `agreement` how often both were the same and how sure that is, `advice` which step that carries.
"""
