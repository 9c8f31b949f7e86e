"""Every fault of a matrix is one line: where it stands, what was found, what would be right."""

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from matrix_texts import BACKENDS, block, machine, plan_of, read

from harness.errors import MatrixError
from harness.matrix.model import Matrix
from harness.matrix.plan import expand

ONE = "name: m\ntrials:\n  - {backend: box, phase: infer}\n"
SETTINGS = (
    "batch_size_per_gpu, evaluate, evaluate_every_steps, flavour, fused, gpus, gradient_accumulation_steps, "
    "image_size, launcher, max_timed_steps, max_warmup_steps, nodes, precision, probe, rate, repeats, save_weights, "
    "scorer, seed, target, threads, timed_interval, timed_seconds, timed_steps, timeout_s, warmup_steps, xla"
)
THREADS = "option threads takes a whole number of at least 1 (box)"
PLAIN = "right would be one value: text, a number, true, false or null"
TRAIN_ALONE = "belongs to train, this block also has infer; split the block"
ROW = "61: trials[0].zip.gpus[2]"
NO_AXIS = "is no axis; write it beside axes, one value for the block"
NONE_OF = "5: exclude[0]: rule matches none of 2 points"
FIELDS = (
    "backend, batch_size_per_gpu, device, evaluate, evaluate_every_steps, flavour, fused, gpus, "
    "gradient_accumulation_steps, image_size, launcher, max_timed_steps, max_warmup_steps, nodes, phase, precision, "
    "probe, rehearsal, save_weights, scorer, seed, threads, timed_interval, timed_seconds, timed_steps, timeout_s, "
    "warmup_steps, xla"
)


def problem(text):
    """The line that a text ends in."""
    with pytest.raises(MatrixError) as caught:
        plan_of(text)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[]", "m.yaml:1:1: found a list of 0; right would be keys with values"),
        ("name: m\n", "m.yaml:1:1: key trials is missing; it is: blocks of trials, one or more"),
        ("name: m\ntrials: []\n", "m.yaml:2:9: trials: found an empty list; right would be one entry or more"),
        ("name: m\ntrials: {}\n", "m.yaml:2:9: trials: found a mapping of 0; right would be a list"),
        ("name: m\ntrials: [train]\n", "m.yaml:2:10: trials[0]: found 'train'; right would be keys with values"),
        ("nam: m\ntrials: []\n", "m.yaml:1:1: nam: unknown key 'nam'; did you mean name?"),
        (f"{ONE}excluded: []\n", "m.yaml:4:1: excluded: unknown key 'excluded'; did you mean exclude?"),
        (
            f"{ONE}qqq: []\n",
            (
                "m.yaml:4:1: qqq: unknown key 'qqq'; "
                "known: after_out_of_memory, data, defaults, description, device, exclude, name, requires, trials"
            ),
        ),
        (
            ONE.replace("name: m", "name: a/b"),
            (
                "m.yaml:1:7: name: found 'a/b'; "
                "right would be letters, digits, dots, dashes and underscores, a letter or digit first"
            ),
        ),
        (
            ONE.replace("name: m", "name: 3"),
            "m.yaml:1:7: name: found 3; right would be text; quote it if it looks like a number",
        ),
        (f"{ONE}device: gpu\n", "m.yaml:4:9: device: found 'gpu'; right would be cuda, cpu or auto"),
        (f"{ONE}data: coco\n", "m.yaml:4:7: data: found 'coco'; right would be keys with values"),
        (f"{ONE}data: {{trian: x}}\n", "m.yaml:4:8: data.trian: unknown key 'trian'; did you mean train?"),
        (f"{ONE}requires: {{gpu: 8}}\n", "m.yaml:4:12: requires.gpu: unknown key 'gpu'; did you mean gpus?"),
        (
            f"{ONE}requires: {{compute_capability: 8.0}}\n",
            (
                "m.yaml:4:32: requires.compute_capability: found 8.0; "
                "right would be text; quote it if it looks like a number"
            ),
        ),
        (
            f'{ONE}requires: {{compute_capability: "8"}}\n',
            "m.yaml:4:32: requires.compute_capability: found '8'; right would be two numbers in quotes, as \"8.0\"",
        ),
        (
            "name: m\ntrials:\n  - {backend: box}\n",
            (
                "m.yaml:3:5: trials[0]: key phase is missing; "
                "it is: train, eval or infer, or a list of them, which is crossed with the axes"
            ),
        ),
        (
            "name: m\ntrials:\n  - {backend: box, phas: infer}\n",
            "m.yaml:3:20: trials[0].phas: unknown key 'phas'; did you mean phase?",
        ),
        (
            "name: m\ntrials:\n  - {phase: infer}\n",
            (
                "m.yaml:3:5: trials[0]: key backend is missing; "
                "it is: name of an installed backend; `harness backends` lists them"
            ),
        ),
        (
            "name: m\ntrials:\n  - {backend: boxx, phase: infer}\n",
            "m.yaml:3:15: trials[0].backend: backend 'boxx' is not installed; did you mean box?",
        ),
        (
            "name: m\ntrials:\n  - {backend: zzz, phase: infer}\n",
            "m.yaml:3:15: trials[0].backend: backend 'zzz' is not installed; known: box, pole",
        ),
        (
            "name: m\ntrials:\n  - {backend: pole, phase: [infer, eval]}\n",
            "m.yaml:3:36: trials[0].phase[1]: pole has no phase eval; it has infer",
        ),
        (
            "name: m\ntrials:\n  - {backend: pole, phase: train}\n",
            "m.yaml:3:28: trials[0].phase: pole has no phase train; it has infer",
        ),
        (
            "name: m\ntrials:\n  - {backend: box, phase: [train, test]}\n",
            "m.yaml:3:35: trials[0].phase[1]: found 'test'; right would be train, eval or infer",
        ),
        (
            "name: m\ntrials:\n  - {backend: box, phase: []}\n",
            "m.yaml:3:27: trials[0].phase: found an empty list; right would be one entry or more",
        ),
        (
            f"{ONE}defaults: {{flavor: plain}}\n",
            "m.yaml:4:12: defaults.flavor: unknown key 'flavor'; did you mean flavour?",
        ),
        (f"{ONE}defaults: {{device: cpu}}\n", f"m.yaml:4:12: defaults.device: unknown key 'device'; known: {SETTINGS}"),
        (
            f"{ONE}defaults: {{threads: 0}}\n",
            "m.yaml:4:21: defaults.threads: found 0; option threads takes a whole number of at least 1 (box)",
        ),
    ],
)
def test_a_fault_outside_the_blocks(text, line):
    """Faults of the file's own keys, of defaults, and of what a block must have."""
    assert problem(text) == line


