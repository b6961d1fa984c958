"""The same cycles on any number of workers: `queue` delivers the work, `turns` does it, `worker` is the process.

A job says no more than which tenant wants to be looked at, so one that is lost, doubled or late does no harm. What a
tenant's next cycle has to know is in the store, and the lease alone says who may write (ADR 36).
"""
