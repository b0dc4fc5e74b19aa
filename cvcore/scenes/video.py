"""Video scenes: the same parts on a belt that runs, under a crossbar, seen by a camera that shakes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cvcore.scenes.belt import TEXTURE_SCALE, BeltSurface, make_surface, random_belt, view_surface
from cvcore.scenes.canvas import CLUTTER_ID, Canvas, Item
from cvcore.scenes.clutter import crossbar
from cvcore.scenes.geometry import Matrix, project, similarity, tilt
from cvcore.scenes.lens import Lens, expose, random_lens, smear
from cvcore.scenes.material import METALS, Light, Material, random_light
from cvcore.scenes.motion import CameraPath, Flicker, Ride, random_path, random_ride
from cvcore.scenes.placement import SceneSpec, mixed, place_parts, scatter_clutter

PAINTS = (
    Material((0.62, 0.48, 0.10), 0.05, 12.0, 0.03),
    Material((0.16, 0.26, 0.42), 0.08, 14.0, 0.03),
    Material((0.36, 0.38, 0.39), 0.10, 14.0, 0.04),
    METALS[5],
)
"""What crossbars are painted with."""

MIN_VISIBLE_PX = 16.0
"""As in still scenes: parts of which fewer pixels are seen do not count, whatever their size."""


@dataclass(frozen=True, slots=True)
class VideoSceneSpec:
    """What video scenes have in common, whatever their seed.

    Attributes:
        num_frames, fps: of the video.
        width, height: pixels.
        parts_in_view, clutter_in_view: parts, and things of no class, on a picture's length of belt.
        min_crossing_s, max_crossing_s: how long the belt takes to cross the picture.
        min_size, max_size: size of a gear over the picture's shorter side.
        max_overlap: most of a new part's bounding circle that may lie in another's, 0 to 1.
        moving: share of the parts that slip or are pushed on the belt, 0 to 1.
        bar: width of the crossbar over the belt's visible length; 0 for none.
        shake_px, drift_px: of the camera.
        flicker: greatest relative change of the lamp's brightness.
        shutter: share of a frame's time during which the shutter is open, 0 to 1.
        min_visible: parts of which less than this fraction is seen do not count.
        tilt: greatest relative change of depth from the picture's centre to its edges.
        degrade: strength of blur, noise and colour cast; 0 for none.
    """

    num_frames: int = 180
    fps: float = 12.0
    width: int = 480
    height: int = 360
    parts_in_view: float = 5.0
    clutter_in_view: float = 2.0
    min_crossing_s: float = 4.0
    max_crossing_s: float = 6.5
    min_size: float = 0.18
    max_size: float = 0.3
    max_overlap: float = 0.25
    moving: float = 0.2
    bar: float = 0.04
    shake_px: float = 0.8
    drift_px: float = 5.0
    flicker: float = 0.06
    shutter: float = 0.15
    min_visible: float = 0.5
    tilt: float = 0.06
    degrade: float = 0.6

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.fps <= 0:
            raise ValueError(f"num_frames and fps must be positive, got {self.num_frames} and {self.fps}")
        if min(self.width, self.height) < 64:
            raise ValueError(f"width and height must be at least 64 pixels, got {self.width} x {self.height}")
        if not 0 < self.min_crossing_s <= self.max_crossing_s:
            raise ValueError(
                f"crossing times must be positive and rise, got {self.min_crossing_s}, {self.max_crossing_s}"
            )
        if not 0 < self.min_size <= self.max_size <= 0.5:
            raise ValueError(
                f"sizes must be positive, rise, and be at most 0.5, got {self.min_size} and {self.max_size}"
            )
        if min(self.parts_in_view, self.clutter_in_view, self.shake_px, self.drift_px, self.degrade) < 0:
            raise ValueError(
                "parts_in_view, clutter_in_view, shake_px, drift_px and degrade must not be negative"
            )
        for name, most in (
            ("max_overlap", 1.0),
            ("moving", 1.0),
            ("bar", 0.5),
            ("flicker", 0.5),
            ("shutter", 1.0),
            ("min_visible", 1.0),
            ("tilt", 0.2),
        ):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be between 0 and {most}, got {getattr(self, name)}")


DEFAULT_VIDEO_SPEC = VideoSceneSpec()


@dataclass(frozen=True, slots=True)
class VideoSceneFrame:
    """A rendered frame, and every part of which it shows a pixel.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float32, xyxy, pixels, half open: the tight bounds of each part's visible pixels.
        label_ids: (N,) int64, indices into PART_NAMES.
        track_ids: (N,) int64, from 1: the same part always, another part never; rising.
        visibility: (N,) float64, above 0, at most 1: seen pixels over the whole part's, those outside of the
            picture included.
        counts: (N,) bool: enough is seen (`min_visible`, whose default is stricter than that of still
            scenes). Where it is False, who finds the part is not wrong, and who does not is not either.
        track_map: (H, W) int32: the track id that each pixel shows, 0 for none.
    """

    image: npt.NDArray[np.uint8]
    boxes: npt.NDArray[np.float32]
    label_ids: npt.NDArray[np.int64]
    track_ids: npt.NDArray[np.int64]
    visibility: npt.NDArray[np.float64]
    counts: npt.NDArray[np.bool_]
    track_map: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class _World:
    """All that a seed decides but the sensor's noise.

    Attributes:
        to_picture: from the belt's plane at time 0 (x along the belt, y across, pixels, about the middle).
        reach_px: half the belt's visible length.
        items: posed in the belt's plane, in the order of drawing; `rides` are their motions.
        track_ids: of the items; 0 for clutter.
        bar: the crossbar, posed in the picture's plane.
    """

    seed: int
    surface: BeltSurface
    light: Light
    lens: Lens
    camera: Matrix
    path: CameraPath
    flicker: Flicker
    speed_px_s: float
    to_picture: Matrix
    reach_px: float
    items: tuple[Item, ...]
    rides: tuple[Ride, ...]
    track_ids: npt.NDArray[np.int32]
    bar: Item | None


def render_video_scene(seed: int, spec: VideoSceneSpec = DEFAULT_VIDEO_SPEC) -> Iterator[VideoSceneFrame]:
    """Render the video of `seed`, frame by frame: the same seed and spec always give the same bytes.

    Args:
        seed: any integer from 0 up.
        spec: the settings.
    """
    world = _build_world(seed, spec)
    for index in range(spec.num_frames):
        yield _render_frame(world, spec, index)


def _build_world(seed: int, spec: VideoSceneSpec) -> _World:
    rng = np.random.default_rng([seed, 0])
    height, width = spec.height, spec.width
    belt, light = random_belt(rng), random_light(rng)
    belt = dataclasses.replace(belt, angle=belt.angle + math.pi * int(rng.integers(2)))
    # The smear is painted here, before the crossbar, which stands still.
    lens = dataclasses.replace(random_lens(rng, belt_angle=belt.angle, strength=spec.degrade), motion_px=0.0)
    pitch, yaw = rng.uniform(-spec.tilt, spec.tilt, 2).tolist()
    along, across = abs(math.cos(belt.angle)), abs(math.sin(belt.angle))
    reach_px = (along * width + across * height) / 2
    crossing_s = rng.uniform(spec.min_crossing_s, spec.max_crossing_s)
    speed = 2 * reach_px / crossing_s
    travel = speed * (spec.num_frames - 1) / spec.fps
    surface = make_surface(belt, height, width, rng, travel_px=travel)
    half_across = (across * width + along * height) / 2
    items = _place_items(rng, spec, surface, reach_px, half_across, travel)
    rides = [
        random_ride(
            rng,
            middle_s=-float(item.pose[0, 2]) / speed,
            crossing_s=crossing_s,
            size_px=item.scale_px,
            share=spec.moving,
        )
        for item in items
    ]
    is_part = np.array([item.label_id != CLUTTER_ID for item in items], dtype=np.bool_)
    return _World(
        seed=seed,
        surface=surface,
        light=light,
        lens=lens,
        camera=tilt(width, height, pitch=pitch, yaw=yaw),
        path=random_path(rng, shake_px=spec.shake_px, drift_px=spec.drift_px),
        flicker=Flicker(spec.flicker * rng.uniform(0.5, 1), rng.uniform(0.8, 4), rng.uniform(0, 2 * math.pi)),
        speed_px_s=speed,
        to_picture=similarity(scale=1.0, angle=belt.angle, x=width / 2, y=height / 2),
        reach_px=reach_px,
        items=tuple(items),
        rides=tuple(rides),
        track_ids=np.where(is_part, np.cumsum(is_part), 0).astype(np.int32),
        bar=_place_bar(rng, spec, belt.angle, reach_px, half_across) if spec.bar > 0 else None,
    )


def _place_items(
    rng: np.random.Generator,
    spec: VideoSceneSpec,
    surface: BeltSurface,
    reach_px: float,
    half_across: float,
    travel_px: float,
) -> list[Item]:
    """Parts and clutter all along the belt, posed in its plane, those that come last at negative x."""
    shorter = min(spec.height, spec.width)
    margin = 1.3 * spec.max_size * shorter
    length = math.ceil(travel_px + 2 * (reach_px + margin))
    top, bottom = _free_belt(surface, half_across, 0.5 * spec.max_size * shorter)
    num_parts = round(spec.parts_in_view * length / (2 * reach_px))
    num_clutter = round(spec.clutter_in_view * length / (2 * reach_px))
    breadth = max(1, round(bottom - top))
    scale = shorter / min(length, breadth)
    still = SceneSpec(
        min_parts=num_parts,
        max_parts=num_parts,
        min_clutter=num_clutter,
        max_clutter=num_clutter,
        min_size=spec.min_size * scale,
        max_size=spec.max_size * scale,
        max_overlap=spec.max_overlap,
    )
    parts = place_parts(rng, still, breadth, length)
    zoom = shorter * rng.uniform(spec.min_size, spec.max_size)
    clutter = scatter_clutter(rng, still, breadth, length, zoom)
    shift = similarity(scale=1.0, angle=0.0, x=reach_px + margin - length, y=top)
    return [dataclasses.replace(item, pose=shift @ item.pose) for item in mixed(rng, parts, clutter)]


def _free_belt(surface: BeltSurface, half_across: float, margin: float) -> tuple[float, float]:
    """Where parts' centres may lie across the belt: in the picture, and `margin` away from the rails."""
    if surface.rails is None:
        return -half_across, half_across
    profile = surface.rails[:, 0] > 0.03
    across = (np.arange(len(profile)) + 0.5 - len(profile) / 2) / TEXTURE_SCALE
    top = across[profile & (across < 0)].max(initial=-half_across - margin)
    bottom = across[profile & (across > 0)].min(initial=half_across + margin)
    return float(top + margin), float(bottom - margin)


