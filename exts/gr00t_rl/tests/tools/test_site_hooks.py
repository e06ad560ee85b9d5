# SPDX-License-Identifier: BSD-3-Clause
"""Documents become pages whose links lead somewhere; `.ci/run` builds the whole site."""

from __future__ import annotations

import pytest
from site_hooks import PAGES, ROOT, as_page, loaded_from_elsewhere, page_of, without_roles


@pytest.mark.parametrize(
    ("source", "text", "shown"),
    [
        ("README.md", "[a](docs/memory.md#measured)", "[a](memory.md#measured)"),
        ("README.md", "![a](docs/images/push.png)", "![a](images/push.png)"),
        ("README.md", "[a](CONTRIBUTING.md#the-site)", "[a](contributing.md#the-site)"),
        ("docs/full_size.md", "[README](../README.md)", "[README](index.md)"),
        ("docs/start.md", "[a](../docker/README.md)", "[a](container.md)"),
        ("docker/README.md", "[`build.sh`](build.sh)", "`build.sh`"),
        (
            "exts/gr00t_rl/gr00t_rl/assets/checkpoints/README.md",
            "[a](../../../../../docs/learning.md)",
            "[a](learning.md)",
        ),
        ("docs/learning.md", "[from here](../exts/x.py)", "from here (`exts/x.py`)"),
        ("docs/learning.md", "[`tasks/x.py`](../exts/tasks/x.py)", "`tasks/x.py`"),
        ("CONTRIBUTING.md", "[exts/x](exts/x)", "`exts/x`"),
        ("docs/a.md", "[a](#b) [c](https://x.y/z) [d](e.md)", "[a](#b) [c](https://x.y/z) [d](e.md)"),
        ("docs/a.md", "| [a](../x) | [b](../README.md) |", "| a (`x`) | [b](index.md) |"),
    ],
)
def test_links_are_followed(source, text, shown):
    assert as_page(text, source) == shown


def test_markers_are_left_out_and_code_stays():
    code = "```bash\n<!-- run: quick -->\n[a](../b)\n```\nsay `<!-- run: quick -->`"
    text = f"one\n<!-- run: no, it is slow -->\n`run it now`\n{code}"
    assert as_page(text, "docs/a.md") == f"one\n`run it now`\n{code}"


@pytest.mark.parametrize(
    ("html", "number"),
    [
        ('<script src="https://x.y/z.js"></script>', 1),
        ('<link rel="stylesheet" href="//x.y/z.css">', 1),
        ("<img alt=a src=http://x.y/z.png>", 1),
        ('<a href="https://x.y">a</a> <img src="images/a.png"> <script src="assets/a.js"></script>', 0),
        ("&lt;script src=&quot;https://x.y&quot;&gt;", 0),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(html, number):
    assert len(loaded_from_elsewhere(html)) == number


def test_roles_of_docstrings_are_code():
    html = "see :class:<code>~a.b.C</code>, :meth:<code>d.e</code> and :mod:<code>.f</code>, not a:<code>g</code>"
    assert without_roles(html) == ("see <code>C</code>, <code>d.e</code> and <code>f</code>, not a:<code>g</code>")


def test_pages_outside_docs_exist_and_take_no_name_twice():
    assert all((ROOT / path).is_file() for path in PAGES)
    assert len({*PAGES.values()}) == len(PAGES)
    assert not any((ROOT / "docs" / page).exists() for page in PAGES.values())
    assert page_of("exts/gr00t_rl/config/extension.toml") is None
