"""What a live Prometheus must see of reelq under load, by deploy/'s alerts and dashboard: .ci/observe."""

import argparse
import itertools
import json
import re
import shlex
import subprocess
import sys
import threading
import time
from math import isnan
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

ALERTS, DASHBOARD = Path("deploy/prometheus/alerts.yml"), Path("deploy/grafana/reelq.json")
VARIABLES = {"$queue": "video", "$__rate_interval": "10s"}
# Those that need no minutes, and one that does.
FIRING = {"ReelqConflicts", "ReelqJobsFail", "ReelqQuarantined"}
PENDING = {"ReelqStageClosed"}

parser = argparse.ArgumentParser()
for option in ("reelq", "redis", "prometheus", "sandbox", "jobs"):
    parser.add_argument(f"--{option}", required=True)
parser.add_argument("--processes", nargs="+", required=True)
to = parser.parse_args()


def call(address, path, body=None, method=None):
    """The text of an answer, whatever its code."""
    try:
        with urlopen(Request(f"http://{address}{path}", body, method=method), timeout=10) as answer:
            return answer.read().decode()
    except HTTPError as error:
        return error.read().decode()


def prometheus(path, **query):
    answer = json.loads(call(to.prometheus, f"/api/v1/{path}?{urlencode(query)}"))
    assert answer["status"] == "success", answer
    return answer["data"]


def redis(*command):
    """What Redis answers."""
    return subprocess.run(
        ["redis-cli", "-e", "-s", to.redis, *command], check=True, capture_output=True, text=True
    ).stdout


def until(what, seconds, look):
    """Looks again and again until nothing is left to be seen; `look` gives what is."""
    deadline = time.monotonic() + seconds
    while left := look():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: after {seconds} s there is still: {left}")
        time.sleep(0.2)


def series(process):
    """The series that a process shows, without their values."""
    lines = call(process, "/metrics").splitlines()
    return {line.rpartition(" ")[0] for line in lines if line and not line.startswith("#")}


def load(stop):
    """Jobs of ever other customers, and all that clients do wrong, by Redis and by HTTP."""
    for round in itertools.count():
        if stop.wait(0.1):
            return
        job = {"customer-id": f"customer-{round}", "use-case-id": "u", "user-id": f"user-{round}"}
        batch = [job | {"client-request-id": f"job-{round}-{it}"} for it in range(5)]
        call(to.jobs, "/v1/jobs", json.dumps(batch + [{f"odd-{round}": 1}]).encode())
        xadd = ("XADD", "reelq:{video}:jobs", "*", "job")
        redis(*xadd, json.dumps(job | {"client-request-id": f"entry-{round}"}))
        redis(*xadd, json.dumps(job | {"client-request-id": "entry-0"}))  # another body: a conflict
        redis("ZADD", "reelq:{video}:poll", str(int(time.time() * 1000)), f"nobody-{round}")
        call(to.jobs, f"/nowhere/{round}")
        call(to.jobs, f"/v1/jobs/job-{round}-0?wait=1ms", method=f"ODD{round % 7}")
        push = {"client-request-id": f"push-{round}", "user-id": "u", "video-url": "https://x/"}
        call(to.jobs, "/video-push-endpoint", json.dumps(push).encode())


def expressions(dashboard):
    """The queries of all panels: (panel, query)."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            assert "$" not in expression, f"{panel['title']}: an unknown variable in {expression}"
            yield panel["title"], expression


def count(expression):
    """How many series a query gives that have a value."""
    result = prometheus("query", query=expression)["result"]
    return sum(not isnan(float(it["value"][1])) for it in result)


def check_panels(dashboard):
    """Every query of every panel shows something."""
    left, seen = list(expressions(dashboard)), {}

    def look():
        for panel_query in list(left):
            if number := count(panel_query[1]):
                seen[panel_query] = number
                left.remove(panel_query)
        return left

    until("queries of the dashboard without a series", 40, look)
    for panel, query in expressions(dashboard):
        print(f"{seen[panel, query]:4} {panel}: {query}")
    queues = prometheus("label/queue/values", **{"match[]": "reelq_backlog"})
    assert queues == [VARIABLES["$queue"]], queues


def check_names():
    """Each metric that a file names is there."""
    shown = set().union(*map(series, to.processes))
    shown = {it.partition("{")[0] for it in shown}
    for file in (ALERTS, DASHBOARD):
        named = set(re.findall(r"\b(?:reelq|process)_[a-z_]+", file.read_text()))
        assert named and named <= shown, f"{file} names what is not there: {named - shown}"


def check_rules():
    """Each rule is evaluated without an error, and those alerts are there that must be."""

    def rules():
        return [it for group in prometheus("rules")["groups"] for it in group["rules"]]

    until("rules that are not well", 10, lambda: [
        (it["name"], it["health"], it.get("lastError")) for it in rules() if it["health"] != "ok"
    ])

    def missing():
        states = {it["name"]: it["state"] for it in rules()}
        return [it for it in FIRING if states[it] != "firing"] + [
            it for it in PENDING if states[it] != "pending"
        ]

    until("alerts that ought to be", 20, missing)
    for it in prometheus("alerts")["alerts"]:
        print(f"{it['state']}: {it['annotations']['summary']}. {it['annotations']['description']}")
        assert not re.search("<error|<no value>|{{", str(it["annotations"])), it
    states = {it["name"]: it["state"] for it in rules()}
    other = {it for it in states if states[it] == "firing"} - FIRING
    assert not other, f"alerts that ought not to be: {other}"


def check_runbooks():
    """Redis knows the commands that runbooks give it, reelq the commands and their options."""
    rules = [it for group in prometheus("rules")["groups"] for it in group["rules"]]
    text = "\n".join(it["annotations"]["runbook"] for it in rules)
    text = re.sub(r"\{\{ printf .*? \}\}", "{video}", text)
    text = re.sub(r"\{\{ \$labels\.group \}\}", "readers", text)
    commands = sorted({it.replace("\n", " ") for it in re.findall(r"`([^`]+)`", text)})
    for command in commands:
        program, *words = shlex.split(command)
        if program == "redis-cli":
            redis(*words)
            continue
        assert program == "reelq", f"no command of a runbook: {command}"
        run = [to.reelq, words[0], "--help"]
        usage = subprocess.run(run, check=True, capture_output=True, text=True).stdout
        for option in (it for it in words if it.startswith("--")):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", usage), f"{command}: {option}?"
    print(f"{len(commands)} commands of runbooks exist")


dashboard = json.loads(DASHBOARD.read_text())
before = {it: series(it) for it in to.processes}
stop = threading.Event()
loading = threading.Thread(target=load, args=[stop])
loading.start()
try:
    until("processes that are not scraped", 10, lambda: len(to.processes) - count("up == 1"))
    check_panels(dashboard)
    check_names()
    call(to.sandbox, "/sandbox/faults", b'{"mode":"refuse"}', "PUT")
    check_rules()
    check_runbooks()
finally:
    stop.set()
    loading.join()
for process in to.processes:
    change = before[process] ^ series(process)
    assert not change, f"series came or went with the load: {change}"
    print(f"{len(before[process])} series of {process} before and after")
