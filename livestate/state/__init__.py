"""The live state: calls, nodes, views and figures, folded from events. Nothing here waits."""
