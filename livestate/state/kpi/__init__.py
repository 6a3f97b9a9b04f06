"""Key figures of a scope, folded from the changes of its calls."""
