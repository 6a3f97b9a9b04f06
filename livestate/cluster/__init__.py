"""One engine folds, any number of edges serve: versioned frames on NATS, and one question."""
