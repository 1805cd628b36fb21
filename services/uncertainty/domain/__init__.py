"""What a scoring run is and how its frames flow; knows no transport, codec or server."""
