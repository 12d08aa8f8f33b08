# SPDX-License-Identifier: BSD-2-Clause
"""Why a fault that no test catches does no harm, by its name."""

EXPLAINED = {
    "mmio-over-leaf":
        "Only a slot under deletion leaves such a leaf behind, and the writer owes and pays a flush "
        "for replacing it as for any removal: no CPU can be misled.",
    "dirty-mark-after-write":
        "Both happen inside the gate, which is closed before the log is fetched: whoever fetches sees "
        "both or neither.",
    "cap-without-step":
        "The goal level is worked out inside the gate, from caps that cannot change there; the step "
        "spares a fault the work of a leaf that would be removed at once.",
    "refill-despite-flush":
        "Only tables are filled that are held and have been compared, which no vCPU does before the flush "
        "of its own hold. What else is still to be flushed is what the guest's old words said, which a CPU "
        "may use until the guest orders otherwise; and the host's calls wait for every flush.",
    "narrow-mmio-entries": "No MMIO entry stands in a slot: making one removes what is in its range, and only a gfn "
                           "without a slot gets one. The question is for damage, which is left as it is found.",
}
