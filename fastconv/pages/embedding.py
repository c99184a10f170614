"""One HTML text of a page's sources: style, scripts and data inside, and a policy that lets nothing else in or run."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib import resources


def render(
    room: str,
    styles: Sequence[str],
    scripts: Sequence[str],
    *,
    title: str,
    data: object,
    connect: str = "'none'",
) -> str:
    """The page of a package: its ``page.html`` with the files ``styles`` and ``scripts``, joined in that order, put in.

    ``page.html`` says {{policy}}, {{title}}, {{style}}, {{data}} and {{script}} where these go: the text of a
    Content-Security-Policy, escaped text, and the insides of <style>, of <script type="application/json"> and of
    <script type="module">. The policy names style and script by their hashes, so that nothing else runs, whatever the
    data hold. ``connect`` says where to the script may connect, as ``connect-src`` does.

    >>> names = ["style.css"], ["values.js"]
    >>> page = render("fastconv.pages.explain_conv", *names, title="<b>", data={"name": "</script>"})
    >>> "<title>&lt;b&gt;</title>" in page, "default-src 'none'" in page, page.count("</script>")
    (True, True, 2)
    """
    style, script = _joined(room, styles), _joined(room, scripts)
    policy = (
        f"default-src 'none'; style-src {_source(style)}; script-src {_source(script)}; img-src data:; "
        f"connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    parts = {"policy": policy, "title": html.escape(title), "style": style, "data": json_text(data), "script": script}
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], _joined(room, ["page.html"]))


def json_text(value: object) -> str:
    """JSON that stays data inside <script>, whatever texts it holds; raises ValueError for infinities and NaN."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _joined(room: str, names: Sequence[str]) -> str:
    return "\n".join(resources.files(room).joinpath(name).read_text("utf-8").strip() for name in names)


def _source(text: str) -> str:
    """How a policy names an inline style or script: by what a browser hashes, the text between its tags."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
