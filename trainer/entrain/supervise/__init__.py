"""`entrain serve`: every settings file of a directory is a run that should exist."""
