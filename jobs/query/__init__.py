"""SQL over a run, wherever it lies."""
