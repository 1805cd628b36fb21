"""Searches: trials kept durably, proposed, scheduled and run."""
