/* SPDX-License-Identifier: BSD-2-Clause */
/* Which version the library is. */
#include <vmmu/version.h>

uint32_t vmmu_version(void)
{
	return VMMU_VERSION_NUMBER;
}