@pytest.mark.parametrize(
    ("keys", "rest"),
    [
        (
            "timed_step: 4",
            (
                "42: trials[0].timed_step: unknown key 'timed_step'; "
                "did you mean timed_steps, max_timed_steps or timed_seconds?"
            ),
        ),
        ("axess: {gpus: 1}", "42: trials[0].axess: unknown key 'axess'; did you mean axes?"),
        ("flavour: plan", "51: trials[0].flavour: found 'plan'; option flavour takes 'plain' or 'spiced' (box)"),
        ("threads: two", f"51: trials[0].threads: found 'two'; {THREADS}"),
        ("threads: 1.0", f"51: trials[0].threads: found 1.0; {THREADS}"),
        ("threads: true", f"51: trials[0].threads: found true; {THREADS}"),
        ("threads: null", f"51: trials[0].threads: found null; {THREADS}"),
        ("rate: 2", "48: trials[0].rate: found 2; option rate takes a number from 0 to 1 or null (box)"),
        ("fused: 1", "49: trials[0].fused: found 1; option fused takes true or false (box)"),
        ("fused: on", "49: trials[0].fused: found 'on'; option fused takes true or false (box)"),
        ("gpus: 0", "48: trials[0].gpus: found 0; right would be more than 0"),
        ("gpus: 1.5", "48: trials[0].gpus: found 1.5; right would be a whole number"),
        ("gpus: true", "48: trials[0].gpus: found true; right would be a whole number"),
        (
            "gpus: [1, 2]",
            "48: trials[0].gpus: found a list of 2; right would be a whole number; a list belongs under axes",
        ),
        ("seed: -1", "48: trials[0].seed: found -1; right would be at least 0"),
        ("timeout_s: soon", "53: trials[0].timeout_s: found 'soon'; right would be a number"),
        ("xla: yes", "47: trials[0].xla: found 'yes'; right would be true or false"),
        ("precision: no", "53: trials[0].precision: found 'no'; right would be fp32, tf32 or amp"),
        ("device: gpu", "50: trials[0].device: found 'gpu'; right would be cuda, cpu or auto"),
        ("target: {}", "50: trials[0].target: found no quality; write bbox_ap, segm_ap or both"),
        (
            "target: {bbox_ap: 37.7}",
            "50: trials[0].target: found bbox_ap 37.7; right would be a fraction such as 0.377",
        ),
        ("target: {bbox: 0.3}", "51: trials[0].target.bbox: unknown key 'bbox'; did you mean bbox_ap?"),
        (
            "options: {threads: 2}",
            f"51: trials[0].options: found a mapping of 1; {PLAIN}",
        ),
        ("axes: [gpus]", "48: trials[0].axes: found a list of 1; right would be keys with values"),
        ("axes: {gpus: []}", "55: trials[0].axes.gpus: found an empty list; right would be one entry or more"),
        ("axes: {threads: []}", "58: trials[0].axes.threads: found an empty list; right would be one entry or more"),
        ("zip: {gpus: []}", "54: trials[0].zip.gpus: found an empty list; right would be one entry or more"),
        ("axes: {gpus: [1, 2, 1]}", "55: trials[0].axes.gpus: found 1 twice; keep one of the two"),
        ("axes: {gpus: [1, two]}", "59: trials[0].axes.gpus[1]: found 'two'; right would be a whole number"),
        ("axes: {gpus: null}", "55: trials[0].axes.gpus: found null; right would be a whole number"),
        (
            "axes: {precision: [fp32, fp8]}",
            "67: trials[0].axes.precision[1]: found 'fp8'; right would be fp32, tf32 or amp",
        ),
        ("axes: {gpuss: 1}", "49: trials[0].axes.gpuss: unknown key 'gpuss'; did you mean gpus?"),
        ("axes: {timed_steps: [1, 2]}", f"49: trials[0].axes.timed_steps: timed_steps {NO_AXIS}"),
        ("axes: {repeats: 2}", f"49: trials[0].axes.repeats: repeats {NO_AXIS}"),
        ("axes: {threads: [1, {a: 1}]}", f"62: trials[0].axes.threads[1]: found a mapping of 1; {PLAIN}"),
        ("axes: {threads: [1, x]}", f"62: trials[0].axes.threads[1]: found 'x'; {THREADS}"),
        ("axes: {rate: [0.1]}", f"49: trials[0].axes.rate: rate {TRAIN_ALONE}"),
        (
            "zip: {gradient_accumulation_steps: [1]}",
            f"48: trials[0].zip.gradient_accumulation_steps: gradient_accumulation_steps {TRAIN_ALONE}",
        ),
        (
            "zip: {gpus: [1, 2], seed: [1]}",
            "47: trials[0].zip: lists of unequal length: gpus has 2, seed has 1; right would be as many values in each",
        ),
        ("zip: {gpus: [1, 2, 1], seed: [1,1,1]}", f"{ROW}: row 3 repeats row 1; keep one of the two"),
        (
            "zip: {seed: [1, 2]}, axes: {seed: 3}",
            "48: trials[0].zip.seed: seed stands in axes and in zip; keep one of the two",
        ),
        ("seed: 1, axes: {seed: 3}", "42: trials[0].seed: seed is fixed here and varied in axes; keep one of the two"),
        (
            "threads: 1, zip: {threads: [3]}",
            "42: trials[0].threads: threads is fixed here and varied in zip; keep one of the two",
        ),
    ],
)  # fmt: skip
def test_a_fault_inside_a_block(keys, rest):
    """Faults of settings, options, axes and zip, each at its own column."""
    assert problem(block(keys)) == f"m.yaml:4:{rest}"


