"""A page that is complete in itself: style, script and pictures inside, nothing loaded, everything escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ddb.report.charts.key import key

STYLES = (("ddb.report", "style.css"), ("ddb.report.charts", "charts.css"))
"""(package, file) of the style sheets that all pages share."""


def html_page(
    package: str,
    template: str,
    facts: Mapping[str, Any],
    *,
    styles: tuple[tuple[str, str], ...] = (),
    script: str | Sequence[str] = "",
) -> str:
    """The template `template` of `package` filled with `facts`, as HTML.

    `styles`: (package, file) of style sheets besides the shared ones; `script`: a file of `package`, or several in
    order. The template finds both under the names `style` and `script`, and in `policy` a Content-Security-Policy that
    allows exactly these two texts, pictures in data URIs and nothing else. `key` draws the key of a chart. Every
    template sets `page_title` and includes `head.html`, all that comes before `<body>`; it can include `warnings.html`,
    which shows `warnings`."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package, "."), PackageLoader(__package__, ".")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, seconds=seconds, signed=signed)
    environment.globals["key"] = key
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    style = "".join(_read(*source) for source in (*STYLES, *styles))
    scripts = [script] if isinstance(script, str) else script
    code = "".join(_read(package, name) for name in scripts if name)
    policy = f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(code)}'; "
    return environment.get_template(template).render(
        **facts,
        style=Markup(style),
        script=Markup(code),
        policy=f"{policy}base-uri 'none'; form-action 'none'",
    )


def percent(value: float) -> str:
    """0.8727 -> "87.3%"."""
    return f"{100 * value:.1f}%"


def seconds(value: float) -> str:
    """75.2 -> "1 min 15 s", with spaces that do not break."""
    if value < 60:
        return f"{value:.1f}\u00a0s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}\u00a0h\u00a0{minutes}\u00a0min" if hours else f"{minutes}\u00a0min\u00a0{rest}\u00a0s"


def signed(value: float, digits: int = 1) -> str:
    """-1.25 -> "−1.2", with a true minus sign; a rounded zero has no sign."""
    text = f"{abs(value):.{digits}f}"
    if not text.strip("0."):
        return text
    return f"{'+' if value > 0 else '−'}{text}"


def _read(package: str, name: str) -> str:
    return resources.files(package).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """A source expression of the Content-Security-Policy that allows exactly this inline text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
