/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The version, and what may change with it.
 *
 *   PATCH   nothing that a caller sees but faults mended.
 *   MINOR   what is there keeps its meaning; there may be more of it:
 *           - functions, and callbacks, for which NULL means "as before";
 *           - fields, at the end of a struct, for which 0 means "as before".
 *             So zero-initialise what you hand in (`= {0}`, designated
 *             initializers), and never copy one by a size of your own;
 *           - enumerators, at the end, with the next number: have a default case.
 *   MAJOR   anything else. While it is 0, MINOR may do so too; CHANGELOG.md says
 *           what a caller has to change.
 *
 * Numbers that stand in trace files (events, causes, fault results) never change,
 * whatever the version; the file has a version of its own (<vmmu/trace.h>).
 *
 * Headers and library belong together: public structs grow, so code compiled with
 * the headers of one version is not to be linked with the library of another.
 * What the engine's own headers say (engine/) is nobody's business outside it.
 */
#ifndef VMMU_VERSION_H
#define VMMU_VERSION_H

#include <stdbool.h>
#include <stdint.h>

#define VMMU_VERSION_MAJOR 0
#define VMMU_VERSION_MINOR 1
#define VMMU_VERSION_PATCH 0
#define VMMU_VERSION_NUMBER \
	(VMMU_VERSION_MAJOR * 0x10000u + VMMU_VERSION_MINOR * 0x100u + VMMU_VERSION_PATCH)
#define VMMU_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* [any] VMMU_VERSION_NUMBER as it was where the library was compiled. */
uint32_t vmmu_version(void);

/* [any] Do these headers belong to the library that is linked? */
static inline bool vmmu_version_matches(void)
{
	return vmmu_version() == VMMU_VERSION_NUMBER;
}

#ifdef __cplusplus
}
#endif

#endif