LEAST_WARMUP = "8 stretches of 5 steps show whether steps are steady"
REPEATS = "nothing repeats the timed steps; right would be timed_seconds or timed_interval beside it"


@pytest.mark.parametrize(
    ("keys", "rest"),
    [
        ("timed_interval: 5", "58: trials[0].timed_interval: found 5; right would be less than 1"),
        ("timed_interval: 0", "58: trials[0].timed_interval: found 0; right would be more than 0"),
        ("timed_seconds: -2.5", "57: trials[0].timed_seconds: found -2.5; right would be more than 0"),
        (
            "max_warmup_steps: 49",
            f"60: trials[0].max_warmup_steps: found 49; right would be 50 or more: warmup_steps and {LEAST_WARMUP}",
        ),
        ("max_timed_steps: 500", f"59: trials[0].max_timed_steps: {REPEATS}"),
        (
            "max_timed_steps: 99, timed_seconds: 9.0",
            "59: trials[0].max_timed_steps: found 99; right would be 100 or more: that is timed_steps",
        ),
        (
            "max_timed_steps: 40, timed_steps: 10, timed_interval: 0.1",
            "59: trials[0].max_timed_steps: found 40; right would be 50 or more: an interval takes 5 times timed_steps",
        ),
        ("axes: {timed_seconds: [1.0, 2.0]}", f"49: trials[0].axes.timed_seconds: timed_seconds {NO_AXIS}"),
    ],
)  # fmt: skip
def test_numbers_of_steps_that_contradict_one_another(keys, rest):
    """What could never end a window, or never begin one, is refused where it stands."""
    assert problem(block(keys)) == f"m.yaml:4:{rest}"


