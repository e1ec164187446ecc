"""The inventory that documents itself, and the programs that roles put on its hosts."""

import importlib.util
from types import ModuleType

from infra.layout import CHECKOUT

__all__ = ["EXAMPLE", "tool"]

EXAMPLE = CHECKOUT / "ansible" / "inventories" / "example"


def tool(role: str, name: str) -> ModuleType:
    """A program that the role puts on the host, as a module."""
    path = CHECKOUT / "ansible" / "roles" / role / "files" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
