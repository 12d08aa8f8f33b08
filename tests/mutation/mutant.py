# SPDX-License-Identifier: BSD-2-Clause
"""One fault to plant."""

from typing import NamedTuple


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    breaks: str
