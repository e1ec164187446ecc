"""What `make up` imports is what `make up` installs: no package of the developers' extra."""

import subprocess
import sys

from tests.variants import CHECKOUT

DEVELOPERS = ("ansible", "cryptography", "debug_toolbar", "hypothesis", "playwright", "pytest")
IMPORT = f"""
import sys
sys.modules.update(dict.fromkeys({DEVELOPERS}))  # importing one of them fails
import infra.cli
"""


def test_a_cluster_on_one_machine_needs_no_developers_package() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
