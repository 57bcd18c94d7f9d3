"""Placeholder line; replaced by its author."""
