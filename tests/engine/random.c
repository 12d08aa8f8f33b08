/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random sequences of everything the API can do, judged at every step. A
 * sequence that fails is made as short as it can be and printed as a C test.
 *
 *   VMMU_SEED=N      first seed (default 1)
 *   VMMU_RUNS=N      sequences for each format (default 60)
 *   VMMU_SECONDS=N   instead of a number of runs: go on for so long
 *   VMMU_LENGTH=N    operations in each (default 90)
 */
#include "case.h"
#include "operation.h"

#include <string.h>
#include <time.h>

MODES;

/* ---- making ---------------------------------------------------------------------- */

/* A few places and sizes, so that operations meet: around large-page edges and page edges. */
static uint64_t some_base(uint64_t *r)
{
	static const uint64_t places[] = {0, 2 * M, 6 * M, 1 * G - 2 * M, 1 * G, 1 * G + 4 * M, 2 * G,
	                                  513 * G};
	uint64_t base = places[sim_random_below(r, 8)];

	if (sim_random_below(r, 3) == 0)
		base += K * sim_random_below(r, 1024);
	return base;
}

static uint64_t some_size(uint64_t *r)
{
	static const uint64_t sizes[] = {K, 16 * K, 1 * M, 2 * M, 6 * M, 64 * M, 1 * G, 3 * G};
	uint64_t size = sizes[sim_random_below(r, 8)];

	return sim_random_below(r, 4) ? size : size + K * sim_random_below(r, 8);
}

static enum kind some_kind(uint64_t *r)
{
	static const enum kind likely[] = {
		CREATE,
		CREATE,
		DELETE,
		MOVE,
		FLAGS,
		FLAGS,
		RESTRICT,
		SWAP,
		SWAP,
		BEGIN,
		END,
		END,
		DIRTY,
		DIRTY,
		MARK,
		WALK,
		PREFAULT,
		STARVE,
	};
	unsigned n = (unsigned)sim_random_below(r, 40);

	return n < sizeof(likely) / sizeof(likely[0]) ? likely[n] : ACCESS;
}

static struct op some_op(uint64_t *r, const struct op *before, unsigned count)
{
	struct op op = {
		.kind = some_kind(r),
		.id = (uint32_t)sim_random_below(r, 5),
		.base = some_base(r),
		.bytes = some_size(r),
		.flags = (uint32_t)sim_random_below(r, 4),
		.backing = (uint32_t)sim_random(r),
		.vcpu = (unsigned)sim_random_below(r, 8),
	};

	/* Most accesses go near something that was done lately. */
	if (count && op.kind >= RESTRICT && sim_random_below(r, 3)) {
		const struct op *near = &before[count - 1 - sim_random_below(r, count < 8 ? count : 8)];

		op.base = near->base + (sim_random_below(r, near->bytes ? near->bytes : 1) & ~(K - 1));
		op.id = near->id;
	}
	if (op.kind == ACCESS || op.kind == WALK)
		op.flags = 1u << sim_random_below(r, 3);
	if (op.kind == SWAP || op.kind == RESTRICT || op.kind == PREFAULT || op.kind == BEGIN)
		op.bytes = K << sim_random_below(r, 11);
	return op;
}

/* ---- doing ------------------------------------------------------------------------ */

/* True when the sequence is fine. `message` gets what was found otherwise. */
static bool run(enum vmmu_mode mode, uint64_t seed, const struct op *ops, unsigned count,
                char *message, size_t size)
{
	struct sim_config config = config_of(mode, seed);
	static struct open_ranges open;
	struct sim *sim = sim_start(&config);

	open.count = 0;
	for (unsigned i = 0; i < count && !sim->failed; i++) {
		perform(sim, &ops[i], &open);
		if (i % 4 == 0)
			sim_check(sim);
	}
	while (open.count && !sim->failed)
		end_one(sim, &open);
	bool failed = sim->failed;

	if (failed)
		snprintf(message, size, "%s", sim->failure);
	/* sim_end finds more, and frees sim: keep its words first. */
	static char last[512];
	bool good = sim_end_saying(sim, last, sizeof(last));

	if (!failed && !good)
		snprintf(message, size, "%s", last);
	return good;
}

