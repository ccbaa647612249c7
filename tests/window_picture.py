"""Draw a 3 in draw.py's window and save a screenshot: python -m tests.window_picture docs/window.png"""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from benchmarks.desktop import PROGRAMS, STROKES, desktop

ROOT = Path(__file__).resolve().parent.parent
SIZE = 832, 560  # of the window, which opens in the top left corner, in pixels
ANSWER = np.s_[42:182, 638:832]  # where the panel shows `loading...` at first


def main() -> None:
    missing = [name for name, path in PROGRAMS.items() if path is None]
    if missing:
        sys.exit(f"error: not installed: {' '.join(missing)}; on Debian and Ubuntu: apt-get install xvfb xdotool")
    with desktop() as screen:
        window, _ = screen.start([sys.executable, str(ROOT / "draw.py")], stdout=subprocess.PIPE, text=True)
        with window:
            loading = screen.picture()[ANSWER].copy()
            while np.array_equal(screen.picture()[ANSWER], loading):
                screen.do("sleep", 0.1)
            screen.draw(STROKES["3"], (84, 74, 280, 300))
            screen.do("mousemove", 640, 470, "sleep", 0.1, "mousemove", 990, 690)  # no ring on the canvas
            print(window.stdout.readline(), end="")  # once it is announced, the panel shows the answer too
            screen.do("sleep", 0.5)
            picture = screen.picture()[: SIZE[1], : SIZE[0]]
            screen.do("mousemove", 640, 470, "key", "q")
    cv2.imwrite(sys.argv[1], picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
