/* SPDX-License-Identifier: BSD-2-Clause */
/* Sections are those of Intel SDM vol. 3, chapter 4. */
#include "guest_model.h"

static uint64_t field(uint64_t value, unsigned high, unsigned low)
{
	return value << (63 - high) >> (63 - high + low);
}

static bool bit(uint64_t value, unsigned n)
{
	return field(value, n, n);
}

struct walk {
	const struct sim_guest_cpu *cpu;
	sim_guest_load load;
	void *ctx;
	uint64_t linear;
	const struct sim_guest_access *access;
	struct sim_guest_result *out;
	bool supervisor;
};

/* ---- 4.7 page-fault error code ---- */

static void page_fault(struct walk *w, bool present, bool reserved, bool key)
{
	const struct sim_guest_cpu *cpu = w->cpu;
	uint32_t code = 0;

	if (present)
		code += 1;
	if (w->access->write)
		code += 2;
	if (!w->supervisor)
		code += 4;
	if (reserved)
		code += 8;
	if (w->access->fetch && (cpu->smep || (cpu->pae && cpu->nxe)))
		code += 16;
	if (key)
		code += 32;
	w->out->end = SIM_GUEST_PF;
	w->out->code = code;
	w->out->marks = 0;
}

/* Reads a structure and its P, R/W, U/S and XD. False: the walk ends here. */
static bool enter(struct walk *w, uint64_t gpa, unsigned size, uint64_t *entry)
{
	struct sim_guest_result *out = w->out;

	out->table[out->tables] = gpa & ~0xfffull;
	if (!w->load(w->ctx, gpa, size, entry)) {
		page_fault(w, false, false, false);
		out->end = SIM_GUEST_BUS;
		return false;
	}
	out->entry[out->tables++] = *entry;
	if (!bit(*entry, 0)) {
		page_fault(w, false, false, false);
		return false;
	}
	if (!bit(*entry, 5))
		out->mark[out->marks++] = (struct sim_guest_mark){gpa, size, 1u << 5};
	out->writable = out->writable && bit(*entry, 1);
	out->user = out->user && bit(*entry, 2);
	if (size == 8 && w->cpu->nxe && bit(*entry, 63))
		out->exec = false;
	return true;
}

static bool reserved_if(struct walk *w, bool condition)
{
	if (condition)
		page_fault(w, true, true, false);
	return condition;
}

/* ---- 4.6 access rights ---- */

static bool supervisor_allowed(const struct walk *w)
{
	const struct sim_guest_cpu *cpu = w->cpu;
	const struct sim_guest_result *page = w->out;
	bool smap_lets = !cpu->smap || (w->access->ac && !w->access->implicit);

	if (w->access->fetch) {
		if (page->user && cpu->smep)
			return false;
		return page->exec;
	}
	if (w->access->write && cpu->wp && !page->writable)
		return false;
	return page->user ? smap_lets : true;
}

static bool user_allowed(const struct walk *w)
{
	const struct sim_guest_result *page = w->out;

	if (!page->user)
		return false;
	if (w->access->fetch)
		return page->exec;
	return w->access->write ? page->writable : true;
}

/* 4.6.2 */
static bool key_allowed(const struct walk *w, unsigned key)
{
	bool ad = bit(w->cpu->pkru, 2 * key), wd = bit(w->cpu->pkru, 2 * key + 1);

	if (!w->cpu->lma || !w->cpu->pke || w->access->fetch || !w->out->user)
		return true;
	if (ad)
		return false;
	if (w->access->write && wd)
		return w->supervisor && !w->cpu->wp;
	return true;
}

/* `entry` maps a page of 2^shift bytes whose frame is `base`. */
static void page(struct walk *w, uint64_t base, unsigned shift, uint64_t entry, uint64_t gpa,
                 unsigned size)
{
	struct sim_guest_result *out = w->out;
	bool key_fine;

	out->key = size == 8 && w->cpu->lma && w->cpu->pke ? (unsigned)field(entry, 62, 59) : 0;
	key_fine = key_allowed(w, out->key);
	out->page_shift = shift;
	out->gpa = base + field(w->linear, shift - 1, 0);
	if (!(w->supervisor ? supervisor_allowed(w) : user_allowed(w)) || !key_fine) {
		page_fault(w, true, false, !key_fine);
		return;
	}
	/* 4.8: D in the structure that maps the page. */
	if (w->access->write && !bit(entry, 6)) {
		if (bit(entry, 5))
			out->mark[out->marks++] = (struct sim_guest_mark){gpa, size, 0};
		out->mark[out->marks - 1].bits |= 1u << 6;
	}
	out->end = SIM_GUEST_DONE;
}

/* ---- 4.3 32-bit paging ---- */

