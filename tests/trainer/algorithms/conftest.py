"""Settings of the property tests in this folder."""

from hypothesis import settings

# How long one example takes says nothing here: other work on the machine decides it.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
