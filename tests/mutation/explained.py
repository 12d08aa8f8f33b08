# SPDX-License-Identifier: BSD-2-Clause
"""Why a fault that no test catches does no harm, by its name."""

EXPLAINED = {
}