static void walk_32bit(struct walk *w)
{
	const struct sim_guest_cpu *cpu = w->cpu;
	unsigned m = cpu->maxphyaddr < 40 ? cpu->maxphyaddr : 40;
	uint64_t pde, pte, at;

	at = (field(cpu->cr3, 31, 12) << 12) + 4 * field(w->linear, 31, 22);
	if (!enter(w, at, 4, &pde))
		return;
	if (cpu->pse && bit(pde, 7)) {
		if (cpu->pse36) {
			if (reserved_if(w, bit(pde, 21) || (m < 40 && field(pde, 20, m - 19))))
				return;
		} else if (reserved_if(w, field(pde, 21, 13))) {
			return;
		}
		page(w, (field(pde, 20, 13) << 32) + (field(pde, 31, 22) << 22), 22, pde, at, 4);
		return;
	}
	at = (field(pde, 31, 12) << 12) + 4 * field(w->linear, 21, 12);
	if (!enter(w, at, 4, &pte))
		return;
	page(w, field(pte, 31, 12) << 12, 12, pte, at, 4);
}

/* ---- what 4.4 and 4.5 have in common ---- */

static bool long_reserved(const struct walk *w, uint64_t entry)
{
	const struct sim_guest_cpu *cpu = w->cpu;

	if (cpu->maxphyaddr < 52 && field(entry, 51, cpu->maxphyaddr))
		return true;
	if (!cpu->lma && field(entry, 62, 52))
		return true;
	return !cpu->nxe && bit(entry, 63);
}

static uint64_t frame(uint64_t entry)
{
	return field(entry, 51, 12) << 12;
}

/* Page directory at `directory`: a 2 MiB page or a page table. */
static void walk_directory(struct walk *w, uint64_t directory)
{
	uint64_t pde, pte, at;

	at = directory + 8 * field(w->linear, 29, 21);
	if (!enter(w, at, 8, &pde))
		return;
	if (bit(pde, 7)) {
		if (!reserved_if(w, long_reserved(w, pde) || field(pde, 20, 13)))
			page(w, field(pde, 51, 21) << 21, 21, pde, at, 8);
		return;
	}
	if (reserved_if(w, long_reserved(w, pde)))
		return;
	at = frame(pde) + 8 * field(w->linear, 20, 12);
	if (!enter(w, at, 8, &pte) || reserved_if(w, long_reserved(w, pte)))
		return;
	page(w, frame(pte), 12, pte, at, 8);
}

/* ---- 4.4 PAE ---- */

static void walk_pae(struct walk *w)
{
	uint64_t pdpte = w->cpu->pdpte[field(w->linear, 31, 30)];

	if (bit(pdpte, 0))
		walk_directory(w, frame(pdpte));
	else
		page_fault(w, false, false, false);
}

/* ---- 4.5 4-level and 5-level ---- */

static void walk_long(struct walk *w)
{
	const struct sim_guest_cpu *cpu = w->cpu;
	uint64_t table = frame(cpu->cr3), entry, at;
	int64_t top = (int64_t)w->linear >> (cpu->la57 ? 56 : 47);

	if (top != 0 && top != -1) {
		w->out->end = SIM_GUEST_GP;
		return;
	}
	for (unsigned shift = cpu->la57 ? 48 : 39; shift >= 39; shift -= 9) {
		at = table + 8 * field(w->linear, shift + 8, shift);
		if (!enter(w, at, 8, &entry))
			return;
		if (reserved_if(w, long_reserved(w, entry) || bit(entry, 7) || (cpu->amd && bit(entry, 8))))
			return;
		table = frame(entry);
	}
	at = table + 8 * field(w->linear, 38, 30);
	if (!enter(w, at, 8, &entry))
		return;
	if (bit(entry, 7) && cpu->page_1g) {
		if (!reserved_if(w, long_reserved(w, entry) || field(entry, 29, 13)))
			page(w, field(entry, 51, 30) << 30, 30, entry, at, 8);
		return;
	}
	if (!reserved_if(w, long_reserved(w, entry) || bit(entry, 7)))
		walk_directory(w, frame(entry));
}

void sim_guest_translate(const struct sim_guest_cpu *cpu, sim_guest_load load, void *ctx,
                         uint64_t linear, const struct sim_guest_access *access,
                         struct sim_guest_result *out)
{
	struct walk w = {
		.cpu = cpu,
		.load = load,
		.ctx = ctx,
		.linear = cpu->lma ? linear : field(linear, 31, 0),
		.access = access,
		.out = out,
		.supervisor = !access->user || access->implicit,
	};

	*out = (struct sim_guest_result){.writable = true, .user = true, .exec = true};
	if (!cpu->pg) {
		out->gpa = w.linear;
		out->page_shift = 64;
		return;
	}
	if (!cpu->pae)
		walk_32bit(&w);
	else if (!cpu->lma)
		walk_pae(&w);
	else
		walk_long(&w);
}
