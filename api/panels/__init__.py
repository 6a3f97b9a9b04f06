"""The panels beside the table of calls: their documents, and what operators say in files."""
