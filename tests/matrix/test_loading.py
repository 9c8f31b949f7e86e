"""The file is read by the core schema of YAML 1.2, and every fault of its text is one line with its place."""

import math
import re
import time

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from matrix_texts import read, written

from harness.errors import MatrixError
from harness.matrix.loading import load_matrix, scalar_of, source_of, to_value
from harness.matrix.source import Source, shown

TRIALS = "trials: [{backend: box, phase: infer}]\n"


def test_a_file_becomes_a_frozen_matrix(tmp_path):
    """What the file says stands in the matrix, which cannot be changed."""
    matrix = load_matrix(written(tmp_path, f"name: m\ndescription: all of it\n{TRIALS}"))

    assert (matrix.name, matrix.description, matrix.device) == ("m", "all of it", "cuda")
    assert [(block.backend, block.phase) for block in matrix.trials] == [("box", ("infer",))]
    with pytest.raises(ValueError, match="frozen"):
        matrix.name = "other"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("4.", 4.0),
        ("12", 12),
        ("-3", -3),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("tf32", "tf32"),
        ("1e", "1e"),
        ("torch_*", "torch_*"),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text, value):
    """A plain scalar has the value and the type of the core schema, in a file as in --only."""
    from_file = to_value(source_of(f"key: {text}\n", "m.yaml"))

    assert from_file == {"key": value}
    assert type(from_file["key"]) is type(value)
    assert scalar_of(text) == value
    assert type(scalar_of(text)) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(1e-3)
@example(1e22)
@example(5e-324)
@settings(max_examples=50, deadline=None)
def test_every_finite_float_that_python_spells_is_read_back(number):
    """Python's shortest spelling of a float is that float in a matrix."""
    value = scalar_of(repr(number))

    assert isinstance(value, float)
    assert value == number
    assert math.copysign(1, value) == math.copysign(1, number)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="ascii"), max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner)
        ),
        max_leaves=8,
    ).filter(lambda value: value is not None)
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_another_writer_of_yaml_dumps_is_read_back(value):
    """PyYAML's own dump of plain values, every text quoted, gives those values."""

    def tuples(part):
        if isinstance(part, list):
            return tuple(tuples(each) for each in part)
        return {key: tuples(each) for key, each in part.items()} if isinstance(part, dict) else part

    text = yaml.safe_dump({"key": value}, default_style='"')
    plain = re.sub(r'!!(?:int|bool|null) "([^"]*)"', r"\1", text)

    assert to_value(source_of(plain.replace('"key"', "key"), "m.yaml")) == {"key": tuples(value)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.yaml: the file is empty; a matrix has at least a name and trials"),
        ("# only a comment\n", "m.yaml: the file is empty; a matrix has at least a name and trials"),
        ("name: a\n  b: 3\n", "m.yaml:2:4: not YAML: mapping values are not allowed here"),
        ("name: a\n\tb: 3\n", "m.yaml:2:1: not YAML: found character '\\t' that cannot start any token"),
        ("a: [1\n", "m.yaml:2:1: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("a: *b\n", "m.yaml:1:4: not YAML: found undefined alias 'b'"),
        ("name: a\n---\nname: b\n", "m.yaml:2:1: not YAML: but found another document"),
        ("name: a\nseed: 1\nname: b\n", "m.yaml:3:1: name: key 'name' stands twice; keep one of the two"),
        (
            "trials:\n  - backend: box\n    axes: {gpus: 1, gpus: 2}\n",
            "m.yaml:3:21: trials[0].axes.gpus: key 'gpus' stands twice; keep one of the two",
        ),
        (
            "name: !!python/object/apply:os.system [ls]\n",
            (
                "m.yaml:1:7: name: found the tag !!python/object/apply:os.system; "
                "write plain text, numbers, true, false, null, lists and keys"
            ),
        ),
        (
            "name: !mine a\n",
            "m.yaml:1:7: name: found the tag !mine; write plain text, numbers, true, false, null, lists and keys",
        ),
        (
            "a:\n  b: .inf\n",
            "m.yaml:2:6: a.b: found '.inf' as float; right would be a finite number, or text in quotes",
        ),
        ("a: .NaN\n", "m.yaml:1:4: a: found '.NaN' as float; right would be a finite number, or text in quotes"),
        ("a: 1e999\n", "m.yaml:1:4: a: found '1e999' as float; right would be a finite number, or text in quotes"),
        ("a: !!int x\n", "m.yaml:1:4: a: found 'x' as int; right would be a whole number of at most 63 bits"),
        ("a: !!bool x\n", "m.yaml:1:4: a: found 'x' as bool; right would be true or false"),
        ('a: "\\ud800"\n', "m.yaml:1:4: a: found '\\ud800' as str; right would be text of whole Unicode characters"),
        (
            "a: 9223372036854775808\n",
            "m.yaml:1:4: a: found '9223372036854775808' as int; right would be a whole number of at most 63 bits",
        ),
        ("1: 2\n", "m.yaml:1:1: found '1' as a key, which is no text; quote it if it is meant"),
        ("a: {[1]: 2}\n", "m.yaml:1:5: a: found a list or mapping as a key; a key is text"),
        (
            "a: &a {b: 1}\nc: {<<: *a}\n",
            "m.yaml:2:5: c: found the merge key '<<'; write what trials share under defaults",
        ),
        ("a: &a [*a]\n", "m.yaml:1:4: a[0]: an alias that contains itself; an alias repeats a complete value"),
    ],
)
def test_a_fault_of_the_text_is_one_line_with_its_place(text, message):
    """Each fault names file, line, column, key path, what was found and what would be right."""
    with pytest.raises(MatrixError) as caught:
        to_value(source_of(text, "m.yaml"))

    assert str(caught.value) == message