def test_numbers_of_steps_are_refused_where_they_stand():
    """In the defaults, if they and not the block have what is wrong."""
    text = (
        "name: m\ndefaults: {max_timed_steps: 20, timed_seconds: 1.0}\ntrials:\n"
        "  - {backend: box, phase: infer, timed_steps: 50}\n"
    )

    assert problem(text) == (
        "m.yaml:2:29: defaults.max_timed_steps: found 20; right would be 50 or more: that is timed_steps"
    )


def test_an_evaluation_takes_no_numbers_of_repeated_steps():
    """It passes over the set once: fixed there they are an error, from the defaults it does not take them."""
    text = "name: m\ndevice: cpu\ntrials:\n  - {backend: box, phase: eval, timed_seconds: 2.0}\n"
    shared = "name: m\ndefaults: {timed_seconds: 2.0}\ntrials:\n  - {backend: box, phase: [eval, infer]}\n"

    assert problem(text) == (
        "m.yaml:4:33: trials[0].timed_seconds: timed_seconds belongs to train or infer; this block has eval"
    )
    assert [point.trial.timed_seconds for point in plan_of(shared).points] == [None, 2.0]


@pytest.mark.parametrize("keys", ["save_weights: small", "rate: 0.1", "evaluate: true", "target: {bbox_ap: 0.1}"])
def test_what_belongs_to_training_is_refused_where_nothing_trains(keys):
    """A setting or option of the train phase, fixed in a block without it, is an error."""
    name = keys.partition(":")[0]
    text = f"name: m\ntrials:\n  - {{backend: box, phase: [eval, infer], {keys}}}\n"

    assert problem(text) == f"m.yaml:3:42: trials[0].{name}: {name} belongs to train; this block has eval or infer"


@pytest.mark.parametrize(
    ("rule", "rest"),
    [
        ("{when: {gpus: 7}, because: x}", f"{NONE_OF}: no point has gpus=7; points have 1, 2"),
        ("{when: {precision: 'tf*'}, because: x}", f"{NONE_OF}: no point has precision=tf*; points have 'fp32'"),
        ("{when: {gpus: 1, seed: 2}, because: x}", f"{NONE_OF}, though each of its keys does; correct it or remove it"),
        ("{when: {gpu: 1}, because: x}", "13: exclude[0].when.gpu: unknown key 'gpu'; did you mean gpus?"),
        ("{when: {repeat: 1}, because: x}", "13: exclude[0].when.repeat: unknown key 'repeat'; known: " + FIELDS),
        ("{when: {}, because: x}", "12: exclude[0].when: found an empty mapping; right would be one entry or more"),
        (
            "{when: {gpus: []}, because: x}",
            "19: exclude[0].when.gpus: found an empty list; right would be one entry or more",
        ),
        ("{when: {gpus: {a: 1}}, because: x}", f"19: exclude[0].when.gpus: found a mapping of 1; {PLAIN}"),
        ("{when: [gpus], because: x}", "12: exclude[0].when: found a list of 1; right would be keys with values"),
        ("{when: {gpus: 1}}", "5: exclude[0]: key because is missing; it is: why; shown with every dropped point"),
        ('{when: {gpus: 1}, because: ""}', "32: exclude[0].because: found ''; right would be some text"),
        ("{whn: {gpus: 1}, because: x}", "6: exclude[0].whn: unknown key 'whn'; did you mean when?"),
    ],
)  # fmt: skip
def test_a_fault_of_a_rule(rule, rest):
    """A rule that meets no point, and every other fault of a rule, is an error at its place."""
    text = "name: m\ntrials:\n  - {backend: box, phase: infer, zip: {gpus: [1, 2], seed: [1, 2]}}\n"

    assert problem(f"{text}exclude:\n  - {rule}\n") == f"m.yaml:5:{rest}"


