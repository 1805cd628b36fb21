"""Pure Python and NumPy: specifications, presets, metrics, dropout sites and the mask hash."""
