# `make help` lists the targets. PYTHON=python3.12 chooses another interpreter for the environment.
PYTHON ?= python3
PY := .venv/bin/python
RUN := checkpoints/lenet

.DEFAULT_GOAL := help
.PHONY: help train test test-all lint benchmark pictures system-libraries clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "make %-18s %s\n", $$1, $$2}'

train: .venv/installed ## set up, download MNIST, train LeNet into checkpoints/lenet (or resume it), report, predict an example
	$(PY) train.py configs/lenet.yaml --out $(RUN) $(if $(wildcard $(RUN)/last.pdopt),--resume)
	$(PY) predict.py examples/7_scan.png --checkpoint $(RUN)

test: .venv/installed-dev ## set up for development and run the tests that every change must pass
	$(PY) -m pytest -m "not slow and not network"

test-all: .venv/installed-dev ## run all tests, including those that train for minutes or download from package registries
	$(PY) -m pytest

lint: .venv/installed-dev ## check code and formatting with ruff, as CI does
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

benchmark: .venv/installed ## measure speed against the tutorial's loop, PyTorch (if installed) and import paddle; the window needs xvfb and xdotool
	$(PY) -m benchmarks.speed

pictures: .venv/installed ## redraw the pictures in docs/; the one of the window needs xvfb and xdotool
	$(PY) predict.py examples/7_scan.png --show
	$(PY) evaluate.py
	mkdir -p docs && cp outputs/7_scan_prediction.png docs/prediction.png && cp outputs/trust.png docs/trust.png
	$(PY) predict.py examples/7_scan.png --layers --checkpoint checkpoints/shipped/lenet && cp outputs/7_scan_layers.png docs/lesson.png
	$(PY) predict.py docs/page.jpg --many --show
	$(PY) -c 'import cv2; cv2.imwrite("docs/page_digits.jpg", cv2.imread("outputs/page_digits.png"))'
	$(PY) -m tests.window_picture docs/window.png
	$(PY) export.py --checkpoint checkpoints/shipped/lenet --format html --out docs/lenet.html

clean: ## remove .venv/ and outputs/, keep checkpoints
	rm -rf .venv outputs

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) must be Python 3.11 or newer; choose another interpreter: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "error: $(PYTHON) cannot create .venv; on Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(PY) -c 'import cv2, paddle' >/dev/null 2>&1 || $(MAKE) --no-print-directory system-libraries
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# System libraries that `import cv2` and `import paddle` need on a bare Debian or Ubuntu
LIBRARIES := libxcb1 libgl1 libglib2.0-0 libgomp1

system-libraries:
	@if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(LIBRARIES) >/dev/null; \
	elif command -v apt-get >/dev/null && sudo -n true 2>/dev/null; then \
		sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(LIBRARIES) >/dev/null; \
	fi
	@$(PY) -c 'import cv2, paddle' >/dev/null 2>&1 || { echo "error: cv2 or paddle cannot be imported, system libraries are missing; on Debian and Ubuntu: sudo apt-get install $(LIBRARIES)"; exit 1; }
