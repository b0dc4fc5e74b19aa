"""Runs in the formats of annotation tools: one module a format, all of them streams."""
