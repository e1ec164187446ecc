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

SLUG = "acme-analytics"


def main(root: Path) -> None:
    secrets = json.loads((root / "secrets.json").read_text())
    url = json.loads((root / "site.json").read_text())["public_url"]
    began = time.monotonic()
    recruiter = Visitor(url).log_in(DEMO_EMAIL, secrets["demo_password"])
    print(f"logged in at {url}")
    email = f"journey.{time.time_ns()}@example.org"
    code = recruiter.invite(SLUG, recruiter.first_test(SLUG), "Journey Tester", email)
    print(f"invited {email}: {code}")
    Visitor(url).sit(SLUG, code)
    print("sat the test and finished it")
    text = re.sub(r"<[^>]+>", " ", recruiter.report(SLUG, code))
    points = re.search(r"\d+\s+out of\s+\d+\s+points", text)
    assert points, "the report shows no points"
    print(f"judged: {' '.join(points[0].split())}, {time.monotonic() - began:.1f} s in all")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else CHECKOUT / ".cluster")
