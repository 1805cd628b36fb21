"""Experiments: many campaigns on the real stack, and what they say together."""
