"""Segments frames and clips for hospital systems with the release that serves. Keeps no state."""
