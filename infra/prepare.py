"""The commands that a site wants before it starts: migrations, data to begin with."""

__all__ = ["prepare"]

import hashlib
import re
from pathlib import Path

from infra.console import Console, run_logged
from infra.credentials import Credentials
from infra.layout import CHECKOUT, Layout
from infra.programs import command, site_environment
from infra.schema import Description, Step
from infra.supervise import basic_environment


def prepare(
    d: Description, layout: Layout, console: Console, credentials: Credentials, engine: str
) -> None:
    """Run the steps in their order, but for `once: true` ones that succeeded before."""
    for number, step in enumerate(d.site.prepare, 1):
        stamp = _stamp(layout, engine, step)
        if step.once and stamp.exists():
            continue
        slug = re.sub(r"[^a-z0-9]+", "-", step.title.lower()).strip("-")[:40]
        log = layout.logs / f"prepare-{number}-{slug}.log"
        role = "app" if engine == "sqlite" else step.as_
        environment = (
            basic_environment(layout)
            | site_environment(d, layout, role)
            | {"FULCRUM_DEMO_PASSWORD": credentials.demo_password}
        )
        with console.step(step.title) as progress:
            run_logged(
                progress,
                command(d, layout, step.run),
                log,
                env=environment,
                cwd=CHECKOUT / d.site.directory,
            )
        if step.once:
            stamp.touch()


def _stamp(layout: Layout, engine: str, step: Step) -> Path:
    digest = hashlib.sha256(f"{engine}\n{step.run}".encode()).hexdigest()[:16]
    return layout.done / digest
