"""ML-Agents: what games that were built with it send and expect, without torch and without gRPC.

Its own words are used here and nowhere else in the SDK: a brain is a behaviour, a record is a row.
"""
