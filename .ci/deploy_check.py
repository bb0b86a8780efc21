"""What no schema knows of the files under deploy/: that they agree with each other and with the binary.

Called by .ci/deploy as `deploy_check.py REELQ WORK`, with an empty place to write to; lists all mistakes.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject
from cloudcoil.models.prometheus_operator.v1 import PodMonitor
from pydantic import ValidationError

REELQ, WORK = sys.argv[1], Path(sys.argv[2])
DEPLOY = Path("deploy")
KUBERNETES = DEPLOY / "kubernetes"
# Who a process is in a container.
USER = 65532
# Which settings a process's secrets are among.
SECTIONS = {"worker": ("redis", "api"), "gateway": ("redis", "gateway", "webhook")}

mistakes = 0


def must(holds, what):
    global mistakes
    if not holds:
        mistakes += 1
        print(what, file=sys.stderr)


def same(what, found, wanted):
    must(found == wanted, f"{what}: {found!r} instead of {wanted!r}")


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def contains(what, found, wanted):
    """That all that is wanted is found, whatever else is there."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            contains(f"{what}.{key}", found.get(key), value)
    else:
        same(what, found, wanted)


def seconds(text):
    """A duration such as 1m30s, or a bare number of seconds."""
    units = {"ms": 0.001, "s": 1, "": 1, "m": 60, "min": 60, "h": 3600}
    assert re.fullmatch(r"(\d+(ms|s|min|m|h|$))+", text), f"{text} is no duration"
    return sum(int(n) * units[unit] for n, unit in re.findall(r"(\d+)([a-z]*)", text))


def settings(file, environment=()):
    """What the binary makes of a configuration and an environment."""
    clean = {name: it for name, it in os.environ.items() if not name.startswith("REELQ_")}
    command = [REELQ, "config", "--json", "--config", file]
    ran = subprocess.run(command, env=clean | dict(environment), capture_output=True, text=True)
    if ran.returncode:
        sys.exit(f"{file} with {dict(environment)}: {ran.stderr}")
    return {it["key"]: it["value"] for it in map(json.loads, ran.stdout.splitlines())}


def secret_files(found, role):
    """The files of this process's secrets, by their settings: what can be given as text, too."""
    return {
        key: path
        for key, path in found.items()
        if path and key.endswith("_file") and key.removesuffix("_file") in found
        and key.split(".")[0] in SECTIONS[role]
    }


def port(address, otherwise=None):
    return urlsplit(address if "//" in address else f"//{address}").port or otherwise


# The manifests, and what they configure.
kustomization, = documents(KUBERNETES / "kustomization.yaml")
others = {"kustomization.yaml", "secret.example.yaml"}
same("kustomization.yaml: resources", sorted(kustomization["resources"]),
     sorted({it.name for it in KUBERNETES.glob("*.yaml")} - others))
version = tomllib.loads(Path("Cargo.toml").read_text())["package"]["version"]
same("kustomization.yaml: newTag", kustomization["images"][0]["newTag"], version)

objects = {
    (it["kind"], it["metadata"]["name"]): it
    for name in kustomization["resources"] for it in documents(KUBERNETES / name)
}
must(("Namespace", kustomization["namespace"]) in objects, "kustomization.yaml: another namespace")
secrets = {it["metadata"]["name"]: it for it in documents(KUBERNETES / "secret.example.yaml")}
monitor, = documents(KUBERNETES / "optional/podmonitor.yaml")
scaler, = documents(KUBERNETES / "optional/keda.yaml")
objects |= {("PodMonitor", monitor["metadata"]["name"]): monitor}

config = WORK / "reelq.toml"
config.write_text(objects["ConfigMap", "reelq"]["data"]["reelq.toml"])
configured = settings(config)
grace = seconds(configured["worker.shutdown_grace"])
operations, http = port(configured["http.listen"]), port(configured["gateway.listen"])

