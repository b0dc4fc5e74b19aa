"""Looking up the hosts of connections to object storage."""

from __future__ import annotations

import socket

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from jobs.storage.endpoints import is_forbidden


class GuardedResolver(AbstractResolver):
    """Looks hosts up for connections: a name that changes its address after the check is caught here."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await ThreadedResolver().resolve(host, port, family)
        if any(is_forbidden(answer["host"]) for answer in found):
            raise OSError(f"{host} is at a link-local or metadata address")
        return found

    async def close(self) -> None:
        """Nothing is kept."""