def test_a_point_of_two_blocks_names_both():
    """The same point from two blocks is an error that names both, however each is written."""
    line = problem(
        "name: m\ndevice: cpu\ntrials:\n  - {backend: box, phase: [eval, infer], axes: {gpus: [1, 2], seed: [1, 2]}}\n"
        "  - {backend: box, phase: infer, flavour: plain, gpus: 2, zip: {seed: [5, 2]}}\n"
    )

    assert line.startswith("m.yaml:5:5: trials[1]: makes the same point as trials[0]: box-infer-cpu2-b1-fp32-r0-")
    assert line.endswith("; keep it in one of the two")


def test_of_several_problems_the_first_in_the_file_is_told():
    """One line is told at a time, in the order of the file."""
    assert problem("name: 3\ndevice: gpu\ntrials: []\n").startswith("m.yaml:1:7: name")
    assert problem("device: gpu\ntrials: []\nname: 3\n").startswith("m.yaml:1:9: device")


def test_one_number_written_in_two_ways_is_one_value():
    """1 and 1.0 are the same value of an option that is a float."""
    text = "name: m\ntrials:\n  - {backend: box, phase: train, axes: {rate: [1, 0.5, 1.0]}}\n"

    assert problem(text) == (
        "m.yaml:3:47: trials[0].axes.rate: two values are the same number once option rate has them; "
        "keep one of the two"
    )


def test_a_key_of_several_lines_stays_in_one_line():
    """A key that is no word is quoted, so that the message is one line."""
    assert problem(f'{ONE}"a\\nb": 1\n').startswith("m.yaml:4:1: ['a\\nb']: unknown key 'a\\nb'; known: after_")


def test_a_reason_of_several_lines_becomes_one():
    """The line breaks of a folded reason do not reach the plan."""
    text = f"{ONE}exclude:\n  - when: {{gpus: 1}}\n    because: |\n      too\n      long\n"

    assert [point.dropped_by for point in plan_of(text).points] == ["exclude[0]: too long"]


WHOLE = """\
name: m
device: auto
requires: {gpus: 1, compute_capability: "8.0"}
data: {train: a, val: b}
defaults: {seed: 7, threads: 3, target: {bbox_ap: 0.3}}
trials:
  - backend: box
    phase: [train, infer]
    flavour: spiced
    zip: {precision: [fp32, amp], batch_size_per_gpu: [1, 2]}
    axes: {gpus: [2, 1], fused: [true, false], image_size: 64}
exclude:
  - {when: {phase: train, gpus: ">=2"}, because: too long}
"""
PIECES = st.sampled_from(
    [
        "",
        "1",
        "-1",
        "1e-3",
        "1e999",
        "null",
        "true",
        "no",
        "x",
        "'*'",
        "[]",
        "{}",
        "[1]",
        "{a: 1}",
        "gpus",
        "axes",
        "rate",
        ":",
        " ",
        "\n",
        "\n  ",
        "- ",
        ", ",
        "&a ",
        "*a",
        "!!int ",
        '"\\ud800"',
        "<<: ",
        "? ",
        "99999999999999999999",
        "\u2028",
        "\x00",
    ]
)


@example([(374, 0, "\u2028")])
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 8), PIECES), min_size=1, max_size=2))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_happens_to_a_matrix_it_is_a_plan_or_one_line(edits):
    """Any small damage to a file ends in a plan or in one line that names the file."""
    text = WHOLE
    for start, length, piece in edits:
        text = text[:start] + piece + text[start + length :]

    try:
        plan = plan_of(text)
    except MatrixError as error:
        message = str(error)
    else:
        assert all(point.trial.trial_id for point in plan.points)
        return
    assert len(message.splitlines()) == 1
    assert message.startswith("m.yaml")


def test_a_matrix_made_in_memory_names_key_paths():
    """Without a file the line begins with the key path."""
    matrix = Matrix.model_validate({"name": "m", "trials": ({"backend": "box", "phase": "infer", "gpuss": 2},)})

    with pytest.raises(MatrixError, match=r"^trials\[0\]\.gpuss: unknown key 'gpuss'; did you mean gpus\?$"):
        expand(matrix, BACKENDS, machine())


def test_an_unquoted_comparison_is_no_yaml():
    """A comparison needs its quotes, as the manual says."""
    with pytest.raises(MatrixError, match=r"^m\.yaml:5:19: not YAML"):
        read(f"{ONE}exclude:\n  - {{when: {{gpus: >=4}}, because: x}}\n")
