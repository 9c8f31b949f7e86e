"""Marked blocks: filled, checked, and nothing outside them touched."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import make_result, make_store

from harness.errors import ReportError
from harness.report.readme import check_file, check_readme, readme_blocks, update_file, update_readme

BLOCKS = {"training": "| a |\n| --- |\n", "summary": "| b |\n"}
PIECES = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=60).filter(
    lambda text: "harness:" not in text
)


def marked(name, body="old\n", end="\n"):
    """A block as a README holds it."""
    return f"<!-- harness:begin {name} -->{end}{body}<!-- harness:end {name} -->{end}"


@settings(max_examples=60)
@given(st.tuples(*[PIECES] * 5), st.sampled_from(["\n", "\r\n"]))
def test_not_a_byte_outside_the_blocks_changes(pieces, end):
    """Whatever surrounds the blocks comes back as it was, the blocks are filled, and filling again changes nothing."""
    first, second, third, one, two = (part.replace("\n", end) + end for part in pieces)
    text = first + marked("training", one, end) + second + marked("summary", two, end) + third
    filled = {name: end + body.replace("\n", end) + end for name, body in BLOCKS.items()}
    expected = first + marked("training", filled["training"], end) + second + marked("summary", filled["summary"], end)
    updated = update_readme(text, BLOCKS)
    assert updated == expected + third
    assert update_readme(updated, BLOCKS) == updated
    assert check_readme(updated, BLOCKS) == []


def test_check_names_what_drifted():
    """Only the block that differs is named."""
    updated = update_readme(marked("training") + marked("summary"), BLOCKS)
    assert check_readme(updated, BLOCKS | {"summary": "| new |\n"}) == ["summary"]
    assert check_readme(updated.replace("| a |", "| a!|"), BLOCKS) == ["training"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\n<!-- harness:begin trainig -->\n", "line 2: block 'trainig'; it must be one of training, summary"),
        ("<!-- harness:begin training -->\nx\n", "line 1: block 'training' has no end marker"),
        (marked("training") * 2, "line 4: a second block 'training'"),
        ("\n\n<!-- harness:end training -->\n", "line 3: block 'training' ends and did not begin"),
        ("<!-- harness:begin training -->\n" + marked("summary"), "line 2: block 'summary' begins inside 'training'"),
        ("# nothing\n", "no block to fill"),
    ],
)
def test_wrong_markers_are_named_with_their_line(text, message):
    """One line says which marker is wrong, and where."""
    with pytest.raises(ReportError) as caught:
        update_readme(text, BLOCKS)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_every_table_is_a_block():
    """A store fills the documented blocks; one without rows says so."""
    blocks = readme_blocks([make_result()])
    assert list(blocks) == [
        "summary",
        "training",
        "inference",
        "evaluation",
        "frameworks",
        "training-accuracy",
        "stability",
        "outcomes",
        "provenance",
    ]
    assert "No trial" in blocks["inference"]
    assert "| torch_maskrcnn |" in blocks["training"]


def test_simulated_devices_are_not_published():
    """A README gets no number of a simulator."""
    with pytest.raises(ReportError, match="FAKE H100"):
        readme_blocks([make_result(device_name="FAKE H100")])


def test_files_are_updated_in_place(tmp_path):
    """The file keeps its mode and its other text, and then it no longer drifts."""
    path = tmp_path / "README.md"
    path.write_bytes(b"# title\r\n" + marked("summary", end="\r\n").encode())
    path.chmod(0o640)
    assert check_file(path, make_store()) == ["summary"]
    update_file(path, make_store())
    assert check_file(path, make_store()) == []
    assert path.read_bytes().startswith(b"# title\r\n<!-- harness:begin summary -->\r\n\r\n|")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [child.name for child in tmp_path.iterdir()] == ["README.md"]


def test_files_that_cannot_be_read_are_named(tmp_path):
    """A missing file, a file in another encoding and wrong markers are one line with the path."""
    path = tmp_path / "README.md"
    with pytest.raises(ReportError, match=r"cannot read .*README\.md"):
        check_file(path, [])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ReportError, match=r"README\.md is no UTF-8 at byte 0"):
        update_file(path, [])
    path.write_text("nothing")
    with pytest.raises(ReportError, match=r"README\.md: no block to fill"):
        update_file(path, [])
