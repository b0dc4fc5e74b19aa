"""Getting a cluster ready while the job is still being prepared."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import ray

from cvcore.models import ModelSource
from jobs.board import Tally
from jobs.model_facts import ModelFacts, model_facts
from jobs.progress import Listener
from jobs.ray_session import RaySession, embedded, ray_session
from jobs.resources import ResourcePlan, plan_resources
from jobs.spec import ResourcesSection


@dataclass(frozen=True)
class Launched:
    """A cluster that is ready for a job: what each stage gets, the model in its object store, the board."""

    session: RaySession
    resources: ResourcePlan
    model: Any
    tally: Tally


class Launch:
    """Starts or joins a cluster when the model is to be checked; leaves it at the end.

    Args:
        sessions: leaves the cluster when it is closed, for a caller who goes on with it.

    Raises:
        SpecError: when the job's resources do not fit the cluster.
    """

    def __init__(
        self,
        asked: ResourcesSection,
        *,
        address: str | None,
        verbose: bool,
        listener: Listener,
        sessions: contextlib.ExitStack | None = None,
    ) -> None:
        self._asked = asked
        self._address = address
        self._verbose = verbose
        self._listener = listener
        self._open = contextlib.ExitStack()
        self._sessions = sessions or self._open
        self._launched: Launched | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    @property
    def launched(self) -> Launched:
        assert self._launched is not None, "the cluster is launched by inspecting the model"
        return self._launched

    def inspect(self, source: ModelSource) -> ModelFacts:
        """`jobs.model_facts.model_facts`, while the cluster starts."""
        own = embedded(self._address)
        self._listener.step(f"Starting {'an embedded Ray' if own else 'on the Ray cluster'}")
        with ThreadPoolExecutor(1) as pool:
            facts = pool.submit(model_facts, source)
            session = self._sessions.enter_context(ray_session(address=self._address, verbose=self._verbose))
            resources = plan_resources(self._asked, session.shape)
            self._launched = Launched(session, resources, ray.put(source), Tally.start())
            import jobs.execute  # noqa: F401  # Ray Data takes a second to import: meanwhile the board starts

            return facts.result()