# The two Deployments: what every pod of ours is like.
pods = {}
for role, ports in {"worker": {"operations": operations},
                    "gateway": {"operations": operations, "http": http}}.items():
    name = f"reelq-{role}"
    template = objects["Deployment", name]["spec"]["template"]
    pod, (container,) = template["spec"], template["spec"]["containers"]
    pods[name] = template["metadata"]["labels"]
    probe = {"path": "/healthz", "port": "operations"}
    contains(name, pod, {
        "serviceAccountName": "reelq",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    })
    contains(name, container, {
        "image": kustomization["images"][0]["name"],
        "args": [role],
        "startupProbe": {"httpGet": probe},
        "livenessProbe": {"httpGet": probe},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "operations"}},
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    })
    same(f"{name}: ports", {it["name"]: it["containerPort"] for it in container["ports"]}, ports)
    same(f"{name}: prometheus.io/port", template["metadata"]["annotations"]["prometheus.io/port"],
         str(operations))
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    must(pod["terminationGracePeriodSeconds"] - pause > grace,
         f"{name}: terminationGracePeriodSeconds is not above worker.shutdown_grace")

    mounts = {it["name"]: it["mountPath"] for it in container["volumeMounts"]}
    volumes = {it["name"]: it for it in pod["volumes"]}
    same(f"{name}: volumes", set(volumes), set(mounts))
    same(f"{name}: config", (mounts["config"], volumes["config"]["configMap"]["name"]),
         ("/etc/reelq", "reelq"))
    holds = secrets[volumes["secrets"]["secret"]["secretName"]]["stringData"]
    same(f"{name}: files of secrets", sorted(f"{mounts['secrets']}/{key}" for key in holds),
         sorted(secret_files(configured, role).values()))

# Whatever selects pods: those of the Deployment whose name it bears, and all if it is named reelq.
selectors = {key: it["spec"].get("selector") or it["spec"].get("podSelector")
             for key, it in objects.items() if "spec" in it}
selectors |= {
    ("Deployment", f"{name} {spread['topologyKey']}"): spread["labelSelector"]
    for name in pods
    for spread in objects["Deployment", name]["spec"]["template"]["spec"]["topologySpreadConstraints"]
}
for (kind, name), selector in selectors.items():
    wanted = selector.get("matchLabels", selector).items()
    chosen = [pod for pod, labels in pods.items() if wanted <= labels.items()]
    must(chosen, f"{kind} {name} selects nothing")
    same(f"{kind} {name} selects", chosen, [pod for pod in pods if name.split()[0] in (pod, "reelq")])
for name in pods:
    must(("PodDisruptionBudget", name) in objects, f"{name} has no PodDisruptionBudget")

# Ports, wherever they are told once more.
same("Service reelq-gateway", objects["Service", "reelq-gateway"]["spec"]["ports"],
     [{"name": "http", "port": http, "targetPort": "http"}])
policies = {name: it["spec"] for (kind, name), it in objects.items() if kind == "NetworkPolicy"}


def let_through(name, direction):
    return [it["port"] for rule in policies[name].get(direction, []) for it in rule["ports"]]


same("NetworkPolicy reelq: in", let_through("reelq", "ingress"), [operations])
same("NetworkPolicy reelq: out", let_through("reelq", "egress"),
     [53, 53, port(configured["redis.url"], 6379)])
same("NetworkPolicy reelq-gateway: in", let_through("reelq-gateway", "ingress"), [http])
same("NetworkPolicy reelq-worker: out", let_through("reelq-worker", "egress"),
     [port(configured["api.base_url"], 443)])
rules = "".join(it.read_text() for it in (DEPLOY / "redis").glob("*.acl"))
must(re.search(rf"^user {configured['redis.username']} on ", rules, re.MULTILINE),
     "redis.username is no user of deploy/redis/*.acl")
image = (DEPLOY / "Dockerfile").read_text()
for variable, key in {"REELQ_HTTP__LISTEN": "http.listen",
                      "REELQ_GATEWAY__LISTEN": "gateway.listen"}.items():
    same(f"Dockerfile: {variable}", re.findall(rf'{variable}="?([^\s"]+)', image), [configured[key]])
same("Dockerfile: USER", re.findall(r"^USER (\d+)", image, re.MULTILINE), [str(USER)])

# What only the two operators know.
for model, it in (PodMonitor, monitor), (ScaledObject, scaler):
    try:
        model.model_validate(it, extra="forbid", by_alias=True, by_name=False)
    except ValidationError as error:
        must(False, error)
same("PodMonitor: ports", [it["port"] for it in monitor["spec"]["podMetricsEndpoints"]], ["operations"])
same("ScaledObject: target", scaler["spec"]["scaleTargetRef"]["name"], "reelq-worker")
must(scaler["spec"]["minReplicaCount"] >= 1, "ScaledObject: minReplicaCount: nobody would notice work")
trigger, = scaler["spec"]["triggers"]
asked = trigger["metadata"]
same("ScaledObject: trigger", trigger["type"], "prometheus")
same("ScaledObject: ignoreNullValues", asked["ignoreNullValues"], "false")
must(float(asked["threshold"]) > 0, "ScaledObject: threshold")
scrapers, = policies["reelq"]["ingress"][0]["from"]
same("ScaledObject: serverAddress is in the namespace",
     urlsplit(asked["serverAddress"]).hostname.split(".")[1],
     scrapers["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"])
