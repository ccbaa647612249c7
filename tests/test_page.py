"""The HTML page in headless Chromium: it reads digits as Python does, explains every pixel, and needs nothing else."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from conftest import ROOT, call
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

import export
from benchmarks.desktop import STROKES
from digits.cli import InputError
from digits.data.image_files import to_input
from digits.data.synthetic_digits import make_synthetic_digits
from digits.evaluation.classifier import Classifier, doubt_picture
from digits.export.page import page_logits, read_page
from digits.imaging.mnist_format import to_mnist
from digits.networks.checkpoint import save_checkpoint
from digits.networks.registry import predict_logits
from model import LeNet

LENET = ROOT / "checkpoints" / "shipped" / "lenet"
PROGRAMS = {name: shutil.which(name) for name in ("chromium", "chromedriver")}  # Debian: chromium, chromium-driver
MORE_STROKES = {
    "6": [[(0.66, 0.08), (0.4, 0.34), (0.26, 0.66), (0.38, 0.9), (0.62, 0.9), (0.74, 0.72), (0.6, 0.54), (0.3, 0.66)]],
    "8": [
        [(0.6, 0.14), (0.38, 0.12), (0.34, 0.34), (0.52, 0.48), (0.7, 0.66), (0.64, 0.86), (0.4, 0.9), (0.3, 0.72)],
        [(0.3, 0.72), (0.48, 0.5), (0.68, 0.32), (0.6, 0.14)],
    ],
    "9": [[(0.7, 0.26), (0.5, 0.1), (0.3, 0.26), (0.36, 0.46), (0.56, 0.48), (0.7, 0.26), (0.68, 0.56), (0.6, 0.92)]],
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the shipped LeNet."""
    path = tmp_path_factory.mktemp("page") / "lenet.html"
    done = call(export.main, "--checkpoint", LENET, "--format", "html", "--out", path)
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def chromium():
    missing = [name for name, path in PROGRAMS.items() if path is None]
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"not installed: {' '.join(missing)}")
    options = webdriver.ChromeOptions()
    options.binary_location = PROGRAMS["chromium"]
    for argument in ("--headless=new", "--no-sandbox", "--window-size=1280,1000", "--lang=en"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(PROGRAMS["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture
def opened(chromium, page):
    """The page, just opened, without its example."""
    chromium.get(page.as_uri())
    click(chromium, "clear")
    return chromium


@pytest.fixture(scope="module")
def classifier():
    return Classifier(LENET)


def click(driver, name):
    driver.execute_script("document.getElementById(arguments[0]).click()", name)


def settled(driver):
    """Wait for the answer to what was drawn."""
    driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")


def answer(driver):
    settled(driver)
    return driver.execute_script("return lenet.answer()")


def draw(driver, strokes, scale=300, origin=-150):
    """Draw strokes in a unit square with the pointer; coordinates count from the center of the paper."""
    paper = driver.find_element("id", "paper")
    for stroke in strokes:
        (x, y), *rest = [(round(origin + scale * x), round(origin + scale * y)) for x, y in stroke]
        chain = ActionChains(driver, duration=0).move_to_element_with_offset(paper, x, y).click_and_hold()
        for x, y in rest:
            chain.move_to_element_with_offset(paper, x, y)
        chain.release().perform()


def test_ten_drawn_digits_are_read_as_python_reads_them(opened, classifier):
    labels = []
    digits = {**STROKES, **MORE_STROKES}
    for label in sorted(digits):
        draw(opened, digits[label])
        found = answer(opened)
        drawing = np.array(opened.execute_script("return lenet.drawing()"), np.uint8).reshape(392, 392)
        image = to_mnist(drawing)
        assert np.abs(np.reshape(opened.execute_script("return lenet.input()"), (28, 28)) - image).max() < 0.01
        reading = classifier.predict(image[None])[0].doubted(doubt_picture(image))
        assert (found["label"], found["trusted"], found["reason"]) == (reading.label, reading.trusted, reading.reason)
        np.testing.assert_allclose(found["probs"], reading.probs, atol=0.01)
        labels.append(found["label"])
        click(opened, "clear")
    assert labels == sorted(digits)


def test_two_hundred_digits_have_the_probabilities_and_reasons_of_python(opened, classifier):
    images = to_input(make_synthetic_digits(200, np.random.default_rng(1))[0])[:, 0]
    images[150:] = np.random.default_rng(2).permutation(images[150:].reshape(50, -1), axis=1).reshape(50, 28, 28)
    readings = [
        reading.doubted(doubt_picture(image)) for reading, image in zip(classifier.predict(images), images, strict=True)
    ]
    found = opened.execute_script(
        "return arguments[0].map((image) => lenet.classify(image))", images.reshape(200, -1).round(5).tolist()
    )
    np.testing.assert_allclose([one["probs"] for one in found], [one.probs for one in readings], atol=0.01)
    same = [
        (one["reason"], [classifier.classes[index] for index in one["candidates"]] or None)
        == (two.reason, list(two.candidates) if two.reason == "low confidence" else None)
        for one, two in zip(found, readings, strict=True)
    ]
    assert sum(same) >= 196, "float16 weights move few across a threshold"
    assert len({one["reason"] for one in found}) >= 3


def test_a_dot_and_two_figures_are_not_digits(opened):
    click(opened, "example")
    draw(opened, [[(1.1, 0.1), (1.1, 0.9)]])
    assert answer(opened)["reason"] == "several digits"
    click(opened, "clear")
    draw(opened, [[(0.5, 0.5), (0.5, 0.5)]])
    assert answer(opened)["reason"] == "not a digit"
    assert opened.find_element("id", "label").text == "not a digit"


def test_clear_undo_and_the_eraser_by_mouse_and_keyboard(opened):
    ink = "return lenet.drawing().reduce((sum, value) => sum + value, 0)"
    draw(opened, [[(0.5, 0.1), (0.5, 0.9)]])
    one = opened.execute_script(ink)
    draw(opened, [[(0.1, 0.5), (0.9, 0.5)]])
    two = opened.execute_script(ink)
    assert two > 1.5 * one > 0
    body = opened.find_element("tag name", "body")
    body.send_keys("c")
    assert opened.execute_script(ink) == 0
    assert answer(opened) is None
    click(opened, "undo")
    assert opened.execute_script(ink) == two
    body.send_keys(Keys.CONTROL, "z")
    assert opened.execute_script(ink) == one
    body.send_keys("x")  # an example replaces the drawing
    assert opened.execute_script(ink) != one
    body.send_keys("u")
    assert opened.execute_script(ink) == one
    body.send_keys("e")
    draw(opened, [[(0.5, 0.1), (0.5, 0.9)]])
    assert opened.execute_script(ink) == 0


def test_pointing_at_a_pixel_shows_its_patch_kernel_and_sum(opened, page):
    click(opened, "example")
    settled(opened)
    _, weights = read_page(page.read_text())
    button = opened.find_elements("css selector", ".maps button")[2]
    ActionChains(opened).move_to_element(button).perform()
    text = opened.find_element("id", "patch").text
    row, column = map(int, re.search(r"conv1, map 3, row (\d+), column (\d+)", text).groups())
    image = np.reshape(opened.execute_script("return lenet.input()"), (28, 28))
    patch = image[row - 1 : row + 4, column - 1 : column + 4]
    value = (patch * weights["conv1.weight"][2, 0]).sum() + weights["conv1.bias"][2]
    found = opened.execute_script("return lenet.explain('conv1', 2, arguments[0])", [row - 1, column - 1])
    assert found["value"] == pytest.approx(value, abs=1e-5)
    assert f"= {value:.2f}".replace("-", "\u2212") in text or abs(value) < 0.005
    assert "ReLU" in text


def test_a_click_silences_a_map_and_the_answer_shows_what_that_costs(opened):
    click(opened, "example")
    before = answer(opened)
    maps = opened.find_elements("css selector", ".maps button")
    for button in maps[:6]:
        opened.execute_script("arguments[0].click()", button)
    after = answer(opened)
    assert after["probs"] != before["probs"]
    line = opened.find_element("id", "cost").text
    assert line.startswith(f"6 maps silenced: {before['label']} ")
    assert maps[0].get_attribute("aria-pressed") == "true"
    click(opened, "restore")
    assert answer(opened)["probs"] == before["probs"]


def test_a_phone_has_no_sideways_scrolling(opened):
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        click(opened, "example")
        settled(opened)
        for button in opened.find_elements("css selector", ".maps button")[::10]:
            opened.execute_script("arguments[0].focus({ focusVisible: true })", button)
            assert opened.execute_script("return document.documentElement.scrollWidth") == 360
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_both_languages_have_every_text_and_both_themes_every_color(opened):
    keys = opened.execute_script("return [Object.keys(TEXTS.en), Object.keys(TEXTS.zh)]")
    assert keys[0] == keys[1]
    english = opened.find_element("tag name", "body").text
    click(opened, "language")
    chinese = opened.find_element("tag name", "body").text
    assert english != chinese
    assert re.findall(r"\b[a-z]{4,}\b", chinese) == [], "no English is left"
    css = (ROOT / "digits" / "export" / "page.css").read_text()
    light, dark = (set(re.findall(r"--\w+(?=:)", part)) for part in re.findall(r":root[^{]*\{(.*?)\}", css, re.DOTALL))
    assert light == dark


def test_the_page_is_small_complete_and_alone(opened, page):
    assert page.stat().st_size <= 200_000
    assert "http" not in re.sub(r'"data": "[^"]*"', "", page.read_text())
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    requests = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]
    assert {url.partition(":")[0] for url in requests} <= {"file", "data"}
    assert opened.get_log("browser") == []


def test_any_lenet_becomes_a_page_with_its_own_classes(chromium, tmp_path):
    classes = ["T-shirt", "</script>", "Dress"]
    network = LeNet(3, activation="sigmoid")
    (tmp_path / "run").mkdir()
    meta = {"model": {"name": "lenet", "activation": "sigmoid"}, "classes": classes}
    save_checkpoint(tmp_path / "run", "best", network, meta)
    out = tmp_path / "page.html"
    assert call(export.main, "--checkpoint", tmp_path / "run", "--format", "html", "--out", out).returncode == 0
    images = np.random.default_rng(0).random((5, 1, 28, 28), dtype=np.float32)
    found = page_logits(*read_page(out.read_text()), images[:, 0])
    np.testing.assert_allclose(found, predict_logits(network, [images]), atol=0.01)
    chromium.get(out.as_uri())
    assert answer(chromium)["trusted"] is None
    assert [item.text for item in chromium.find_elements("css selector", "#bars span:first-child")] == classes
    assert "not calibrated" in chromium.find_element("id", "trust").text


@pytest.mark.parametrize("damage", [lambda html: html[:5000], lambda html: html.replace('"data": "', '"data": "?', 1)])
def test_a_damaged_page_is_refused(page, damage):
    with pytest.raises(InputError, match="the page is damaged"):
        read_page(damage(page.read_text()))
