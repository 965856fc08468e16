"""Runs JavaScript of the report's page: with Node.js, else in Chromium. Tests that need it are skipped without both."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--virtual-time-budget=4000"),
)
SECONDS = 240


def answers(sources: list[Path], given: object, expression: str) -> Any:
    """The value of a JavaScript expression, in which `given` has its value, after the files `sources` were run. Skips
    the test where nothing runs JavaScript."""
    code = "\n".join(source.read_text("utf-8") for source in sources)
    whole = f"{code}\nconst given = {json.dumps(given)};\nconst answer = JSON.stringify({expression});\n"
    if node := shutil.which("node"):
        done = subprocess.run(
            [node, "-"], input=whole + "console.log(answer)", capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        escaped = whole.replace("</", "<\\/")
        page.write_text(f"<pre></pre><script>{escaped} document.querySelector('pre').textContent = answer;</script>")
        found = re.search(r"<pre>(.*?)</pre>", dom(page), re.DOTALL)
    assert found
    return json.loads(html.unescape(found.group(1)))


def answer_of(code: str) -> str:
    """A script that writes the value of a function body, or its error, as JSON into the element "answer"."""
    value = f"(() => {{ {code} }})()".replace("</", "<\\/")
    written = "document.getElementById('answer').textContent = JSON.stringify"
    return f"try {{ {written}({value}); }} catch (error) {{ {written}(String(error)); }}"


def dom(page: Path, size: tuple[int, int] = (1400, 1000)) -> str:
    """The document of a page after its scripts have run in Chromium. Skips the test where there is none."""
    if CHROMIUM is None:
        pytest.skip("neither Node.js nor Chromium is installed")
    with tempfile.TemporaryDirectory() as profile:
        window = f"--window-size={size[0]},{size[1]}"
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", window, "--dump-dom", page.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return done.stdout
