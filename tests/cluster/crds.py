"""Holding manifests against KubeRay's CRDs, as a Kubernetes server does: schemas, then CEL rules."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from cel_expr_python import cel

from tests.cluster.kuberay_rules import Manifest

FOLDER = Path(__file__).parents[3] / "shared" / "kuberay-crds"
NO_CRDS = "KubeRay's CRDs are not beside the checkout (../shared/kuberay-crds)"
FILES = {
    "RayCluster": "ray.io_rayclusters.yaml",
    "RayJob": "ray.io_rayjobs.yaml",
    "RayCronJob": "ray.io_raycronjobs.yaml",
}
RULES_KEY = "x-kubernetes-validations"
FREE_KEY = "x-kubernetes-preserve-unknown-fields"

needs_crds = pytest.mark.skipif(not FOLDER.is_dir(), reason=NO_CRDS)


def refusals(manifest: Manifest, *, before: Manifest | None = None) -> list[str]:
    """What the server says of a manifest, that takes the place of `before` if there is one."""
    schema = crd_schema(manifest["kind"])
    said = [
        f"{error.json_path}: {error.message}" for error in _validator(manifest["kind"]).iter_errors(manifest)
    ]
    return said or list(_broken_rules(schema, manifest, before, "$"))


@functools.cache
def crd_schema(kind: str) -> dict[str, Any]:
    """The schema of the version v1 of a kind."""
    with (FOLDER / FILES[kind]).open() as file:
        crd = yaml.load(file, yaml.CSafeLoader)
    versions = {version["name"]: version for version in crd["spec"]["versions"]}
    schema: dict[str, Any] = versions["v1"]["schema"]["openAPIV3Schema"]
    return schema


@functools.cache
def _validator(kind: str) -> jsonschema.Draft202012Validator:
    """The schema with what it does not name forbidden, as with strict validation of fields (kubectl's)."""
    return jsonschema.Draft202012Validator(_strict(crd_schema(kind), top=True))


def _strict(schema: Any, *, top: bool = False) -> Any:
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _strict(value) for key, value in schema.items() if key not in ("properties", RULES_KEY)}
    if "properties" in schema:
        made["properties"] = {name: _strict(each) for name, each in schema["properties"].items()}
        if not schema.get(FREE_KEY):
            made.setdefault("additionalProperties", False)
    if top:  # the server's own, which no CRD says
        made["properties"]["metadata"] = {"type": "object", "minProperties": 1}
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
    return made


def _broken_rules(schema: Any, value: Any, before: Any, path: str) -> Iterator[str]:
    for rule in schema.get(RULES_KEY, ()):
        about_change = "oldSelf" in rule["rule"]
        if about_change and before is None:
            continue
        if not _holds(rule["rule"], value, before):
            yield f"{path}: {rule.get('message', rule['rule'])}"
    if isinstance(value, dict):
        for name, each in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            if isinstance(inner, dict):
                was = before.get(name) if isinstance(before, dict) else None
                yield from _broken_rules(inner, each, was, f"{path}.{name}")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for place, each in enumerate(value):
            yield from _broken_rules(schema["items"], each, None, f"{path}[{place}]")


def _holds(rule: str, value: Any, before: Any) -> bool:
    answer: Any = _compiled(rule).eval(data={"self": value, "oldSelf": before}).value()
    assert isinstance(answer, bool), f"{rule}: {answer}"
    return answer


@functools.cache
def _compiled(rule: str) -> Any:
    dynamic = cel.Type.DYN
    return cel.NewEnv(variables={"self": dynamic, "oldSelf": dynamic}).compile(rule)
