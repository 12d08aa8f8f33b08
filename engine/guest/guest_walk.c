/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The walk of the guest's page tables: one loop for every format.
 *
 * Rights and reserved bits first, accessed and dirty bits afterwards and only
 * for an access that is allowed (SDM vol. 3, 4.8; APM vol. 2, 5.4.2). Each of
 * these bits is set by a compare-exchange with the entry as it was read; if one
 * has changed, nothing that was concluded from it counts, and the walk begins
 * again.
 */
#include "format/guest.h"

enum { WALKS_MAX = 64 };

struct walk {
	const struct vmmu_host *host;
	void *ctx;
	const struct vmmu_guest_mode *mode;
	uint64_t gva;
	bool write, user, fetch, excused;
	const struct vmmu_guest_guard *guard; /* NULL: every entry may be looked at */
	struct vmmu_guest_walk *out;
};

/* ---- results --------------------------------------------------------------------- */

static uint32_t error_code(const struct walk *w, uint32_t why)
{
	return vmmu_guest_error_code(w->mode, w->write, w->user, w->fetch, why);
}

static enum vmmu_guest_result fault(struct walk *w, uint32_t why)
{
	w->out->error_code = error_code(w, why);
	return VMMU_GUEST_FAULT;
}

static enum vmmu_guest_result no_memory(struct walk *w)
{
	w->out->error_code = error_code(w, 0);
	return VMMU_GUEST_NO_MEMORY;
}

/* With paging off every linear address is a physical one (SDM vol. 3, 4.1.1). */
static enum vmmu_guest_result identity(struct walk *w)
{
	w->out->gpa = vmmu_gpa_of((uint32_t)w->gva);
	w->out->page_shift = 64;
	w->out->rights = VMMU_PAGE_ALL;
	return VMMU_GUEST_OK;
}

static bool is_canonical(const struct vmmu_guest_format *f, uint64_t gva)
{
	int64_t above = (int64_t)gva >> (f->address_bits - 1);

	return above == 0 || above == -1;
}

/* ---- one entry ------------------------------------------------------------------- */

/* Is this level's table the four PDPTE registers? They have neither rights nor A. */
static bool in_registers(const struct vmmu_guest_mode *mode, unsigned level)
{
	return mode->format->top_in_registers && level == mode->levels;
}

static inline enum vmmu_guest_read judge(const struct walk *w, vmmu_gpa entry)
{
	const struct vmmu_guest_guard *g = w->guard;

	return !g || entry.v - g->sure[0].first < g->sure[0].bytes || entry.v - g->sure[1].first < g->sure[1].bytes
	               ? VMMU_GUEST_READ_OK
	               : g->judge(g->arg, entry);
}

/*
 * Read the entry `index` of the table at `table` into *step. Every field of it is set,
 * since nothing has cleared it.
 */
VMMU_INLINE enum vmmu_guest_read read_step(const struct walk *w, uint64_t table, unsigned level, unsigned index,
                                           struct vmmu_guest_step *step)
{
	const struct vmmu_guest_mode *mode = w->mode;
	const struct vmmu_guest_format *f = mode->format;
	enum vmmu_guest_read result;
	vmmu_gpa where = vmmu_gpa_of(table + index * f->entry_bytes);
	uint64_t entry = 0;

	step->level = (uint8_t)level;
	step->stored = false;
	if (in_registers(mode, level)) {
		step->where = vmmu_gpa_of(index);
		step->entry = mode->registers.pdpte[index];
		step->rights = VMMU_PAGE_ALL;
		return VMMU_GUEST_READ_OK;
	}
	step->where = where;
	result = judge(w, where);
	if (result == VMMU_GUEST_READ_OK)
		result = w->host->guest_read(w->ctx, where, f->entry_bytes, &entry);
	entry = vmmu_guest_word(f, entry);
	step->entry = entry;
	step->rights = vmmu_guest_rights(mode, entry);
	return result;
}

static uint64_t page_address(const struct vmmu_guest_mode *mode, const struct vmmu_guest_step *leaf,
                             unsigned page_shift)
{
	uint64_t address = leaf->entry & mode->address & ~((1ull << page_shift) - 1);

	/* What the CPU does not have of these bits was found to be 0. */
	if (leaf->level > VMMU_LEVEL_4K)
		address |= (leaf->entry & mode->format->huge_high) << mode->format->huge_high_shift;
	return address;
}

/* ---- the page -------------------------------------------------------------------- */

