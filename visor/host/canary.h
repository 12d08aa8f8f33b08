/* SPDX-License-Identifier: BSD-2-Clause */
/* The stack protector's canary. */
#ifndef VISOR_HOST_CANARY_H
#define VISOR_HOST_CANARY_H

/* Choose it, before anything else; the caller must have no canary of its own. */
void canary_init(void);

#endif
