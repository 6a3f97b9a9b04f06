"""Kamailio as a source: evapi, translation of its frames, its dialog variables."""
