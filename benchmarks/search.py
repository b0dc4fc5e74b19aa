"""How fast and how well an index of a million vectors answers, beside exact search.

    python benchmarks/search.py [--json] [--count 1000000]

Random vectors on the unit sphere, where nothing is near anything, and clustered ones, as embeddings are.
"""

from __future__ import annotations

import time
from typing import Any

import faiss
import numpy as np
from common import Claim, argument_parser, report

from cvcore.retrieve.vectors import VectorIndex, normalized

SIZE = 64
QUERIES = 500
K = 10
CLUSTERS = 20_000
SPREAD = 0.6


def random_vectors(count: int, seed: int) -> np.ndarray:
    return normalized(np.random.default_rng(seed).normal(size=(count, SIZE)))


def clustered_vectors(count: int, seed: int) -> np.ndarray:
    """Around common centres, whatever the seed."""
    centers = np.random.default_rng(0).normal(size=(CLUSTERS, SIZE)).astype(np.float32)
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(count, SIZE)).astype(np.float32)
    return normalized(centers[rng.integers(0, CLUSTERS, count)] + SPREAD * noise)


def measure(vectors: np.ndarray, queries: np.ndarray) -> dict[str, Any]:
    """Latencies of single queries, and recall against exact search."""
    began = time.perf_counter()
    index = VectorIndex.build(vectors)
    build_s = time.perf_counter() - began
    exact = faiss.IndexFlatIP(SIZE)
    exact.add(vectors)
    _, wanted = exact.search(queries, K)
    found, ours, theirs = [], [], []
    for query in queries:
        began = time.perf_counter()
        found.append(index.search(query[None], K)[1][0])
        ours.append(time.perf_counter() - began)
    for query in queries[: QUERIES // 5]:
        began = time.perf_counter()
        exact.search(query[None], K)
        theirs.append(time.perf_counter() - began)
    recall = np.mean([len(set(a) & set(b)) / K for a, b in zip(found, wanted, strict=True)])
    return {
        "build_s": build_s,
        "bytes_a_vector": len(index.to_bytes()) / len(vectors),
        "p50_ms": 1e3 * float(np.percentile(ours, 50)),
        "p99_ms": 1e3 * float(np.percentile(ours, 99)),
        "exact_p50_ms": 1e3 * float(np.percentile(theirs, 50)),
        "exact_p99_ms": 1e3 * float(np.percentile(theirs, 99)),
        "recall": float(recall),
    }


def main() -> None:
    parser = argument_parser("search", __doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    asked = parser.parse_args()
    kinds = {"random": random_vectors, "clustered": clustered_vectors}
    results = {kind: measure(make(asked.count, 1), make(QUERIES, 2)) for kind, make in kinds.items()}
    claims = [
        Claim(
            f"search in {asked.count:,} {kind} vectors of {SIZE}, p50 and p99 of single queries, recall@{K}",
            "",
            f"{row['p50_ms']:.1f} and {row['p99_ms']:.1f} ms, recall {row['recall']:.3f} "
            f"(exact: {row['exact_p50_ms']:.1f} and {row['exact_p99_ms']:.1f} ms); "
            f"built in {row['build_s']:.0f} s, {row['bytes_a_vector']:.0f} bytes a vector",
        )
        for kind, row in results.items()
    ]
    report("search", claims, results, asked.json)


if __name__ == "__main__":
    main()
