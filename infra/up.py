"""`up` of a cluster on this machine. It may be killed at any instant and run again."""

__all__ = ["Up"]


from infra.console import Console
from infra.credentials import Credentials, load_or_create
from infra.description import Loaded
from infra.errors import ClusterError
from infra.layout import Layout
from infra.preflight import Listeners, check_disk, check_ports
from infra.prepare import prepare
from infra.programs import Binaries, Program, programs
from infra.refresh import refresh
from infra.render import render
from infra.replicas import copy, cure, discard, drop_unused_slots, keep_limits
from infra.servers import clear_stale_pid, define_roles, initdb, wait_for_pool, wait_until_healthy
from infra.supervise import Supervisor, stop_strays, strays
from infra.templating import write
from infra.together import together


class Up:
    """Brings a cluster up: what runs stays, what is missing is made and started."""

    def __init__(
        self,
        loaded: Loaded,
        layout: Layout,
        console: Console,
        engine: str,
        binaries: Binaries,
        *,
        only_servers: bool,
        rebuild: str = "",
    ) -> None:
        self.loaded = loaded
        self.d = loaded.description
        self.layout = layout
        self.console = console
        self.engine = engine
        self.binaries = binaries
        self.only_servers = only_servers
        self.rebuild = rebuild
        self.supervisor = Supervisor(layout)
        every = programs(self.d, layout, engine, binaries)
        self.replicas = [p for p in every if p.name in self.d.replicas]
        self.servers = [p for p in every if p.kind != "site" and p not in self.replicas]
        self.site = [] if only_servers else [p for p in every if p.kind == "site"]
        self.credentials: Credentials

    def run(self, known: Listeners) -> None:
        """All of it. `known` is who listened where before root's rights were dropped.

        The site does without a replica: what is wrong with one is raised at the end.
        """
        self._refuse_other_engine()
        self._take_over()
        self._discard()
        self._check(known)
        self._make_files()
        self._start(self.servers, "start")
        self._define_roles()
        trouble = self._replicate()
        if not self.only_servers:
            prepare(self.d, self.layout, self.console, self.credentials, self.engine)
        self._start(self.site, "start the site:")
        if trouble:
            raise ClusterError("\n".join(trouble))

    def _refuse_other_engine(self) -> None:
        processes = self.supervisor.processes()
        running = "postgresql" if "default" in processes else "sqlite"
        if running != self.engine and any(process.wanted for process in processes.values()):
            raise ClusterError(
                f"{self.layout.root} runs with ENGINE={running}: `make down` first. "
                "The data of both can stay."
            )

    def _take_over(self) -> None:
        """Nothing of a killed supervisord may live beside the new one."""
        if not strays(self.layout):
            return
        with self.console.step("stop processes whose supervisor was killed") as step:
            step.result = str(stop_strays(self.layout))

    def _missing(self) -> list[Program]:
        known = self.supervisor.processes()
        everything = self.servers + self.replicas + self.site
        return [p for p in everything if p.name not in known or not known[p.name].wanted]

    def _check(self, known: Listeners) -> None:
        missing = self._missing()
        if missing:
            check_disk(self.layout)
            check_ports(self.loaded, {program.name for program in missing}, known)

    def _make_files(self) -> None:
        """Secrets, directories, data directories, configuration, supervisord."""
        layout = self.layout
        self._require_secrets()
        self.credentials = load_or_create(layout.secrets)
        for path in (layout.conf, layout.logs, layout.run, layout.done, layout.state):
            path.mkdir(exist_ok=True)
        for path in (layout.root / "beat", layout.sqlite, *map(layout.redis, ("cache", "broker"))):
            path.mkdir(parents=True, exist_ok=True)
        if self.engine == "postgresql":
            self._initdb()
        files = render(self.d, self.credentials, layout, self.engine, self.binaries)
        changed = write(layout.root, files)
        running = self.supervisor.running()
        if changed and running:
            self.console.say(f"[dim]configuration changed: {', '.join(changed)}[/dim]")
        self.supervisor.ensure()

    def _require_secrets(self) -> None:
        data = list(self.layout.root.glob("postgres/[!.]*"))
        if data and not self.layout.secrets.exists():
            raise ClusterError(
                f"{self.layout.secrets} is gone, and {data[0]} cannot be opened without it. "
                "Restore it, or `make clean` to start with no data."
            )

    def _initdb(self) -> None:
        missing = [alias for alias in self.d.primaries if not self.layout.data(alias).exists()]
        if not missing:
            return
        sync = self.d.postgres.fsync
        with self.console.step(f"make {len(missing)} PostgreSQL data directories"):
            together(
                lambda alias: initdb(
                    self.layout, self.binaries, self.credentials, alias, sync=sync
                ),
                missing,
            )

    def _start(self, group: list[Program], title: str) -> None:
        """Start what does not run, refresh what does, and wait until each really answers."""
        missing = [program for program in self._missing() if program in group]
        names = ", ".join(program.name for program in missing)
        if missing:
            with self.console.step(f"{title} {names}"):
                for program in missing:
                    self._start_one(program)
                self._wait(group)
        for program in group:
            if program not in missing:
                self._refresh_one(program)
        self._wait(group)

    def _start_one(self, program: Program) -> None:
        if program.kind == "postgres":
            clear_stale_pid(self.layout, program.name)
        if program.name in self.d.replicas:
            keep_limits(self.layout, program)
        self.supervisor.start(program.name)
        (self.layout.run / f"{program.name}.loaded").touch()

    def _refresh_one(self, program: Program) -> None:
        done = refresh(program, self.d, self.layout, self.credentials, self.supervisor)
        if done:
            self.console.say(f"✓ {done} {program.name}: its configuration changed")

    def _wait(self, group: list[Program]) -> None:
        together(
            lambda program: wait_until_healthy(program, self.d, self.credentials, self.supervisor),
            group,
        )

    def _define_roles(self) -> None:
        if self.engine == "postgresql":
            together(self._define_roles_of, list(self.d.primaries))

    def _define_roles_of(self, alias: str) -> None:
        define_roles(self.d, self.layout, self.binaries, self.credentials, alias)
        wait_for_pool(self.d, self.credentials, alias)

    def _discard(self) -> None:
        if self.rebuild:
            with self.console.step(f"throw the data of {self.rebuild} away"):
                self.supervisor.stop([self.rebuild])
                discard(self.layout, self.rebuild)

    def _replicate(self) -> list[str]:
        """Make, start and refresh the replicas. Returns what is wrong."""
        if self.engine != "postgresql":
            return []
        drop_unused_slots(self.console, self.d, self.credentials)
        trouble = []
        made = [p for p in self.replicas if self.layout.data(p.name).exists()]
        for group in (made, [p for p in self.replicas if p not in made]):
            try:
                names = [program.name for program in group if program not in made]
                copy(self.console, self.d, self.layout, self.binaries, self.credentials, names)
                self._start(group, "start")
                together(lambda p: wait_for_pool(self.d, self.credentials, p.name), group)
            except ClusterError as error:
                cures = ", ".join(cure(program.name) for program in group)
                trouble.append(f"{error}\nIf nothing else helps: {cures}.")
        return trouble