def test_an_integer_too_long_for_python_is_a_fault_of_the_text():
    """An integer of more digits than Python converts is refused in one line."""
    with pytest.raises(MatrixError, match=r"^m\.yaml:1:4: a: found '9{50,}.*\.\.\. as int; right would be"):
        to_value(source_of(f"a: {'9' * 5000}\n", "m.yaml"))


@pytest.mark.parametrize("depth", [400, 700])
def test_deep_nesting_is_refused(depth):
    """Nesting beyond Python's own depth is one line, not a crash, whether composing or reading meets it first."""
    with pytest.raises(MatrixError, match=r"^m\.yaml: nested too deeply; a matrix has at most five levels$"):
        to_value(source_of("[" * depth + "]" * depth, "m.yaml"))


def test_aliases_of_aliases_stay_cheap():
    """Ten levels of ten aliases each, which spell 10^10 items, are read at once."""
    lines = ["a0: &a0 [1]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    started = time.process_time()

    value = to_value(source_of("\n".join(lines), "m.yaml"))

    assert len(value["a10"]) == 10
    assert time.process_time() - started < 1


def test_an_alias_repeats_a_value():
    """A list that is named once serves twice."""
    matrix = read(
        "name: m\ntrials:\n  - {backend: box, phase: train, axes: {gpus: &ranks [1, 2]}}\n"
        "  - {backend: box, phase: infer, axes: {gpus: *ranks}}\n"
    )

    assert matrix.trials[0].axes.gpus == matrix.trials[1].axes.gpus == (1, 2)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    """A missing file, a folder, and bytes that are no UTF-8 are named as such."""
    broken = tmp_path / "broken.yaml"
    broken.write_bytes(b"name: \xff\n")

    for path, problem in (
        (tmp_path / "none.yaml", "no such file or directory; a matrix is a YAML file"),
        (tmp_path, "is a directory; a matrix is a YAML file"),
        (broken, "byte 6 is not UTF-8; save the matrix as UTF-8 text"),
    ):
        with pytest.raises(MatrixError) as caught:
            load_matrix(path)
        assert str(caught.value) == f"{path}: {problem}"


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    """A file that an editor began with a byte order mark is read."""
    path = tmp_path / "m.yaml"
    path.write_text(f"name: m\n{TRIALS}", encoding="utf-8-sig")

    assert load_matrix(path).name == "m"


def test_without_nodes_a_place_is_the_key_path():
    """A matrix made in memory has key paths and no lines."""
    with pytest.raises(MatrixError) as caught:
        Source().fail(("trials", 2, "axes"), "wrong")

    assert str(caught.value) == "trials[2].axes: wrong"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (1, "1"),
        (None, "null"),
        ("a", "'a'"),
        ((1, 2), "a list of 2"),
        ({}, "a mapping of 0"),
        ("x" * 99, "'" + "x" * 56 + "..."),
    ],
)
def test_a_value_is_shown_in_brief(value, text):
    """Values are spelled as in a file, and long ones are cut."""
    assert shown(value) == text
