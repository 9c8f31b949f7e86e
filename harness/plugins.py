"""Find and load backends: entry points of the group "harness.backends", one by one, so that a broken one harms nothing.

pluggy skips a second entry point of the same name without a word and gives no isolation between plugins; both are
handled here: each backend gets a manager of its own, and a name that two distributions claim is an error.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import pluggy

from harness import hookspecs
from harness.errors import BackendError, BackendImportError, HookMismatchError
from harness.schema.backend import BackendInfo

ENTRY_POINT_GROUP = "harness.backends"


@dataclass(frozen=True)
class BrokenBackend:
    """A backend that is installed and cannot be used, with one line that says why."""

    name: str
    reason: str


def backend_entry_points() -> dict[str, EntryPoint]:
    """The installed backends by name.

    Raises:
        BackendError: two distributions claim the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        other = found.setdefault(entry_point.name, entry_point)
        if other.value != entry_point.value:
            raise BackendError(
                f"two backends are named {entry_point.name!r}: {other.value} and {entry_point.value};"
                " uninstall one of their distributions"
            )
    return dict(sorted(found.items()))


def load_backend(name: str) -> pluggy.PluginManager:
    """Return a manager that holds exactly this backend, so that a firstresult hook has one answer.

    Raises:
        BackendError: no such backend, its import fails, or it does not match the hook specifications.
    """
    installed = backend_entry_points()
    if name not in installed:
        near = get_close_matches(name, installed, n=1)
        hint = f"did you mean {near[0]!r}" if near else f"installed are {', '.join(installed) or 'none'}"
        raise BackendError(f"no backend named {name!r}; {hint}")
    return load_module(name, installed[name].value)


def load_module(name: str, location: str) -> pluggy.PluginManager:
    """As `load_backend`, from the module that its entry point names; spares a worker the search.

    Raises:
        BackendImportError: the import fails.
        HookMismatchError: the module does not match the hook specifications.
    """
    manager = pluggy.PluginManager(hookspecs.PROJECT_NAME)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(import_plugin(location), name=name)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise HookMismatchError(f"backend {name!r} ({location}) does not match the hooks: {one_line(error)}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise BackendImportError(f"backend {name!r} ({location}) cannot be imported: {reason}") from error
    return manager


def import_plugin(location: str) -> Any:
    """The object that an entry point's value names, as module or module:attribute."""
    module, _, attribute = location.partition(":")
    plugin = import_module(module)
    for part in filter(None, attribute.split(".")):
        plugin = getattr(plugin, part)
    return plugin


def describe(name: str) -> BackendInfo:
    """Load one backend and ask it to describe itself.

    Raises:
        BackendError: it cannot be loaded, raises, returns something else, or calls itself by another name.
    """
    return describe_loaded(name, load_backend(name))


def describe_loaded(name: str, manager: pluggy.PluginManager) -> BackendInfo:
    """Ask a loaded backend to describe itself; errors as `describe`."""
    try:
        info = manager.hook.harness_describe()
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise BackendError(f"backend {name!r}: harness_describe raised {reason}") from error
    if not isinstance(info, BackendInfo):
        raise BackendError(f"backend {name!r}: harness_describe returned {type(info).__name__}, not BackendInfo")
    if info.name != name:
        raise BackendError(f"backend {name!r} describes itself as {info.name!r}; both must be the entry point's name")
    unimplemented = [phase for phase in info.phases if not getattr(manager.hook, f"harness_{phase}").get_hookimpls()]
    if unimplemented:
        raise BackendError(f"backend {name!r} declares phase {unimplemented[0]!r} without harness_{unimplemented[0]}")
    return info


def describe_all() -> tuple[Mapping[str, BackendInfo], tuple[BrokenBackend, ...]]:
    """Describe every installed backend; those that cannot be are named with the reason."""
    infos: dict[str, BackendInfo] = {}
    broken: list[BrokenBackend] = []
    for name in backend_entry_points():
        try:
            infos[name] = describe(name)
        except BackendError as error:
            broken.append(BrokenBackend(name, str(error)))
    return infos, tuple(broken)


def one_line(error: BaseException) -> str:
    """An exception's message on one line."""
    return " ".join(str(error).split()) or type(error).__name__
