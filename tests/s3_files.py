"""Putting test data onto an S3 server."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3

from tests.s3_servers import ACCESS_KEY, SECRET_KEY, S3Server


def new_bucket(server: S3Server) -> str:
    """Create a bucket with a fresh name; returns the name."""
    name = f"fleet-{uuid.uuid4().hex[:12]}"
    client(server).create_bucket(Bucket=name)
    return name


def client(server: S3Server) -> Any:
    """A plain boto3 client: another implementation than the one under test."""
    return boto3.client(
        "s3",
        endpoint_url=server.url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name="us-east-1",
    )


def upload(server: S3Server, bucket: str, objects: Mapping[str, bytes]) -> None:
    """Put all objects, several at a time."""
    s3 = client(server)
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(s3.put_object, Bucket=bucket, Key=k, Body=b) for k, b in objects.items()]:
            done.result()


def upload_model(server: S3Server, bucket: str, model: Mapping[str, str]) -> dict[str, str]:
    """Upload a model's files under `models/`; returns the same section with `s3://` locations."""
    paths = {part: Path(path) for part, path in model.items()}
    upload(server, bucket, {f"models/{path.name}": path.read_bytes() for path in paths.values()})
    return {part: f"s3://{bucket}/models/{path.name}" for part, path in paths.items()}
