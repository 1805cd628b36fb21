"""One module per migration; released ones are never edited."""
