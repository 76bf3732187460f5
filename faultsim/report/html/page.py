"""The HTML page: templates, style and data in one file, no script, no request. What it says lives in `view.py`."""

import base64
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from faultsim.report.html.bundle import Bundle
from faultsim.report.html.chart import Chart
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
    return fill("report.html.j2", figures(bundle).values(), bundle.documents(), **view(bundle))


def fill(template: str, charts: Iterable[Chart], documents: Mapping[str, Any], **values: Any) -> str:
    """Return a template with style, charts and data inside: what a page of any kind has in common.

    Args:
        template: Name of the file.
        charts: The figures, by their names in ``pictures``.
        documents: What lies in the page as JSON.
        values: What else the template names.
    """
    style = _text("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    pictures = {one.name: (one.title, Markup(inline(one))) for one in charts}  # noqa: S704  (escaped there)
    return _environment().get_template(template).render(
        policy=policy,
        style=Markup(style),  # noqa: S704  (our own file)
        data=Markup(_data(documents)),  # noqa: S704  (no < > & is left)
        pictures=pictures,
        **values,
    )  # fmt: skip


def _data(documents: Mapping[str, Any]) -> str:
    """Return the results as JSON that cannot end its script element: < > and & as escapes of JSON."""
    text = json.dumps(documents, allow_nan=False, separators=(",", ":"))
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
