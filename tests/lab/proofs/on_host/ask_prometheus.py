"""What Prometheus says of itself, asked as the site would."""

import base64
import json
import ssl
import urllib.request
from typing import Any


def main(monitor: dict[str, str]) -> dict[str, Any]:
    """`url`, `ca`, `user`, `password` → targets, and names of alert rules by their state."""
    targets = _get(monitor, "/api/v1/targets?state=active")["activeTargets"]
    groups = _get(monitor, "/api/v1/rules?type=alert")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return {
        "targets": [
            {
                "instance": target["labels"]["instance"],
                "health": target["health"],
                "error": target["lastError"],
            }
            for target in targets
        ],
        "rules": [rule["name"] for rule in rules],
        "unhealthy": [rule["name"] for rule in rules if rule["health"] != "ok"],
        "firing": [
            f"{rule['name']} {rule['alerts']}" for rule in rules if rule["state"] == "firing"
        ],
        "pending": [rule["name"] for rule in rules if rule["state"] == "pending"],
    }


def _get(monitor: dict[str, str], path: str) -> Any:
    login = base64.b64encode(f"{monitor['user']}:{monitor['password']}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - our own
        monitor["url"] + path, headers={"Authorization": f"Basic {login}"}
    )
    context = ssl.create_default_context(cafile=monitor["ca"])
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
        return json.load(answer)["data"]
