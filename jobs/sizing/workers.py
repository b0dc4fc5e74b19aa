"""Who works in a simulated job: replicas that do whole units, or decoders, replicas and writers."""

from __future__ import annotations

from typing import Protocol

import simpy

from jobs.resources import EPSILON, ResourcePlan
from jobs.sizing.world import Hands, Node, Step, World

UNITS_UNDER_WAY = 2
"""Of a replica that does whole units (`jobs.stages.actors.WholeUnitActor`)."""


class Staff(Protocol):
    """The workers of a job.

    Attributes:
        widths: how many there are of each part that `World.busy_s` counts.
        units_at_once: that can be under way.
    """

    widths: dict[str, float]
    units_at_once: int

    def employ(self, world: World) -> None:
        """Put them to work."""


class WholeUnitWorkers:
    """Without GPUs: each replica has a core, which one of its two units holds while it computes."""

    def __init__(self, resources: ResourcePlan) -> None:
        self._actors = resources.actors
        self.widths = {"cores": float(resources.actors)}
        self.units_at_once = resources.actors * UNITS_UNDER_WAY

    def employ(self, world: World) -> None:
        for index in range(self._actors):
            core = simpy.Resource(world.env)
            for _ in range(UNITS_UNDER_WAY):
                world.employ(index, _Whole(world, core).do)


class _Whole:
    def __init__(self, world: World, core: simpy.Resource) -> None:
        self._world, self._core = world, core

    def do(self, node: Node, hands: Hands) -> Step:
        world, work, times = self._world, self._world.work, self._world.times
        yield from world.next_unit(hands)
        began_s = world.env.now
        yield world.env.timeout(min(work.ahead_s, work.reading_s))  # nothing is there to decode yet
        slow = world.slowness()
        with self._core.request() as turn:
            yield turn
            waited_s = world.env.now - began_s
            rest_s = max(0.0, work.reading_s - min(waited_s, work.ahead_s))
            yield from world.spend("cores", world.unit_s(times.decode_s) * slow, at_least_s=rest_s)
        yield from world.arrive(node, began_s)
        with self._core.request() as turn:
            yield turn
            yield from world.spend("cores", world.unit_s(times.infer_s) * slow)
        if world.fails(hands):
            yield world.env.timeout(world.hazards.restart_s)
            return
        with self._core.request() as turn:
            yield turn
            yield from world.spend("cores", times.encode_s)
        yield world.env.timeout(times.put_s)
        world.publish(hands)


class StageWorkers:
    """With GPUs: tasks decode and write on the cores that replicas leave; places between them are bounded."""

    def __init__(self, resources: ResourcePlan, *, num_cpus: float, max_units_between: int) -> None:
        free = num_cpus - resources.actors * resources.cpus_per_actor
        share = resources.publish_cpus / (resources.publish_cpus + resources.decode_cpus)
        self._writers = max(1, round(free * share))
        left = free - self._writers * resources.publish_cpus
        self._decoders = max(1, int(left / resources.decode_cpus + EPSILON))
        self._actors = resources.actors
        self._places = max(self._decoders + self._actors, max_units_between)
        self.widths = {
            "decoding": float(self._decoders),
            "replicas": float(self._actors),
            "writing": float(self._writers),
        }
        self.units_at_once = self._decoders + self._actors

    def employ(self, world: World) -> None:
        world.places = simpy.Container(world.env, capacity=self._places, init=self._places)
        stages = _Stages(world, world.places)
        counts = (
            (self._decoders, stages.decode),
            (self._actors, stages.infer),
            (self._writers, stages.write),
        )
        for count, work in counts:
            for index in range(count):
                world.employ(index, work)


class _Stages:
    def __init__(self, world: World, places: simpy.Container) -> None:
        self._world, self._places = world, places
        self._decoded, self._inferred = simpy.Store(world.env), simpy.Store(world.env)

    def decode(self, node: Node, hands: Hands) -> Step:
        world, work = self._world, self._world.work
        with self._places.get(1) as place:
            yield place
        hands.has_place = True
        yield from world.next_unit(hands)
        began_s = world.env.now
        yield world.env.timeout(world.times.read_s)
        decoding_s = world.unit_s(world.times.decode_s) * world.slowness()
        yield from world.spend("decoding", decoding_s, at_least_s=work.reading_s)
        yield from world.arrive(node, began_s)
        self._decoded.put(hands.unit)
        hands.unit, hands.has_place = None, False  # the place goes with the unit

    def infer(self, node: Node, hands: Hands) -> Step:
        del node
        world = self._world
        yield from world.take(self._decoded.get(), hands)
        hands.has_place = True
        yield from world.spend("replicas", world.unit_s(world.times.infer_s) * world.slowness())
        if world.fails(hands):
            yield world.env.timeout(world.hazards.restart_s)
            return
        self._places.put(1)
        self._inferred.put(hands.unit)
        hands.unit, hands.has_place = None, False

    def write(self, node: Node, hands: Hands) -> Step:
        del node
        world = self._world
        yield from world.take(self._inferred.get(), hands)
        yield from world.spend("writing", world.times.encode_s)
        yield world.env.timeout(world.times.put_s)
        world.publish(hands)
