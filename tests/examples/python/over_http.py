"""One video over HTTP: python over_http.py [CLIENT_REQUEST_ID]. Needs no package."""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

url = os.environ.get("REELQ_URL", "http://127.0.0.1:8787")
headers = {"authorization": "Bearer " + os.environ.get("REELQ_KEY", "")}


def ask(path, body=None):
    """The code and the JSON of an answer. Asking again is safe, so it asks until there is one."""
    while True:
        request = urllib.request.Request(url + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=70) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 503:  # Redis is away: soon well again
                sys.exit(f"{error.code} {error.read().decode()}")
        except OSError as error:
            print(f"{error}: asking again", file=sys.stderr)
        time.sleep(1)


job = {
    "client-request-id": sys.argv[1] if len(sys.argv) > 1 else "py-http-1",
    "customer-id": "acme",
    "use-case-id": "birthday",
    "user-id": "ann",
    "phrase-texts": ["Happy birthday, Ann!"],
}
ask("/v1/jobs", json.dumps(job).encode())
code = 202  # it lives
while code == 202:
    which = urllib.parse.quote(job["client-request-id"], safe="")
    code, result = ask(f"/v1/jobs/{which}?wait=60s")
print(job["client-request-id"], result["status"], result.get("video-url") or result.get("error"))
