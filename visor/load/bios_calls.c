/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The real-mode interrupt vectors. There is no BIOS: code behind each vector tells
 * which one a guest has called, by a port at which the VM ends with a message. A
 * guest that goes on without would hang somewhere, and nobody would know why.
 */
#include "visor/device/wiring.h"
#include "visor/lib/string.h"
#include "visor/load/bytes.h"
#include "visor/load/firmware.h"

#define VECTORS 256u
#define CALL_BYTES 8u
#define FIRMWARE_SEGMENT 0xf000u

/* AH, the BIOS function, is what it was; AL, which is lost, is the vector. */
static const uint8_t call[CALL_BYTES] = {
	0xb0, 0x00,           /* mov $vector, %al */
	0xe7, PORT_BIOS_CALL, /* out %ax, $PORT_BIOS_CALL */
	0xf4,                 /* hlt */
	0xeb, 0xfd,           /* jmp to the hlt */
};

static const uint8_t reset[] = {
	0xba, PORT_RESET & 0xff, PORT_RESET >> 8, /* mov $PORT_RESET, %dx */
	0xb0, RESET_VALUE,                        /* mov $RESET_VALUE, %al */
	0xee,                                     /* out %al, %dx */
	0xf4,                                     /* hlt */
	0xeb, 0xfd,                               /* jmp to the hlt */
};

bool write_bios_calls(struct loader *l)
{
	uint8_t vectors[VECTORS * 4], code[VECTORS * CALL_BYTES];

	for (unsigned i = 0; i < VECTORS; i++) {
		memcpy(code + i * CALL_BYTES, call, sizeof(call));
		code[i * CALL_BYTES + 1] = (uint8_t)i;
		put16(vectors + 4 * i, (uint16_t)(FIRMWARE_BIOS_CALLS + i * CALL_BYTES - (FIRMWARE_SEGMENT << 4)));
		put16(vectors + 4 * i + 2, FIRMWARE_SEGMENT);
	}
	return put(l, 0, vectors, sizeof(vectors)) && put(l, FIRMWARE_BIOS_CALLS, code, sizeof(code)) &&
	       put(l, FIRMWARE_RESET_VECTOR, reset, sizeof(reset));
}
