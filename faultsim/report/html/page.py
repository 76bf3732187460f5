"""The HTML page: templates, style and data in one file, no script, no request. What it says lives in `view.py`."""

import base64
import functools
import hashlib
import json
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from faultsim.report.html.bundle import Bundle
from faultsim.report.html.figures import figures
from faultsim.report.html.svg import inline
from faultsim.report.html.view import view
from faultsim.report.words import plain


def render_page(bundle: Bundle) -> str:
    """Return the report as the text of one HTML file.

    It loads nothing: style and figures are inside, and its content security policy forbids every request and every
    script. Foreign names (models, sites, devices) are escaped, and lose their control characters. The results lie in it
    as JSON in ``<script type="application/json" id="data">``, which no browser runs.

    Args:
        bundle: What is shown.
    """
    style = _text("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    charts = figures(bundle).items()
    pictures = {name: (chart.title, Markup(inline(chart))) for name, chart in charts}  # noqa: S704  (escaped there)
    return _environment().get_template("report.html.j2").render(
        policy=policy,
        style=Markup(style),  # noqa: S704  (our own file)
        data=Markup(_data(bundle)),  # noqa: S704  (no < > & is left)
        pictures=pictures,
        **view(bundle),
    )  # fmt: skip


def _data(bundle: Bundle) -> str:
    """Return the results as JSON that cannot end its script element: < > and & as escapes of JSON."""
    text = json.dumps(bundle.documents(), allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@functools.cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_text),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_spoken,
    )


def _spoken(value: Any) -> Any:
    """Return foreign text without control characters, which could turn the direction of writing."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return plain(value)


@functools.cache
def _text(name: str) -> str:
    return resources.files("faultsim.report.html").joinpath("templates", name).read_text(encoding="utf-8")