static bool key_refuses(const struct walk *w)
{
	const struct vmmu_guest_walk *out = w->out;

	return w->mode->keys && !w->fetch && (out->rights & VMMU_PAGE_USER) &&
	       (w->mode->key_refused[w->write | w->user << 1] >> out->key & 1);
}

/* The leaf is there: may this access use it? */
static enum vmmu_guest_result walk_leaf(struct walk *w)
{
	struct vmmu_guest_walk *out = w->out;
	const struct vmmu_guest_step *leaf = &out->step[out->steps - 1];
	unsigned access = vmmu_guest_kind(w->write, w->user, w->fetch, w->excused);
	uint32_t why = VMMU_PF_PRESENT;

	out->level = leaf->level;
	out->page_shift = (uint8_t)vmmu_guest_shift(w->mode->format, leaf->level);
	out->gpa = vmmu_gpa_of(page_address(w->mode, leaf, out->page_shift) |
	                       (w->gva & ((1ull << out->page_shift) - 1)));
	if (w->mode->keys)
		out->key = (uint8_t)vmmu_guest_key(w->mode->format, leaf->entry);
	if (key_refuses(w))
		why |= VMMU_PF_KEY;
	if (why != VMMU_PF_PRESENT || (w->mode->refused[access] >> out->rights & 1))
		return fault(w, why);
	return VMMU_GUEST_OK;
}

/* Nothing is known yet. The steps are left as they are: those that count are written one by one. */
VMMU_INLINE void clear_walk(struct vmmu_guest_walk *out, uint8_t rights)
{
	out->gpa = vmmu_gpa_of(0);
	out->error_code = 0;
	out->level = 0;
	out->page_shift = 0;
	out->rights = rights;
	out->key = 0;
	out->global = false;
	out->dirty = false;
	out->dirtied = false;
	out->steps = 0;
}

VMMU_INLINE enum vmmu_guest_result translate(struct walk *w)
{
	const struct vmmu_guest_mode *mode = w->mode;
	const struct vmmu_guest_format *f = mode->format;
	struct vmmu_guest_walk *out = w->out;
	struct vmmu_guest_step *step = out->step;
	uint64_t table = mode->registers.cr3 & f->root;
	unsigned index_bits = f->index_bits;
	/* The address is canonical, or cut off to address_bits: so the top table's index has no bit too many. */
	unsigned shift = vmmu_guest_shift(f, mode->levels);

	clear_walk(out, VMMU_PAGE_ALL);
	for (unsigned level = mode->levels;; level--, shift -= index_bits, step++) {
		enum vmmu_guest_read read =
			read_step(w, table, level, w->gva >> shift & ((1u << index_bits) - 1), step);
		uint64_t entry = step->entry;
		bool leaf;

		out->steps++;
		if (read != VMMU_GUEST_READ_OK)
			return read == VMMU_GUEST_READ_NONE ? no_memory(w) : VMMU_GUEST_BUSY;
		if (!(entry & f->present))
			return fault(w, 0);
		leaf = level == VMMU_LEVEL_4K || (level <= mode->huge_level_max && (entry & f->huge));
		if (vmmu_guest_is_bad(mode, level, leaf, entry, step->rights))
			return fault(w, VMMU_PF_PRESENT | VMMU_PF_RESERVED);
		out->rights &= step->rights;
		if (leaf)
			return walk_leaf(w);
		table = entry & mode->address;
	}
}

/* ---- accessed and dirty ------------------------------------------------------------ */

/* False: the entry is no longer the one that was walked through. */
static bool set_bits(struct walk *w, struct vmmu_guest_step *step, uint64_t bits)
{
	if (in_registers(w->mode, step->level) || (step->entry & bits) == bits)
		return true;
	if (judge(w, step->where) != VMMU_GUEST_READ_OK)
		return false;
	switch (w->host->guest_cmpxchg(w->ctx, step->where, w->mode->format->entry_bytes, step->entry,
	                               step->entry | bits)) {
	case VMMU_GUEST_SWAPPED:
		step->entry |= bits;
		step->stored = true;
		return true;
	case VMMU_GUEST_READ_ONLY:
		return true;
	case VMMU_GUEST_CHANGED:
	case VMMU_GUEST_SWAP_BUSY:
		break;
	}
	return false;
}

static bool has_stored(const struct vmmu_guest_walk *out)
{
	for (unsigned i = 0; i < out->steps; i++)
		if (out->step[i].stored)
			return true;
	return false;
}

