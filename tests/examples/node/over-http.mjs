// One video over HTTP: node over-http.mjs [CLIENT_REQUEST_ID]. Needs no package, and Node 18.
const url = process.env.REELQ_URL ?? "http://127.0.0.1:8787";
const headers = { authorization: `Bearer ${process.env.REELQ_KEY ?? ""}` };

// The code and the JSON of an answer. Asking again is safe, so it asks until there is one.
async function ask(path, options) {
  for (;;) {
    try {
      const signal = AbortSignal.timeout(70_000);
      const answer = await fetch(url + path, { headers, signal, ...options });
      const body = await answer.json();
      if (answer.ok) return [answer.status, body];
      if (answer.status !== 503) { // else Redis is away: soon well again
        console.error(answer.status, JSON.stringify(body));
        process.exit(1);
      }
    } catch (error) {
      console.error(`${error.cause ?? error}: asking again`);
    }
    await new Promise((again) => setTimeout(again, 1000));
  }
}

const job = {
  "client-request-id": process.argv[2] ?? "node-http-1",
  "customer-id": "acme",
  "use-case-id": "birthday",
  "user-id": "ann",
  "phrase-texts": ["Happy birthday, Ann!"],
};
await ask("/v1/jobs", { method: "POST", body: JSON.stringify(job) });
let [code, result] = [202]; // it lives
while (code === 202) {
  const which = encodeURIComponent(job["client-request-id"]);
  [code, result] = await ask(`/v1/jobs/${which}?wait=60s`);
}
console.log(job["client-request-id"], result.status, result["video-url"] ?? result.error);
