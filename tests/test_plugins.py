"""Backends come through one door, and a broken one harms nobody."""

import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from harness import plugins
from harness.errors import BackendError
from harness.plugins import describe, describe_all, load_backend

GOOD = """
from harness.api import BackendInfo, hookimpl
@hookimpl
def harness_describe():
    return BackendInfo(name="{name}", framework="none", model="none", phases=("infer",), precisions=("fp32",))
@hookimpl
def harness_infer(trial, context):
    return None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install modules as backends for this test: name -> source, or (name, module) -> source."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def installed(sources: dict[str, str]) -> None:
        points = []
        for number, (name, source) in enumerate(sources.items()):
            module = f"plugin_{tmp_path.name.replace('-', '_')}_{number}"
            (tmp_path / f"{module}.py").write_text(source)
            sys.modules.pop(module, None)
            points.append(EntryPoint(name.split("#")[0], module, plugins.ENTRY_POINT_GROUP))
        monkeypatch.setattr(plugins, "entry_points", lambda **_: EntryPoints(points))

    return installed


def test_the_demo_backend_is_a_third_partys() -> None:
    """An installed distribution with one entry point is all it takes."""
    assert describe("demo").framework == "none"


def test_a_broken_backend_is_named_and_harms_nothing(install) -> None:
    """One that raises on import is named with its error; the others are there."""
    install({"bad": "raise RuntimeError('no\\nluck')", "good": GOOD.format(name="good")})
    infos, broken = describe_all()
    assert list(infos) == ["good"]
    assert [backend.name for backend in broken] == ["bad"]
    assert broken[0].reason.endswith("cannot be imported: RuntimeError: no luck")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = = 1", "cannot be imported: SyntaxError"),
        (GOOD.replace("harness_infer", "harness_inver"), "does not match the hooks.*harness_inver"),
        (GOOD.replace("trial, context", "trial, contxt"), "does not match the hooks.*contxt"),
        (GOOD.replace("{name}", "other"), "describes itself as 'other'"),
        (GOOD.replace('("infer",)', '("infer", "train")'), "declares phase 'train' without harness_train"),
        (GOOD.replace("return BackendInfo", "return dict"), "returned dict, not BackendInfo"),
        (GOOD.replace("return BackendInfo", "raise ValueError(3)  #"), "harness_describe raised ValueError: 3"),
        (GOOD.split("@hookimpl\ndef harness_infer", maxsplit=1)[0].replace("@hookimpl\n", ""), "returned NoneType"),
    ],
)
def test_each_way_to_be_broken_has_its_line(install, source: str, message: str) -> None:
    """What was found, and in which backend."""
    install({"mine": source.replace("{name}", "mine")})
    with pytest.raises(BackendError, match=f"'mine'.*{message}") as caught:
        describe("mine")
    assert "\n" not in str(caught.value)


def test_a_name_claimed_twice_is_an_error(install) -> None:
    """Silence about the second one would measure the wrong backend."""
    install({"same#1": GOOD.format(name="same"), "same#2": GOOD.format(name="same")})
    with pytest.raises(BackendError, match="two backends are named 'same'"):
        describe_all()


def test_an_unknown_backend_names_a_near_one() -> None:
    """A typo is answered with the name that was meant."""
    with pytest.raises(BackendError, match="no backend named 'dmeo'; did you mean 'demo'"):
        load_backend("dmeo")
    with pytest.raises(BackendError, match="no backend named 'zzz'; installed are demo"):
        load_backend("zzz")