/* ---- shrinking ------------------------------------------------------------------------ */

static unsigned without(struct op *to, const struct op *from, unsigned count, unsigned at,
                        unsigned length)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++)
		if (i < at || i >= at + length)
			to[kept++] = from[i];
	return kept;
}

/* Leave out ever smaller pieces for as long as it goes on failing. */
static unsigned shrink(enum vmmu_mode mode, uint64_t seed, struct op *ops, unsigned count)
{
	static struct op tried[OPS_MAX];
	char message[512];

	for (unsigned piece = count / 2; piece >= 1; piece /= 2)
		for (unsigned at = 0; at + piece <= count;) {
			unsigned left = without(tried, ops, count, at, piece);

			if (run(mode, seed, tried, left, message, sizeof(message))) {
				at += piece;
			} else {
				memcpy(ops, tried, left * sizeof(*ops));
				count = left;
			}
		}
	return count;
}

static void print_backing(const struct sim_backing_config *c, uint64_t base)
{
	fprintf(stderr, "sim_backing_new(sim, %#lx, &(struct sim_backing_config){.order = %u", base,
	        c->order);
	if (c->demand)
		fprintf(stderr, ", .demand = true");
	if (c->copy_on_write)
		fprintf(stderr, ", .copy_on_write = true%s", c->busy_then ? ", .busy_then = true" : "");
	if (c->rights)
		fprintf(stderr, ", .rights = %u", c->rights);
	if (c->skew)
		fprintf(stderr, ", .skew = %lu", c->skew);
	fprintf(stderr, ", .pages = %#lx})", c->pages);
}

static void print_op(const struct sim_config *config, const struct op *op)
{
	struct sim_backing_config backing = backing_of(op->backing);
	unsigned vcpu = op->vcpu % config->vcpus;

	fprintf(stderr, "\t");
	switch (op->kind) {
	case CREATE:
		fprintf(stderr, "sim_slot_create(sim, %u, %#lx, %#lx, %u, ", op->id, op->base, op->bytes,
		        op->flags);
		print_backing(&backing, op->base);
		fprintf(stderr, ");\n");
		break;
	case DELETE: fprintf(stderr, "sim_slot_delete(sim, %u);\n", op->id); break;
	case MOVE: fprintf(stderr, "sim_slot_move(sim, %u, %#lx);\n", op->id, op->base); break;
	case FLAGS: fprintf(stderr, "sim_slot_set_flags(sim, %u, %u);\n", op->id, op->flags); break;
	case RESTRICT:
		fprintf(stderr, "sim_restrict(sim, %#lx, %#lx, %u);\n", op->base, op->bytes, op->flags);
		break;
	case SWAP: fprintf(stderr, "sim_swap_out(sim, %#lx, %#lx);\n", op->base, op->bytes); break;
	case BEGIN:
		fprintf(stderr, "sim_invalidate_begin(sim, %#lx, %#lx);\n", op->base, op->bytes);
		break;
	case END: fprintf(stderr, "/* sim_invalidate_end of the last range begun */\n"); break;
	case DIRTY: fprintf(stderr, "sim_dirty_log(sim, %u, NULL);\n", op->id); break;
	case MARK:
		fprintf(stderr, "sim_mark_dirty(sim, %d, %#lx);\n", op->vcpu % 2 ? -1 : 0, op->base);
		break;
	case ACCESS:
		fprintf(stderr, "sim_access(sim, %u, %#lx, %u);\n", vcpu, op->base, op->flags);
		break;
	case WALK: fprintf(stderr, "sim_access_walk(sim, %u, %#lx);\n", vcpu, op->base); break;
	case PREFAULT:
		fprintf(stderr, "sim_prefault(sim, %u, %#lx, %#lx, %u, NULL);\n", vcpu, op->base, op->bytes,
		        1u << op->backing % 3);
		break;
	case STARVE:
		fprintf(stderr, "sim->memory.plan.at[0] = sim->memory.attempts + %u;\n",
		        1 + op->backing % 6);
		break;
	default:
		break;
	}
}

