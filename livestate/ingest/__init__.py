"""Ingest: NATS messages and CDRs to the table: consumer, backlog, pipeline, CDR reader, monitor."""
