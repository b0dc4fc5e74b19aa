"""Manifests for Kubernetes: pure functions from a job's spec and options to what `kubectl apply` takes.

What KubeRay's operator adds or refuses beyond its CRDs is of its version 1.7.
"""
