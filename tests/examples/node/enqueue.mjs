// Enqueues one video: node enqueue.mjs [CLIENT_REQUEST_ID]. Needs the package redis.
import { createClient } from "redis";

const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" });
await client.connect();

// The id is the job's identity: enqueued twice, the job still is one job, with one result.
const request = {
  "client-request-id": process.argv[2] ?? "node-1",
  "customer-id": "acme",
  "use-case-id": "birthday",
  "user-id": "ann",
  "phrase-texts": ["Happy birthday, Ann!"],
};
const entryId = await client.xAdd("reelq:{video}:jobs", "*", { job: JSON.stringify(request) });
console.log(request["client-request-id"], entryId);
await client.close();
