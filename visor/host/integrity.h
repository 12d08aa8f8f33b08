/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Checksums (CRC-32C) of what never changes while a guest runs: the visor's code and
 * read-only data, its page tables, its descriptor tables. Whoever has changed one of
 * them had the machine; noticing it is no defence, but it is never passed over in
 * silence, and it is what the soak with hostile guests is judged by.
 */
#ifndef VISOR_HOST_INTEGRITY_H
#define VISOR_HOST_INTEGRITY_H

/* From now on all of it stays as it is. Once paging, interrupts and the CPU's mode are set up. */
void integrity_note(void);

/* What has changed since, in words: "code", "page tables" ... NULL: nothing. */
const char *integrity_broken(void);

#endif
