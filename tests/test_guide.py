"""The guide: its pages print what they say and draw what they show; its links lead somewhere."""

import importlib.util
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")
Image = pytest.importorskip("PIL.Image")
ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "guide"
PICTURES = GUIDE / "pictures"
# Made in a browser, by screenshots.py.
SCREENSHOTS = {"explain-conv.png", "live-training.png"}


def _script(name):
    specification = importlib.util.spec_from_file_location(f"guide_{name}", GUIDE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


guide = _script("run")
PAGES = guide.pages()
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Where what is taught once is kept."""
    return str(tmp_path_factory.mktemp("home"))


@every_page
def test_a_page_prints_what_it_says_and_draws_what_it_shows(page, tmp_path, home, monkeypatch):
    monkeypatch.setenv("FASTCONV_HOME", home)
    guide.run(page, tmp_path)
    for name in set(guide.shown(page)) - SCREENSHOTS:
        _check_same(tmp_path / name, PICTURES / name)


def _check_same(drawn, kept):
    """But for fonts, and a palette."""
    with Image.open(drawn) as new, Image.open(kept) as old:
        assert np.allclose(new.size, old.size, rtol=0.03), f"{kept.name} has another size"
        small = [np.asarray(image.convert("RGB").resize((48, 48), Image.Resampling.BOX), float) for image in (new, old)]
    assert np.abs(small[0] - small[1]).mean() < 4, f"{kept.name} looks different; docs/guide/run.py --pictures"


@pytest.mark.usefixtures("browser")
def test_both_screenshots_can_be_taken(tmp_path):
    subprocess.run([sys.executable, GUIDE / "screenshots.py", "--out", tmp_path], check=True)
    for name in SCREENSHOTS:
        with Image.open(tmp_path / name) as new, Image.open(PICTURES / name) as old:
            assert new.size == old.size


def test_what_differs_is_found(tmp_path):
    page = tmp_path / "page.md"
    for block in ("```python\n>>> 1 + 1\n3\n```\n", "```console\n$ fastconv sizes 5x5x1 fc:2\nnothing\n```\n"):
        page.write_text(block)
        with pytest.raises(AssertionError):
            guide.run(page, tmp_path)


def test_every_picture_is_shown_once_and_small():
    shown = [name for page in PAGES for name in guide.shown(page)]
    assert sorted(shown) == sorted(path.name for path in PICTURES.iterdir())
    assert max(path.stat().st_size for path in PICTURES.iterdir()) < guide.BYTES


def test_the_index_lists_the_pages_in_order_and_each_leads_to_the_next():
    index = (GUIDE / "README.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (\d+) \| .*?\]\(([\w-]+\.md)\).*pictures/([\w-]+\.png)\".*\]\(\2\) \|$", index, re.MULTILINE
    )
    assert rows == [
        (str(number), page.name, row[2]) for number, (page, row) in enumerate(zip(PAGES, rows, strict=True), 1)
    ]
    assert all(row[2] in guide.shown(page) for page, row in zip(PAGES, rows, strict=True))
    for page, following in pairwise(PAGES):
        last = page.read_text(encoding="utf-8").rstrip().splitlines()[-1]
        assert last.startswith("Next: [")
        assert last.endswith(f"]({following.name})")


def _anchors(path):
    """Those of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in _anchors(path), f"{page.name}: {target}"
