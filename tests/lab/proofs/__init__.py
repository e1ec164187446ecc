"""What must hold of the lab's cluster: each module has one function, which asserts it.

    python -m tests.lab.proofs              # all of them, as a table
    python -m tests.lab.proofs ports tls    # some

A `Row` says in a few words what was tried, and what was seen.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.lab.hosts import KEY, SSH_OPTIONS, Host, boot, hosts_there, remove
from tests.lab.tools import LabError, run

__all__ = ["Row", "begin", "outsider", "there"]

Row = tuple[str, str]
HERE = Path(__file__).parent


def there(
    host: Host, program: str, arguments: Any, user: str = "root", seconds: float = 300
) -> Any:
    """What `main(arguments)` of on_host/PROGRAM.py returns on `host`, run there by `user`.

    Program and arguments go by standard input: no secret comes onto a command line.
    """
    process = begin(host, program, arguments, user)
    try:
        said, problem = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise LabError(f"{program} on {host.name} did not end within {seconds:g} s") from None
    if process.returncode:
        raise LabError(f"{program} on {host.name}: {problem.strip()[-1000:]}")
    return json.loads(said)


def begin(host: Host, program: str, arguments: Any, user: str = "root") -> subprocess.Popen[str]:
    """The same, without waiting. It has read all of its input; closing more ends nothing."""
    source = (HERE / "on_host" / f"{program}.py").read_text()
    given = f"json.loads({json.dumps(arguments)!r})"
    call = f"\nimport json\nprint(json.dumps(main({given})), flush=True)\n"
    options = [word for option in SSH_OPTIONS for word in ("-o", option)]
    command = ["ssh", *options, "-i", str(KEY), f"root@{host.address}"]
    process = subprocess.Popen(
        [*command, "runuser", f"--user={user}", "--", "python3", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    process.stdin.write(source + call)
    process.stdin.close()
    process.stdin = None
    return process


@contextmanager
def outsider() -> Iterator[Host]:
    """One host more in the lab's network, which no inventory names."""
    number = max(host.number for host in hosts_there()) + 1
    [host] = boot([number])
    # Its hundred thousands of attempts would fill this machine's list of connections.
    rule = ["PREROUTING", "--source", host.address, "--jump", "CT", "--notrack"]
    run("iptables", "-t", "raw", "-I", *rule)
    try:
        yield host
    finally:
        run("iptables", "-t", "raw", "-D", *rule)
        remove(host)
