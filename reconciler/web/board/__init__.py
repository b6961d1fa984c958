"""The pages that show where everything stands: the board, lists of tickets, seats, the audit log, and the guards.

They are whole without a script. `access` says who reads them; nothing but `guards` changes anything.
"""
