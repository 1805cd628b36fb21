"""Scores unlabeled frames by Monte-Carlo dropout on a served uncertainty model. Keeps no state."""