static void print_test(enum vmmu_mode mode, uint64_t seed, const struct op *ops, unsigned count,
                       const char *message)
{
	struct sim_config c = config_of(mode, seed);

	fprintf(stderr, "\nVMMU_SEED=%lu finds: %s\nThe shortest sequence that does, as a test:\n\n",
	        seed, message);
	fprintf(stderr, "static void found_with_seed_%lu(void **state)\n{\n", seed);
	fprintf(stderr, "\tstruct sim_config config = sim_config_default(%s);\n\n\t(void)state;\n",
	        mode == VMMU_MODE_EPT ? "VMMU_MODE_EPT" : "VMMU_MODE_NPT");
	fprintf(stderr, "\tconfig.seed = %lu;\n\tconfig.vcpus = %u;\n\tconfig.max_level = %u;\n"
	                "\tconfig.max_slots = %u;\n\tconfig.evict_percent = %u;\n",
	        seed, c.vcpus, c.max_level,
	        c.max_slots, c.evict_percent);
	fprintf(stderr, "\tconfig.cpu.page_1g = %d;\n\tconfig.cpu.exec_only = %d;\n\tconfig.cpu.ad = %d;\n"
	                "\tconfig.no_mmio_cache = %d;\n\tconfig.cpu.levels5 = %d;\n\tconfig.levels = %u;\n"
	                "\tconfig.fault_around = %u;\n\tconfig.unhooked = %d;\n\tconfig.tsc = %d;\n",
	        c.cpu.page_1g, c.cpu.exec_only, c.cpu.ad, c.no_mmio_cache, c.cpu.levels5, c.levels, c.fault_around, c.unhooked,
	        c.tsc);
	fprintf(stderr, "\tstruct sim *sim = sim_start(&config);\n\n");
	for (unsigned i = 0; i < count; i++)
		print_op(&c, &ops[i]);
	fprintf(stderr, "\tassert_sound(sim);\n}\n\n");
}

/* ---- the tests ------------------------------------------------------------------------- */

static void one_sequence(enum vmmu_mode mode, uint64_t seed, unsigned length)
{
	static struct op ops[OPS_MAX];
	char message[512] = "";
	uint64_t r = seed * 1000003 + mode;

	for (unsigned i = 0; i < length; i++)
		ops[i] = some_op(&r, ops, i);
	if (run(mode, seed, ops, length, message, sizeof(message)))
		return;
	unsigned count = shrink(mode, seed, ops, length);

	run(mode, seed, ops, count, message, sizeof(message));
	print_test(mode, seed, ops, count, message);
	fail_msg("seed %lu: %s", seed, message);
}

static void random_sequences(void **state)
{
	uint64_t first = from_environment("VMMU_SEED", 1);
	uint64_t runs = from_environment("VMMU_RUNS", 60);
	uint64_t seconds = from_environment("VMMU_SECONDS", 0);
	uint64_t length = from_environment("VMMU_LENGTH", 90);
	time_t end = time(NULL) + (time_t)seconds;
	uint64_t seed = first;

	if (length > OPS_MAX)
		length = OPS_MAX;
	for (; seconds ? time(NULL) < end : seed < first + runs; seed++)
		one_sequence(mode_of(state), seed, (unsigned)length);
	if (seconds)
		print_message("seeds %lu to %lu\n", first, seed - 1);
	assert_true(seed > first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {BOTH(random_sequences)};

	return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
