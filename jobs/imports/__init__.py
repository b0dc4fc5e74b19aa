"""What annotation tools give back: readers, one module a format, and what a run makes of it."""
