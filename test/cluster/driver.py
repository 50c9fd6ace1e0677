"""A driver that the tests end in the middle: driver.py ADDRESS OUTPUT COUNT prints each result's key."""

import sys

import ray

import pyro_mcp.ray as cluster

address, output, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
ray.init(address=address, log_to_driver=False)
jobs = [{"n": n} for n in range(count)]
results = cluster.map(
    jobs,
    environment="debian:12",
    command=lambda job: f"echo {job['n']}",
    output=output,
    mem_mib=512,
    progress=False,
)
for result in results:
    print(result.key, result.failure or "ok", "earlier" if result.resumed else "now", flush=True)
