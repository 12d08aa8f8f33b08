/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sequences of API calls, chosen by a fuzzer, on the simulated machine with
 * every check on. For libFuzzer; with standalone.c also for AFL++ and for
 * running single inputs.
 *
 * The input: one byte of format, four of configuration, then eight for each
 * operation, so that a changed byte changes one aspect of one operation.
 */
#include "operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OP_BYTES 8
#define MOST_OPS 200 /* more would only repeat what fewer can do */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t place(uint8_t choice, uint8_t page)
{
	static const uint64_t places[] = {
		0,
		2 * M,
		4 * M,
		6 * M,
		1 * G - 2 * M,
		1 * G,
		2 * G,
		513 * G,
		(1ull << 46) - 2 * M,
		(1ull << 48) - 4 * M,
		1ull << 48,
		~0ull << 21,
	};

	return places[choice % (sizeof(places) / sizeof(places[0]))] + page * K;
}

static uint64_t length(uint8_t choice)
{
	/* Of a kind as an address: whole pages mostly, one size that is none, and nothing. */
	static const uint64_t lengths[] = {
		K,
		2 * K,
		16 * K,
		1 * M,
		2 * M,
		2 * M + K,
		6 * M,
		1 * G,
		3 * G,
		512 * G,
		100,
		0,
	};

	return lengths[choice % (sizeof(lengths) / sizeof(lengths[0]))];
}

static struct op decode(const uint8_t *b)
{
	struct op op = {
		.kind = b[0] % KINDS,
		.id = b[1] % 6,
		.base = place(b[2], b[3]),
		.bytes = length(b[4]),
		.flags = b[5] % 5,
		.backing = b[6],
		.vcpu = b[7],
	};

	if (op.kind == ACCESS || op.kind == WALK)
		op.flags = 1u << b[5] % 3;
	/* A prefault or a log of half a terabyte is only slow. */
	if (op.kind == PREFAULT && op.bytes > 16 * M)
		op.bytes = 16 * M;
	if (op.kind == CREATE && (op.flags & VMMU_SLOT_LOG_DIRTY) && op.bytes > 1 * G)
		op.bytes = 1 * G;
	return op;
}

static void play(struct sim *sim, const uint8_t *data, size_t size)
{
	static struct open_ranges open;

	open.count = 0;
	for (size_t i = 0; i < MOST_OPS && i < size / OP_BYTES && !sim->failed; i++) {
		struct op op = decode(data + i * OP_BYTES);

		perform(sim, &op, &open);
	}
	while (open.count && !sim->failed)
		end_one(sim, &open);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum vmmu_status status;
	uint32_t seed;

	if (size < 1 + sizeof(seed))
		return 0;
	memcpy(&seed, data + 1, sizeof(seed));
	struct sim_config config = config_of(data[0] & 1 ? VMMU_MODE_EPT : VMMU_MODE_NPT, seed);

	config.silent = false;
	config.table_frames = 512;
	struct sim *sim = sim_new(&config, &status);

	if (status == VMMU_OK)
		play(sim, data + 1 + sizeof(seed), size - 1 - sizeof(seed));
	if (!sim_end(sim)) {
		fprintf(stderr, "the judge of the simulated machine found this sequence wrong\n");
		abort();
	}
	return 0;
}
