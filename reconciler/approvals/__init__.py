"""Who has to say yes to one change, who may, and what an answer does: frozen values and pure decisions.

An approval is of one digest, lives in one table of moves, and is judged in one place. Nothing here reads or writes
anything: `reconciler.store.approvals` keeps it, `reconciler.loop.approving` opens, ages and voids it.
"""
