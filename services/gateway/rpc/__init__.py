"""SegmentationService over gRPC."""
