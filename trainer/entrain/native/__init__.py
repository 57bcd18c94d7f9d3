"""The native wire: streams become sessions, and Steps become requests."""
