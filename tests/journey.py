"""`python -m tests.journey [ROOT]`: log in, invite, sit the test, read the judged report.

All over HTTP, at the cluster that runs under ROOT (default: .cluster). Ends with a non-zero status
where a step fails.
"""

import json
import re
import sys
import time
from pathlib import Path

from tests.variants import CHECKOUT
from tests.visitor import DEMO_EMAIL, Visitor

__all__ = ["journey"]


def journey(url: str, password: str, authority: Path | None = None) -> str:
    """The whole way of one candidate; the points of the report, as it shows them.

    `authority`: a file with the certificate that signed the site's. Raises AssertionError where a
    page is not what it should be.
    """
    recruiter = Visitor(url, authority).log_in(DEMO_EMAIL, password)
    slugs = re.findall(r'href="/a/([\w-]+)/"', recruiter.page("/"))
    assert slugs, "the demo login has no account"
    email = f"journey.{time.time_ns()}@example.org"
    code = recruiter.invite(slugs[0], recruiter.first_test(slugs[0]), "Journey Tester", email)
    Visitor(url, authority).sit(slugs[0], code)
    text = re.sub(r"<[^>]+>", " ", recruiter.report(slugs[0], code))
    points = re.search(r"\d+\s+out of\s+\d+\s+points", text)
    assert points, f"the report of {slugs[0]} {code} shows no points"
    return " ".join(points[0].split())


def main(root: Path) -> None:
    secrets = json.loads((root / "secrets.json").read_text())
    url = json.loads((root / "site.json").read_text())["public_url"]
    began = time.monotonic()
    points = journey(url, secrets["demo_password"])
    print(f"judged: {points}, {time.monotonic() - began:.1f} s in all")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / ".cluster")
