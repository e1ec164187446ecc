"""Every file of a real host, by service: infra/hosts/SERVICE.py has a pure function

    files(cluster: Cluster, host: str, facts: Facts) -> list[HostFile]

which renders infra/templates, and perhaps `variables(cluster, host, facts) -> dict[str, Any]` with
what the role's tasks loop over. Ansible asks for both through ansible/plugins/lookup/fulcrum.py.
"""

__all__ = ["Cluster", "Facts", "HostFile", "files", "services", "variables"]

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from infra.credentials import Credentials
from infra.errors import ClusterError
from infra.rotation import Rotation
from infra.schema import Description

if TYPE_CHECKING:  # a cluster on one machine has no authority, nor what makes one installed
    from infra.authority import Authority


@dataclass(frozen=True)
class Cluster:
    """All that a host's files are made from, but what the host is itself."""

    description: Description
    credentials: Credentials
    authority: "Authority"
    rotation: Rotation = field(default_factory=Rotation)

    def verifiers(self, name: str) -> dict[str, str]:
        """Every login that opens with the secret `name` now → its SCRAM verifier."""
        users = self.rotation.users(self.credentials, name)
        return {user: self.credentials.verifier(name, users[user]) for user in users}


@dataclass(frozen=True)
class Facts:
    """What a host is: its memory for the cluster, its cores, whether its disk is a spinning one."""

    memory_mb: int
    cores: int
    rotational: bool = False


@dataclass(frozen=True)
class HostFile:
    """One file of a host. `owner` and `group` exist once the role has installed its packages."""

    path: str
    content: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"

    @property
    def secret(self) -> bool:
        """Not everybody on the host may read it, and nobody sees it in a diff."""
        return not self.mode & 0o004

    def as_task(self) -> dict[str, str]:
        """What a task gives to ansible.builtin.copy; the mode is text, as Ansible wants it."""
        return {
            "path": self.path,
            "content": self.content,
            "mode": f"{self.mode:04o}",
            "owner": self.owner,
            "group": self.group,
        }


def services() -> list[str]:
    """The names that `files` takes."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def files(service: str, cluster: Cluster, host: str, facts: Facts) -> list[HostFile]:
    """The service's files on `host`, sorted by path."""
    made: list[HostFile] = _module(service).files(cluster, host, facts)
    return sorted(made, key=lambda file: file.path)


def variables(service: str, cluster: Cluster, host: str, facts: Facts) -> Mapping[str, Any]:
    """What the role's tasks need to know beyond the files; {} where the service has none."""
    module = _module(service)
    if not hasattr(module, "variables"):
        return {}
    made: Mapping[str, Any] = module.variables(cluster, host, facts)
    return made


def _module(service: str) -> ModuleType:
    if service not in services():
        raise ClusterError(f"No service '{service}'. There are: {', '.join(services())}.")
    return importlib.import_module(f"infra.hosts.{service}")
