# SPDX-License-Identifier: BSD-2-Clause
"""The order in which the engine's folders stand on each other, from the bottom up.

Read by tests/check/imports (what a file includes) and tests/check/circles (what
its object calls). A new folder is put here, above all that it stands on.
"""

ENGINE = ["format", "guest", "table", "memory", "map", "map/direct", "map/shadow", "map/nested", "api"]