def _place_bar(
    rng: np.random.Generator, spec: VideoSceneSpec, angle: float, reach_px: float, half_across: float
) -> Item:
    """The crossbar, somewhere about the middle of the picture."""
    length = 3.0 * half_across
    shape = crossbar(rng, spec.bar * reach_px / length)
    along = rng.uniform(-0.35, 0.35) * reach_px
    pose = similarity(
        scale=length,
        angle=angle + math.pi / 2,
        x=spec.width / 2 + along * math.cos(angle),
        y=spec.height / 2 + along * math.sin(angle),
    )
    return Item(shape, PAINTS[int(rng.integers(len(PAINTS)))], pose, length, CLUTTER_ID)


def _render_frame(world: _World, spec: VideoSceneSpec, index: int) -> VideoSceneFrame:
    """One frame; it depends on no other."""
    time_s, height, width = index / spec.fps, spec.height, spec.width
    camera = world.path.at(time_s, width, height) @ world.camera
    moved = world.speed_px_s * time_s
    canvas = Canvas(view_surface(world.surface, height, width, camera, moved_px=moved), camera, world.light)
    areas = np.zeros(len(world.items))
    for number, (item, ride) in enumerate(zip(world.items, world.rides, strict=True)):
        pose = _pose_at(world, item, ride, time_s)
        x, y = project(camera, pose[:2, 2][None])[0].tolist()
        reach = item.scale_px + 50
        if -reach < x < width + reach and -reach < y < height + reach:
            # Its own numbers: a part's machining marks stay as they are from frame to frame.
            marks = np.random.default_rng([world.seed, 1, number])
            areas[number] = canvas.paint(dataclasses.replace(item, pose=pose), number, marks)
    angle = world.surface.belt.angle
    canvas.color = smear(canvas.color, world.speed_px_s * spec.shutter / spec.fps, angle)
    if world.bar is not None:
        canvas.paint(world.bar, CLUTTER_ID, np.random.default_rng([world.seed, 2]))
    red, green, blue = (channel * world.flicker.gain(time_s) for channel in world.lens.cast)
    lens = dataclasses.replace(world.lens, cast=(red, green, blue))
    image = expose(canvas.color, lens, np.random.default_rng([world.seed, 3, index]))
    return _annotate(world, spec, image, canvas.owner, areas)


