"""Reads results and acknowledges them: python results.py [--count N]. Needs the package redis."""

import argparse
import os

import redis

RESULTS, GROUP, CONSUMER = "reelq:{video}:results", "my-app", "consumer-1"

parser = argparse.ArgumentParser()
parser.add_argument("--count", type=int, default=float("inf"), help="end after so many results")
left = parser.parse_args().count

# The time-out must exceed the time for which a read blocks.
url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379")
client = redis.Redis.from_url(url, decode_responses=True, socket_timeout=30)
try:
    client.xgroup_create(RESULTS, GROUP, id="0", mkstream=True)
except redis.ResponseError as error:
    if not str(error).startswith("BUSYGROUP"):
        raise
# What a consumer of this group left unacknowledged for a minute becomes ours.
client.xautoclaim(RESULTS, GROUP, CONSUMER, min_idle_time=60_000)

# From "0": what is ours and not acknowledged. From ">": what is new.
position = "0"
while left > 0:
    reply = client.xreadgroup(GROUP, CONSUMER, {RESULTS: position}, count=min(left, 10), block=5000)
    entries = reply[0][1] if reply else []
    if position == "0" and not entries:
        position = ">"
    for entry_id, result in entries:
        # Store it under (client-request-id, revision): the same end may be read twice.
        print(result.get("client-request-id"), result["status"],
              result.get("video-url") or result.get("error"), flush=True)
        client.xack(RESULTS, GROUP, entry_id)
        left -= 1
