"""The simulator's side of entrain: say what agents observe, send timesteps, get actions.

Import from the modules: `client` and `spec` connect a simulator of your own, `environment` and the
adapters run Python environments, `codec` reads and writes the wire.
"""
