"""The conformance kit: a scripted trainer that drives a simulator through the contract's rules.

`entrain-env check` runs it. It serves whatever dials, over gRPC or WebSocket, in any language, and
says of each rule whether it was kept, broken (what arrived, and the remedy) or not shown.
"""