contract = Path("docs/contract.md").read_text()
for metric in re.findall(r"\breelq_\w+", asked["query"]):
    must(f"| `{metric}` |" in contract, f"ScaledObject: there is no metric {metric}")

# Its query, asked of what two processes serve. They look at most every 5 s, so they may differ.
QUEUE = configured["queue.name"]
STAGES, STATES = ("submit", "poll"), ("halted", "broken", "limited", "paused")


def served(queue, backlog, closed=None):
    series = {f'reelq_backlog{{queue="{queue}",pod="{pod}"}}': count
              for pod, count in (("a", backlog - 9), ("b", backlog))}
    for stage in STAGES:
        for state in STATES:
            for pod in "ab":
                labels = f'queue="{queue}",stage="{stage}",state="{state}",pod="{pod}"'
                is_so = (stage, state) == closed and pod == "a"
                series[f"reelq_stage_closed{{{labels}}}"] = int(is_so)
    return series


cases = [(served(QUEUE, 700), 700), (served(QUEUE, 9), 9), ({}, None), (served("other", 700), None),
         (served(QUEUE, float("NaN")), None),
         (served(QUEUE, 700) | served("other", 9000, ("poll", "halted")), 700)]
cases += [(served(QUEUE, 700, (stage, state)), 0) for stage in STAGES for state in STATES]
tests = [
    {
        "interval": "15s",
        "input_series": [{"series": name, "values": f"{it} " * 4} for name, it in series.items()],
        "promql_expr_test": [{
            "expr": asked["query"],
            "eval_time": "30s",
            "exp_samples": [] if value is None
            else [{"labels": f'{{queue="{QUEUE}"}}', "value": value}],
        }],
    }
    for series, value in cases
]
(WORK / "query.yml").write_text(yaml.safe_dump({"evaluation_interval": "15s", "tests": tests}))
ran = subprocess.run(["promtool", "test", "rules", WORK / "query.yml"], capture_output=True, text=True)
must(ran.returncode == 0, f"ScaledObject: query: {ran.stdout}{ran.stderr}")

# compose: whatever runs a worker or a gateway; a worker is what the image runs by itself.
usual = seconds(settings("config/reelq.toml")["worker.shutdown_grace"])
compose, = documents(DEPLOY / "compose.yml")
roles = set()
for name, service in compose["services"].items():
    command = service.get("command", "worker")
    role = command.split()[0] if isinstance(command, str) else command[0]
    if "reelq" in service.get("image", "") and role in SECTIONS:
        roles.add(role)
        must(seconds(str(service.get("stop_grace_period", "10s"))) > usual,
             f"compose.yml: {name}: stop_grace_period is not above worker.shutdown_grace")
same("compose.yml: services of ours", roles, set(SECTIONS))

# systemd: each unit with what is optional in it.
hardening = set()
for role, file in {"worker": "reelq-worker@.service", "gateway": "reelq-gateway.service"}.items():
    unit = (DEPLOY / "systemd" / file).read_text()
    hardening.add(unit[unit.index("\nDynamicUser="):])
    lines = re.findall(r"^#?([A-Z]\w+)=(.*)", unit, re.MULTILINE)
    values = {key: [it for name, it in lines if name == key] for key, _ in lines}
    must(seconds(values["TimeoutStopSec"][0]) > usual,
         f"{file}: TimeoutStopSec is not above worker.shutdown_grace")
    ids = sorted(secrets[f"reelq-{role}"]["stringData"])
    same(f"{file}: LoadCredential", sorted(values["LoadCredential"]),
         sorted(f"{it}:/etc/reelq/credentials/{it}" for it in ids))
    variables = [it.replace("%d", "/credentials").replace("%i", "9465") for it in values["Environment"]]
    found = settings(config, (it.split("=", 1) for it in variables))
    same(f"{file}: secrets", sorted(secret_files(found, role).values()),
         sorted(f"/credentials/{it}" for it in ids))
    if role == "worker":
        same(f"{file}: http.listen", found["http.listen"], "127.0.0.1:9465")
same("kinds of hardening in the units", len(hardening), 1)

sys.exit(bool(mistakes))
