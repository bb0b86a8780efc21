"""Enqueues one video: python enqueue.py [CLIENT_REQUEST_ID]. Needs the package redis."""

import json
import os
import sys

import redis

client = redis.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"))

# The id is the job's identity: enqueued twice, the job still is one job, with one result.
request = {
    "client-request-id": sys.argv[1] if len(sys.argv) > 1 else "py-1",
    "customer-id": "acme",
    "use-case-id": "birthday",
    "user-id": "ann",
    "phrase-texts": ["Happy birthday, Ann!"],
}
entry_id = client.xadd("reelq:{video}:jobs", {"job": json.dumps(request)})
print(request["client-request-id"], entry_id.decode())
