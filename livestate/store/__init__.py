"""Store: the table in Redis: written behind the fold, audited, and restored at the start."""
