"""What a segmentation is and how frames flow; knows no transport, codec or server."""
