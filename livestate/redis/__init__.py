"""Redis: the connection to a Redis or Valkey, for whatever speaks it: store, sessions, doctor."""
