"""Durable jobs: what they are, how they move, who runs them. No SQL, gRPC, torch or Triton here."""
