"""EchoLoop's services: one package per process, plus what they share (`services.platform`)."""
