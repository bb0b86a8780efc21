// Reads results and acknowledges them: node results.mjs [--count N]. Needs the package redis.
import { parseArgs } from "node:util";
import { createClient } from "redis";

const [RESULTS, GROUP, CONSUMER] = ["reelq:{video}:results", "my-app", "consumer-1"];
const { values } = parseArgs({ options: { count: { type: "string" } } });
let left = Number(values.count ?? Infinity); // end after so many results

const client = createClient({ url: process.env.REDIS_URL ?? "redis://127.0.0.1:6379" });
await client.connect();
try {
  await client.xGroupCreate(RESULTS, GROUP, "0", { MKSTREAM: true });
} catch (error) {
  if (!error.message.startsWith("BUSYGROUP")) throw error;
}
// What a consumer of this group left unacknowledged for a minute becomes ours.
await client.xAutoClaim(RESULTS, GROUP, CONSUMER, 60_000, "0");

// From "0": what is ours and not acknowledged. From ">": what is new.
let position = "0";
while (left > 0) {
  const reply = await client.xReadGroup(GROUP, CONSUMER, { key: RESULTS, id: position },
    { COUNT: Math.min(left, 10), BLOCK: 5000 });
  const entries = reply?.[0].messages ?? [];
  if (position === "0" && entries.length === 0) position = ">";
  for (const { id, message: result } of entries) {
    // Store it under (client-request-id, revision): the same end may be read twice.
    console.log(result["client-request-id"], result.status, result["video-url"] ?? result.error);
    await client.xAck(RESULTS, GROUP, id);
    left -= 1;
  }
}
await client.close();
