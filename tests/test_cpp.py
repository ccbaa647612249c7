"""deploy/cpp: the C++ program reads pictures as Python does, and refuses what it cannot read in one line."""

import csv
import os
import re
import shutil
import subprocess

import cv2
import numpy as np
import pytest
from conftest import ROOT, assert_one_line_error, script
from PIL import Image

import predict
from benchmarks.handwriting import draw_sign
from digits.data.synthetic_digits import draw_forms
from digits.evaluation.classifier import Classifier
from digits.networks.checkpoint import load_checkpoint, save_checkpoint
from digits.networks.registry import load_network

PAPER, INK = 235, 30  # gray levels
NETWORKS = ("lenet", "extended", "letters")
EACH = 50  # pictures of each kind


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """Build the program once."""
    build = tmp_path_factory.mktemp("build")
    give_up = pytest.fail if os.environ.get("CI") else pytest.skip
    if not shutil.which("cmake"):
        give_up("not installed: cmake")
    configured = subprocess.run(["cmake", "-S", ROOT / "deploy" / "cpp", "-B", build], capture_output=True, text=True)
    if "OpenCVConfig.cmake" in configured.stderr:
        give_up("not installed: libopencv-dev")
    assert configured.returncode == 0, configured.stderr
    built = subprocess.run(["cmake", "--build", build], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr
    return build / "digits"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A folder with the shipped networks, and LeNet with other names for its classes."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for name in ("lenet", "extended"):
        (folder / name).symlink_to(ROOT / "checkpoints" / "shipped" / name)
    loaded = load_checkpoint(folder / "lenet")
    (folder / "letters").mkdir()
    names = {"classes": ["alpha, the first", "beta", "丙", *"defghij"]}
    save_checkpoint(folder / "letters", "best", load_network(loaded)[0], loaded.meta | names)
    return folder


@pytest.fixture(scope="module")
def export_of(checkpoints):
    """A function: the name of a network -> its ONNX file, written by export.py on first use."""

    def export(name):
        out = checkpoints / f"{name}.onnx"
        if not out.exists():
            done = script("export.py", "--checkpoint", checkpoints / name, "--format", "onnx", "--out", out)
            assert done.returncode == 0, done.stderr
        return out

    return export


@pytest.fixture(scope="module")
def pictures(tmp_path_factory, mnist_train):
    """500 picture files: drawn, scanned and cropped digits, and signs."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    forms = draw_forms(np.arange(500) % 10, rng)  # uint8 [500, 56, 56]
    images = mnist_train[0][rng.permutation(len(mnist_train[0]))[:500]]
    paths = []
    for kind in KINDS:
        for number in range(EACH):
            ink = enlarged((forms if rng.random() < 0.5 else images)[rng.integers(500)], rng)
            suffix = rng.choice([".png", ".jpg"])
            picture = kind(ink, rng)
            if picture.dtype == np.uint16 or (picture.ndim == 3 and picture.shape[2] == 4):
                suffix = ".png"  # JPEG has neither
            paths.append(folder / f"{kind.__name__}_{number:02d}{suffix}")
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 98))]
            assert cv2.imwrite(str(paths[-1]), picture, quality if suffix == ".jpg" else [])
    assert len(paths) == 500
    return paths


def enlarged(image, rng):
    """A digit at the size of a drawing or a scan: float [h, w] in [0, 1], cut to its ink, with soft edges."""
    x, y, width, height = cv2.boundingRect((image > 60).astype(np.uint8))
    scale = rng.uniform(60, 320) / max(width, height)
    box = image[y : y + height, x : x + width].astype(np.float32) / 255
    large = cv2.resize(np.pad(box, 2), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.clip((cv2.GaussianBlur(large, (0, 0), scale / 3) - 0.5) * scale / 2 + 0.5, 0, 1)


def placed(ink, rng):
    """Somewhere on a canvas, with space around it."""
    around = rng.uniform(0.1, 0.8, 4) * max(ink.shape)
    top, bottom, left, right = around.astype(int)
    return np.pad(ink, ((top, bottom), (left, right)))


def between(low, high, ink):
    return np.clip(np.rint(low + (high - low) * ink), 0, 255).astype(np.uint8)


def drawn(ink, rng):
    return between(0, 255, placed(ink, rng))


def dark_on_white(ink, rng):
    return between(255, 0, placed(ink, rng))


def scanned(ink, rng):
    """Pencil or pen on paper under uneven light, with the noise of a scanner."""
    ink = placed(ink, rng)
    light = 1 - 0.15 * np.linspace(0, 1, ink.shape[1]) * rng.random()
    paper = light * (PAPER + rng.normal(0, 2, ink.shape))
    return between(paper, light * rng.uniform(20, 140), ink)


def blue_ink(ink, rng):
    ink = placed(ink, rng)
    return np.stack([between(level, color, ink) for level, color in ((210, 160), (225, 70), (230, 50))], -1)


def chalk(ink, rng):
    ink = placed(ink, rng)
    return between(50 + rng.normal(0, 4, ink.shape), 210, ink)


def cropped(ink, rng):
    """Cut to the ink."""
    x, y, width, height = cv2.boundingRect((ink > 0.5).astype(np.uint8))
    low, high = ((PAPER, INK), (0, 255))[rng.integers(2)]
    return between(low, high, ink[y : y + height, x : x + width])


def small(ink, rng):
    """Resized to 28x28 whatever its shape, as many do."""
    return cv2.resize(cropped(ink, rng), (28, 28), interpolation=cv2.INTER_AREA)


def transparent(ink, rng):
    alpha = between(0, 255, placed(ink, rng))
    color = np.full_like(alpha, rng.choice([10, 245]))
    return cv2.merge([color, color, color, alpha])


def sixteen_bits(ink, rng):
    return np.rint(4095 - 3000 * placed(ink, rng)).astype(np.uint16) * (1, 16)[rng.integers(2)]


def sign(ink, rng):
    """A dot, a slash, an arrow; or two digits side by side; or an empty sheet."""
    kind = rng.integers(5)
    if kind == 0:
        return np.hstack([between(PAPER, INK, placed(ink, rng))] * 2)
    return np.full((200, 300), PAPER, np.uint8) if kind == 1 else draw_sign(rng)


KINDS = (drawn, dark_on_white, scanned, blue_ink, chalk, cropped, small, transparent, sixteen_bits, sign)


def run(program, *arguments):
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def read_with_python(checkpoint, paths):
    classifier = Classifier(checkpoint)
    return predict.predict(classifier, [classifier.load(path) for path in paths])


def differences(program, model, readings):
    """A line for each picture that the program reads otherwise than Python, with its path."""
    done = run(program, model, "--csv", *(reading.path for reading in readings))
    rows = {row["path"]: row for row in csv.DictReader(done.stdout.splitlines())}
    found = done.stderr.splitlines()
    for reading in readings:
        row = rows.get(reading.path)
        if row is None:
            continue  # refused; stderr names it
        same = (row["label"], row["reason"]) == (reading.label or "", reading.reason or "")
        same &= row["trusted"] == str(reading.trusted)
        if not same or (reading.label and abs(float(row["confidence"]) - reading.confidence) > 1e-3):
            found.append(f"{reading.path}: Python {reading.describe()}; C++ {','.join(row.values())}")
    return found


@pytest.mark.parametrize("network", NETWORKS)
def test_the_program_reads_500_pictures_as_python_does(program, export_of, checkpoints, pictures, network):
    readings = read_with_python(checkpoints / network, pictures)
    reasons = {reading.reason for reading in readings}
    assert {None, "low confidence", "blank"} <= reasons
    assert reasons >= ({"none of the classes"} if network == "letters" else {"not a digit", "several digits"})
    found = differences(program, export_of(network), readings)
    assert not found, "\n".join([f"{len(found)} of {len(readings)} differ", *found])


def test_the_examples_are_read_as_python_reads_them(program, export_of, checkpoints):
    readings = read_with_python(checkpoints / "extended", sorted((ROOT / "examples").iterdir()))
    assert differences(program, export_of("extended"), readings) == []


def test_the_words_are_those_of_predict(program, export_of, checkpoints, pictures):
    chosen = pictures[::7]
    expected = script("predict.py", "--checkpoint", checkpoints / "lenet", *chosen)
    done = run(program, export_of("lenet"), *chosen)
    assert (done.returncode, done.stderr) == (0, "")
    texts = (re.sub(r">?\d+\.\d\d%", "%", text) for text in (done.stdout, expected.stdout))  # close, not equal
    assert next(texts) == next(texts)


def test_digits_on_ruled_paper_are_read_as_python_reads_them(program, export_of, checkpoints, pictures, tmp_path):
    paths = []
    for number, path in enumerate(path for path in pictures if path.name.startswith("dark_on_white")):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        image[number % 20 + 20 :: 40] = np.minimum(image[number % 20 + 20 :: 40], 190)
        if number % 2:
            image[:, number % 20 + 20 :: 40] = np.minimum(image[:, number % 20 + 20 :: 40], 190)
        paths.append(tmp_path / f"ruled_{number:02d}.png")
        cv2.imwrite(str(paths[-1]), image)
    readings = read_with_python(checkpoints / "lenet", paths)
    assert differences(program, export_of("lenet"), readings) == []


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_pictures_are_turned_by_their_exif_orientation(program, export_of, checkpoints, tmp_path, orientation):
    turned = Image.open(ROOT / "examples" / "7_scan.png").convert("L")
    turned = turned.rotate({3: 180, 6: 90, 8: 270}[orientation], expand=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned.save(tmp_path / "turned.jpg", exif=exif)
    readings = read_with_python(checkpoints / "lenet", [tmp_path / "turned.jpg"])
    assert readings[0].label == "7"
    assert differences(program, export_of("lenet"), readings) == []


def test_photos_with_a_shadow_are_read_as_python_reads_them(program, export_of, checkpoints, pictures, tmp_path):
    paths = []
    for path in (path for path in pictures if path.name.startswith("drawn")):
        ink = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) / 255
        place = np.add.outer(np.arange(ink.shape[0]), np.arange(ink.shape[1]))
        shadow = np.where(place < sum(ink.shape) / 2, 1, 0.45)
        paths.append(tmp_path / path.name)
        cv2.imwrite(str(paths[-1]), np.rint(shadow * (220 - 180 * ink)).astype(np.uint8))
    readings = read_with_python(checkpoints / "lenet", paths)
    assert differences(program, export_of("lenet"), readings) == []


def remove_description(folder):
    (folder / "net.json").unlink()


def cut_description(folder):
    text = (folder / "net.json").read_text()
    (folder / "net.json").write_text(text[: len(text) // 2])


def replace_description(folder):
    (folder / "net.json").write_text("hello")


def remove_a_class(folder):
    text = (folder / "net.json").read_text()
    (folder / "net.json").write_text(re.sub(r'"9"|"8",', "", text, count=1).replace('"0",', "", 1))


def name_the_temperature(folder):
    text = (folder / "net.json").read_text()
    (folder / "net.json").write_text(re.sub(r'"temperature": [\d.]+', '"temperature": "warm"', text))


def cut_model(folder):
    data = (folder / "net.onnx").read_bytes()
    (folder / "net.onnx").write_bytes(data[: len(data) // 2])


def replace_model(folder):
    (folder / "net.onnx").write_text("hello")


def remove_model(folder):
    (folder / "net.onnx").unlink()


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (remove_description, "net.json: no such file"),
        (cut_description, "net.json: is damaged"),
        (replace_description, "net.json: "),
        (remove_a_class, "one value per class"),
        (name_the_temperature, "'temperature' must be a number"),
        (cut_model, "net.onnx: is damaged"),
        (replace_model, "net.onnx: is damaged"),
        (remove_model, "net.onnx: no such file"),
    ],
)
def test_a_damaged_export_is_refused_in_one_line(program, export_of, tmp_path, damage, named):
    for suffix in (".onnx", ".json"):
        shutil.copy(export_of("lenet").with_suffix(suffix), tmp_path / f"net{suffix}")
    damage(tmp_path)
    done = run(program, tmp_path / "net.onnx", ROOT / "examples" / "7_scan.png")
    assert_one_line_error(done, named)
    assert done.stdout == ""


@pytest.mark.parametrize("kind", ["text", "missing", "empty", "folder", "cut.jpg", "cut.png"])
def test_a_file_that_is_not_a_picture_is_one_line_and_the_others_are_read(program, export_of, tmp_path, kind):
    path, good = tmp_path / kind, ROOT / "examples" / "7_scan.png"
    if kind == "text":
        path.write_text("seven")
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind.startswith("cut"):
        data = cv2.imencode(path.suffix, cv2.imread(str(good)))[1].tobytes()
        path.write_bytes(data[: len(data) // 2])
    done = run(program, export_of("lenet"), path, good)
    assert_one_line_error(done, f"{path}: ")
    assert re.fullmatch(rf"{re.escape(str(good))} +7, [\d.]+% sure\n", done.stdout)


def test_too_few_arguments_show_the_usage(program):
    assert_one_line_error(run(program, "net.onnx"), "usage: digits MODEL.onnx [--csv] PICTURE...")
    assert run(program, "--help").returncode == 0
