"""Fan-out: a view's changes become frames, and frames go to the streams that watch the view."""