def _pose_at(world: _World, item: Item, ride: Ride, time_s: float) -> Matrix:
    """The item's pose in the picture's plane, before the camera, 3x3."""
    center = similarity(scale=1.0, angle=0.0, x=float(item.pose[0, 2]), y=float(item.pose[1, 2]))
    belt = similarity(scale=1.0, angle=0.0, x=world.speed_px_s * time_s, y=0.0)
    moved = center @ ride.displacement(time_s, world.speed_px_s) @ np.linalg.inv(center)
    return np.asarray(world.to_picture @ belt @ moved @ item.pose, dtype=np.float64)


def _annotate(
    world: _World,
    spec: VideoSceneSpec,
    image: npt.NDArray[np.uint8],
    owner: npt.NDArray[np.int16],
    areas: npt.NDArray[np.float64],
) -> VideoSceneFrame:
    """The frame with the boxes, classes and ids of all parts that `owner` shows."""
    # The last entry answers the negative owners: belt, clutter above the parts, crossbar.
    track_map = np.append(world.track_ids, np.int32(0))[np.maximum(owner, -1)]
    windows = ndimage.find_objects(track_map)
    seen = np.bincount(track_map.ravel())
    numbers = {track_id: k for k, track_id in enumerate(world.track_ids.tolist()) if track_id}
    track_ids = [k for k, window in enumerate(windows, start=1) if window is not None]
    boxes = [[w[1].start, w[0].start, w[1].stop, w[0].stop] for w in windows if w is not None]
    pixels = seen[track_ids]
    wholes = areas[[numbers[k] for k in track_ids]]
    return VideoSceneFrame(
        image=image,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        label_ids=np.array([world.items[numbers[k]].label_id for k in track_ids], dtype=np.int64),
        track_ids=np.array(track_ids, dtype=np.int64),
        visibility=np.minimum(pixels / np.maximum(wholes, 1), 1),
        counts=pixels >= np.maximum(MIN_VISIBLE_PX, spec.min_visible * wholes),
        track_map=track_map,
    )
