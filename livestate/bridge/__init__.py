"""Bridge: one SIP node to NATS: source, relay, outbox, and the spool of its CDRs."""
