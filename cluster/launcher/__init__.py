"""Clusters in clouds, by Ray's launcher."""
