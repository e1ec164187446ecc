"""Prometheus reaches all that it asks and has all of its rules, of which none fires.

It is asked as the site would: from an app host, with what site.json says.
"""

import json
import re
from typing import Any

from infra.hosts.alerts import thresholds
from infra.hosts.monitoring import jobs
from infra.templating import template
from tests.lab.cluster import Cluster
from tests.lab.proofs import Row, there

__all__ = ["figures"]


def figures(cluster: Cluster) -> list[Row]:
    d = cluster.description
    app = cluster.host(d.apps[0].host)
    site = json.loads(app.ssh("cat", "/var/lib/fulcrum/site.json"))
    monitors, rows = site.get("monitors", []), list[Row]()
    assert len(monitors) == len(d.monitors), f"the site knows of {monitors}, and not {d.monitors}"
    for monitor in monitors:
        told: dict[str, Any] = there(app, "ask_prometheus", monitor, user="fulcrum")
        wanted = {f"{t.host}:{t.port}" for job in jobs(d) for t in job.targets}
        seen = {target["instance"]: target for target in told["targets"]}
        assert wanted <= set(seen), f"{monitor['url']} does not ask {sorted(wanted - set(seen))}"
        down = {name: t["error"] for name, t in seen.items() if t["health"] != "up"}
        assert not down, f"{monitor['url']} gets no figures from {down}"
        rules = set(re.findall(r"alert: (\w+)", template("prometheus_rules.yml", **thresholds(d))))
        assert set(told["rules"]) == rules, f"not loaded: {rules ^ set(told['rules'])}"
        assert not told["unhealthy"], f"rules that cannot be evaluated: {told['unhealthy']}"
        assert not told["firing"], f"firing on a healthy cluster: {told['firing']}"
        rows.append((f"{monitor['url']}: targets", f"{len(seen)} up"))
        rows.append((f"{monitor['url']}: alert rules", f"{len(rules)} loaded, none fires"))
        rows.append(
            (f"{monitor['url']}: alerts that may fire soon", ", ".join(told["pending"]) or "none")
        )
    return rows