static bool set_accessed_and_dirty(struct walk *w)
{
	const struct vmmu_guest_format *f = w->mode->format;
	struct vmmu_guest_walk *out = w->out;
	struct vmmu_guest_step *leaf = &out->step[out->steps - 1];
	uint64_t dirty = w->write ? f->dirty & ~leaf->entry : 0;

	for (struct vmmu_guest_step *step = out->step; step < leaf; step++)
		if (!set_bits(w, step, f->accessed))
			return false;
	if (!set_bits(w, leaf, f->accessed | dirty))
		return false;
	out->dirtied = dirty && leaf->stored;
	return true;
}

enum vmmu_guest_result vmmu_guest_walk(const struct vmmu_host *host, void *ctx,
                                       const struct vmmu_guest_mode *mode, vmmu_gva gva,
                                       unsigned access, struct vmmu_guest_walk *out)
{
	return vmmu_guest_walk_guarded(host, ctx, mode, gva, access, NULL, out);
}

enum vmmu_guest_result vmmu_guest_walk_guarded(const struct vmmu_host *host, void *ctx,
                                               const struct vmmu_guest_mode *mode, vmmu_gva gva,
                                               unsigned access,
                                               const struct vmmu_guest_guard *guard,
                                               struct vmmu_guest_walk *out)
{
	bool implicit = access & VMMU_ACCESS_IMPLICIT;
	struct walk w = {
		.host = host,
		.ctx = ctx,
		.mode = mode,
		.gva = gva.v,
		.write = access & VMMU_W,
		.user = (access & VMMU_ACCESS_USER) && !implicit,
		.fetch = access & VMMU_X,
		.excused = (access & VMMU_ACCESS_AC) && !implicit,
		.guard = guard,
		.out = out,
	};
	enum vmmu_guest_result result = VMMU_GUEST_OK;
	bool settled = false;

	clear_walk(out, 0);
	if (!mode->format)
		return identity(&w);
	if (mode->format->beyond_refused && gva.v >> mode->format->address_bits)
		return fault(&w, 0);
	if (!mode->format->canonical)
		w.gva &= VMMU_BITS(mode->format->address_bits - 1, 0);
	else if (!is_canonical(mode->format, w.gva))
		return VMMU_GUEST_NONCANONICAL;
	for (unsigned walks = 0; !settled && walks < WALKS_MAX; walks++) {
		result = translate(&w);
		settled = result != VMMU_GUEST_OK || (access & VMMU_ACCESS_PEEK) ||
		          set_accessed_and_dirty(&w);
		/* The caller must hear of what has been stored before steps are overwritten. */
		if (!settled && has_stored(out))
			break;
	}
	if (!settled)
		return VMMU_GUEST_BUSY;
	if (result == VMMU_GUEST_OK) {
		uint64_t leaf = out->step[out->steps - 1].entry;

		out->global = leaf & mode->format->global;
		out->dirty = (leaf & mode->format->dirty) == mode->format->dirty;
	}
	return result;
}

/* SDM vol. 3, 4.4.1, table 4-8: bits 2:1, 8:5 and those past MAXPHYADDR are reserved. */
enum vmmu_guest_result vmmu_guest_load_pdptes(const struct vmmu_host *host, void *ctx,
                                              const struct vmmu_guest_cpu *cpu, uint64_t cr3,
                                              uint64_t pdpte[4])
{
	const uint64_t reserved =
		VMMU_BITS(2, 1) | VMMU_BITS(8, 5) | VMMU_BITS(63, 52) |
		(VMMU_BITS(51, 12) & ~VMMU_BITS(vmmu_guest_width(cpu) - 1, 12));
	uint64_t table = cr3 & VMMU_BITS(31, 5);
	uint64_t read[4];

	for (unsigned i = 0; i < 4; i++) {
		switch (host->guest_read(ctx, vmmu_gpa_of(table + 8 * i), 8, &read[i])) {
		case VMMU_GUEST_READ_OK:
			break;
		case VMMU_GUEST_READ_NONE:
			return VMMU_GUEST_NO_MEMORY;
		default:
			return VMMU_GUEST_BUSY;
		}
		if ((read[i] & VMMU_BIT(0)) && (read[i] & reserved))
			return VMMU_GUEST_FAULT;
	}
	for (unsigned i = 0; i < 4; i++)
		pdpte[i] = read[i];
	return VMMU_GUEST_OK;
}
