"""Rules of the coordinator, without transport, storage or clock."""
