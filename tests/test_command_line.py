"""The commands as processes and at their edges: one clear line and the right exit status for each mistake."""

import errno
import os
import shutil
import subprocess
import sys

import paddle
import pytest
from conftest import ROOT, assert_one_line_error, call, script

import draw
import evaluate
import predict
import train
from digits.files import replacing

EXAMPLES = sorted((ROOT / "examples").iterdir())
MAINS = {"predict.py": predict.main, "evaluate.py": evaluate.main, "train.py": train.main, "draw.py": draw.main}


def arguments_of(command):
    """Return the arguments that a command cannot do without."""
    return [EXAMPLES[0]] if command == "predict.py" else []


# As processes


def test_a_command_answers_from_any_folder_and_its_csv_can_go_to_stdout(tmp_path):
    done = script("predict.py", *EXAMPLES[:2], "--csv", "/dev/stdout", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "path,label,confidence,trusted,error,reason" in done.stdout


def test_a_mistyped_flag_ends_a_process_with_one_line_and_exit_2():
    assert_one_line_error(script("predict.py", "x.png", "--jsn"), "'--jsn'", "did you mean '--json'?")


def test_a_device_that_is_missing_ends_a_process_with_one_line_and_exit_2():
    if paddle.device.is_compiled_with_cuda():
        pytest.skip("this Paddle can use a GPU")
    done = script("predict.py", EXAMPLES[0], "--device", "gpu")
    assert_one_line_error(done, "device 'gpu'", "built without CUDA", "--device cpu")


def test_help_and_usage_errors_do_not_wait_for_paddle():
    code = """
import runpy, sys
for name in sys.argv[1:]:
    for flag, status in (("--help", 0), ("--no-such-flag", 2)):
        sys.argv = [name, flag]
        try:
            runpy.run_path(name, run_name="__main__")
        except SystemExit as end:
            assert (end.code or 0) == status, (name, flag, end.code)
        assert "paddle" not in sys.modules, (name, flag)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code, *MAINS], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["done"], done.stderr


def test_the_reader_of_a_pipe_may_leave_early():
    command = f"'{sys.executable}' predict.py {'examples ' * 30} --json | head -n 1"  # more than a pipe holds
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("[\n", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_one_line_and_exit_1():
    assert_one_line_error(script("predict.py", EXAMPLES[0], "--csv", "/dev/full"), "No space left", status=1)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("flags", [[], ["--json"] * 60])
def test_a_full_disk_under_stdout_is_one_line_and_exit_1(flags):
    """More than a buffer of text fails while it is printed, less at the end."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "predict.py", *["examples"] * (1 + len(flags)), *flags[:1]]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120
        )
    assert_one_line_error(done, "error: stdout: No space left", status=1)


@pytest.mark.parametrize("name", [None, "temporary"])
def test_a_full_disk_names_the_file_that_was_to_be_written(tmp_path, name):
    path = tmp_path / "some.csv"
    with pytest.raises(OSError, match="No space") as error, replacing(path) as temporary:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name and str(temporary))
    assert error.value.filename == str(path)


def test_file_names_that_the_terminal_cannot_show_are_escaped(tmp_path):
    paths = [os.path.join(os.fsencode(tmp_path), name) for name in (b"zahl \xff.png", "zähl\n7.png".encode())]
    for path in paths:
        shutil.copy(EXAMPLES[-2], path)
    done = script("predict.py", *map(os.fsdecode, paths), "--csv", tmp_path / "o.csv", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert "zahl \\udcff.png" in done.stdout
    assert "z\\xe4hl\n7.png" in done.stdout
    done = call(predict.main, "no\nsuch.png")
    assert_one_line_error(done, r"no\nsuch.png: no such file")


def test_a_name_that_is_too_long_is_one_line_and_exit_2(tmp_path):
    name = "x" * 300
    for main, *arguments in (
        (predict.main, f"{name}.png"),
        (predict.main, EXAMPLES[0], "--csv", f"{name}.csv"),
        (predict.main, EXAMPLES[0], "--checkpoint", name),
        (evaluate.main, "--out", name),
        (train.main, f"{name}.yaml"),
        (train.main, "--out", name),
        (train.main, "--fine-tune", name),
    ):
        assert_one_line_error(call(main, *arguments, cwd=tmp_path), name, "ile name too long")


def test_pictures_with_long_names_are_drawn(tmp_path):
    for name in ("a" * 240, "b", "\u6570" * 80):
        shutil.copy(ROOT / "examples" / "7_scan.png", tmp_path / f"{name}.png")
    done = call(predict.main, tmp_path, "--show", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "outputs").iterdir())) == 3


