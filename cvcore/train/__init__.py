"""Training without an engine: samples, augmentation, schedule, weights' average, and the loop's steps."""
