"""Amounts of CPU and memory as Kubernetes writes them."""

from __future__ import annotations


def cpus(count: float) -> str:
    """CPUs: `4`, or `500m` for thousandths."""
    return f"{count:g}" if float(count).is_integer() else f"{max(1, round(count * 1000))}m"


def gib(amount: float) -> str:
    """Memory: `16Gi`, or `1536Mi` for what is no whole GiB."""
    return f"{amount:g}Gi" if float(amount).is_integer() else f"{round(amount * 1024)}Mi"


def requests_and_limits(limits: dict[str, str]) -> dict[str, dict[str, str]]:
    """Asked for, and not exceeded: a pod that gets less than it counts on is ended when it matters."""
    return {"requests": dict(limits), "limits": dict(limits)}
