"""Seats: how many are free, who is next, when one may come free, and who holds one without using it. Pure.

A decision about a seat is made from values alone; reading and keeping them is `loop.seating`'s and the store's.
"""
