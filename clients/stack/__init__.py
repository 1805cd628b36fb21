"""The whole stack on one machine: which processes, on which ports, kept alive by one supervisor."""
