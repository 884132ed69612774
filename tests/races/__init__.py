"""Races: verbs that meet in the database, each with a connection of its own.

A race is a function of a `Scene` (users, clients and browsers of its own) that returns what went wrong, in words. The
suite runs each a few rounds; `python -m tests.races` runs many, on a database that it makes for itself.
"""