def test_without_network_and_cache_one_line_says_what_to_do(tmp_path):
    """A proxy where nothing listens stands for the missing network; pip and npm use it too."""
    dead = "http://127.0.0.1:9"
    environment = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), dead)
    environment |= {"HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "npm_config_registry": dead}
    done = script("evaluate.py", cwd=tmp_path, **environment)
    assert_one_line_error(
        done, "MNIST is not in", "Paddle's download", "PyPI package", "put the four idx files", status=1
    )


# In this process


@pytest.mark.parametrize("command", MAINS)
def test_help_shows_commands_to_copy(command):
    done = call(MAINS[command], "--help")
    assert done.returncode == 0
    assert f"python {command} " in done.stdout


@pytest.mark.parametrize("command", MAINS)
def test_an_unknown_or_missing_device_is_one_line_and_exit_2(command):
    done = call(MAINS[command], *arguments_of(command), "--device", "tpu")
    assert_one_line_error(done, "--device", "tpu", "auto", "cpu", "gpu")
    if command != "draw.py" and not paddle.device.is_compiled_with_cuda():
        done = call(MAINS[command], *arguments_of(command), "--device", "gpu")
        assert_one_line_error(done, "device 'gpu'", "built without CUDA", "--device cpu")


def test_a_mistyped_flag_is_one_line_with_a_suggestion():
    done = call(train.main, "--lerning-rate", "1")
    assert_one_line_error(done, "'--lerning-rate'", "did you mean '--learning-rate'?")
    assert_one_line_error(call(train.main, "--data", "x"), "'--data'", "did you mean '--data-dir'?")
    assert_one_line_error(call(predict.main), "PATH")


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--lr", "--learning-rate"),
        ("--LR", "--learning-rate"),
        ("--learning_rate", "--learning-rate"),
        ("--bs", "--batch-size"),
        ("--batch", "--batch-size"),
        ("--batchsize", "--batch-size"),
        ("--epoch", "--epochs"),
        ("--num-epochs", "--epochs"),
        ("-e", "--epochs"),
        ("--wd", "--weight-decay"),
        ("--gpu", "--device"),
        ("--cuda", "--device"),
        ("--dataset", "--data-dir"),
        ("--output-dir", "--out"),
        ("--scheduler", "--schedule"),
        ("--early-stopping", "--patience"),
        ("--opt", "--optimizer"),
        ("--net", "--model"),
        ("--random-seed", "--seed"),
        ("--finetune", "--fine-tune"),
        ("--img-size", "--image-size"),
    ],
)
@pytest.mark.parametrize("value", [[], ["=1"]])
def test_a_flag_of_other_programs_suggests_ours(flag, meant, value):
    done = call(train.main, "".join([flag, *value]), "1")
    assert_one_line_error(done, f"unknown argument '{flag}", f"did you mean '{meant}'?")


def test_a_flag_without_a_counterpart_is_named_without_a_suggestion():
    done = call(predict.main, "x.png", "--zzz")
    assert_one_line_error(done, "unknown argument '--zzz'", "--help lists the flags")
    assert "did you mean" not in done.stderr
    assert_one_line_error(call(predict.main, "x.png", "--gpu"), "did you mean '--device'?")
    assert_one_line_error(call(predict.main, "x.png", "--weights", "w"), "did you mean '--checkpoint'?")
    assert_one_line_error(call(predict.main, "x.png", "--output", "o"), "did you mean '--csv'?")


def test_a_dash_of_a_word_processor_is_named():
    for dash in ("\u2013", "\u2014", "\u2212\u2212"):
        assert_one_line_error(call(train.main, f"{dash}epochs", "1"), "a dash that is not a hyphen; write --epochs")


def test_a_file_may_have_a_name_that_begins_with_dashes(tmp_path):
    for name in ("--my_digit.png", "-7.png", "--json.png", "-x", "\u2013epochs"):
        shutil.copy(ROOT / "examples" / "7_scan.png", tmp_path / name)
        for arguments in (["--", name], [name]):
            done = call(predict.main, *arguments, cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith(f"{name}: 7, ")
    done = call(predict.main, "-7.png", "--", "--my_digit.png", cwd=tmp_path)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["-7.png", "--my_digit.png"]
    assert_one_line_error(call(predict.main, "-8.png", cwd=tmp_path), "'-8.png': no such file", "write ./-8.png")
    assert_one_line_error(call(predict.main, "--", "--jsn", cwd=tmp_path), "--jsn: no such file")
    (tmp_path / "--json").touch()  # a flag is a flag
    assert call(predict.main, "--json", "-7.png", cwd=tmp_path).stdout.startswith("[")


def test_a_bad_config_is_one_line_and_exit_2(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text("lerning_rate: 1")
    assert_one_line_error(call(train.main, path), "some.yaml: unknown key 'lerning_rate', did you mean")
    path.write_text("epochs: -1")
    assert_one_line_error(call(train.main, path), "some.yaml: epochs: -1 is out of range")
    assert_one_line_error(call(train.main, "configs/lenett.yaml"), "did you mean 'configs/lenet.yaml'?")
    done = call(train.main, "--data-dir", tmp_path / "gone", cwd=tmp_path)
    assert_one_line_error(done, "gone: no such folder")
    assert not (tmp_path / "checkpoints").exists()


def test_an_output_that_cannot_be_written_is_reported_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    copy = shutil.copy(EXAMPLES[0], tmp_path)
    for main, *arguments in (
        (predict.main, EXAMPLES[0], "--csv", tmp_path),
        (predict.main, EXAMPLES[0], "--csv", tmp_path / "file" / "out.csv"),
        (predict.main, "--csv", copy, EXAMPLES[0]),  # two arguments swapped: the picture must survive
        (evaluate.main, "--out", tmp_path / "file"),
        (train.main, "--out", tmp_path / "file"),
    ):
        done = call(main, *arguments)
        assert_one_line_error(done, str(tmp_path))
        assert done.stdout == ""
    assert (tmp_path / EXAMPLES[0].name).read_bytes() == EXAMPLES[0].read_bytes()
