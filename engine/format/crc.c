/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checksum of trace files: CRC-32C, polynomial 11EDC6F41h, bits reflected
 * (RFC 3720, 12.1 and appendix B.4, has examples).
 */
#include <vmmu/trace.h>

/* What four bits of the remainder leave behind. */
static const uint32_t step[16] = {
	0x00000000,
	0x105ec76f,
	0x20bd8ede,
	0x30e349b1,
	0x417b1dbc,
	0x5125dad3,
	0x61c69362,
	0x7198540d,
	0x82f63b78,
	0x92a8fc17,
	0xa24bb5a6,
	0xb21572c9,
	0xc38d26c4,
	0xd3d3e1ab,
	0xe330a81a,
	0xf36e6f75,
};

uint32_t vmmu_trace_crc(uint32_t crc, const void *data, size_t bytes)
{
	const uint8_t *at = data;

	crc = ~crc;
	for (; bytes; bytes--, at++) {
		crc ^= *at;
		crc = crc >> 4 ^ step[crc & 15];
		crc = crc >> 4 ^ step[crc & 15];
	}
	return ~crc;
}
