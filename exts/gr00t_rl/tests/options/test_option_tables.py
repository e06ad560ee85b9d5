# SPDX-License-Identifier: BSD-3-Clause
"""The documentation's option tables are those of the declarations."""

from __future__ import annotations

import write_option_tables


def test_the_page_is_up_to_date():
    page = write_option_tables.FILE.read_text(encoding="utf-8")
    assert page == write_option_tables.page(), "run source/standalone/tools/write_option_tables.py"


def test_every_option_is_in_a_table():
    page = write_option_tables.page()
    for _, _, options, _ in write_option_tables.TABLES:
        for name, item in write_option_tables.declared(options).items():
            assert f"| `{name}` |" in page or item.type is type(None), name
