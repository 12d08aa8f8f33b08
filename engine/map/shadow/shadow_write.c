/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A page that is one of the guest's tables has been written, but not by a guest
 * CPU: what followed from the old words goes, and what follows from the new ones
 * may come at once.
 */
#include "map/shadow/shadow.h"

/* Does `s` read its guest table as this vCPU does, or has done last, whatever the level? */
static bool is_read_alike(struct vmmu_vcpu *vcpu, const struct vmmu_shadow *s)
{
	const struct vmmu_guest_mode *mode = vmmu_shadow_vcpu_of(vcpu)->reads;
	union vmmu_role role;

	if (!mode->levels)
		return false;
	role = vmmu_shadow_top_role(mode);

	role.level = s->role.level;
	role.direct = s->role.direct;
	role.access = s->role.access;
	role.quadrant = s->role.quadrant;
	role.key = s->role.key;
	role.registers = s->role.registers;
	return role.word == s->role.word;
}

/* Entries of `s` that stand for guest entries [first, last]; none: false. */
static bool entries_for(const struct vmmu_shadow *s, unsigned first, unsigned last,
                        unsigned *from, unsigned *end)
{
	unsigned spread = vmmu_guest_spread(s->format, s->role.level), ours = 1u << spread;
	unsigned part = VMMU_ENTRIES >> spread, base = s->role.quadrant * part;

	if (last < base || first >= base + part)
		return false;
	*from = (first > base ? first - base : 0) * ours;
	*end = (last < base + part ? last - base + 1 : part) * ours;
	return true;
}

/* What is done with the entries [from, end) of a table. */
typedef void (*on_entries)(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s,
                           unsigned from, unsigned end);

static void drop_written(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s, unsigned from,
                         unsigned end)
{
	(void)vcpu;
	for (unsigned i = from; i < end; i++)
		vmmu_shadow_drop(x, s, i, VMMU_CAUSE_GUEST_WRITE);
}

static void fill_written(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, struct vmmu_shadow *s, unsigned from,
                         unsigned end)
{
	if (is_read_alike(vcpu, s) && s->state == VMMU_SHADOW_CURRENT)
		vmmu_shadow_prefetch(vcpu, x, s, from, end);
}

static void note_write(struct vmmu_shadow_history *h)
{
	h->writes++;
	if (h->handler == VMMU_WRITE_AWAITED)
		h->handler = VMMU_WRITE_CAME;
}

static void for_page(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t gpa, unsigned bytes,
                     on_entries fn)
{
	const struct vmmu_shadow_map *all = vmmu_shadow_map_of(x.op);
	uint64_t gfn = gpa >> VMMU_PAGE_SHIFT;
	unsigned offset = gpa % VMMU_PAGE_SIZE;

	for (struct vmmu_shadow *s = vmmu_shadow_next(all, NULL, gfn); s; s = vmmu_shadow_next(all, s, gfn)) {
		unsigned size = s->format->entry_bytes, from, end;

		if (fn == drop_written)
			note_write(&s->history);
		if (entries_for(s, offset / size, (offset + bytes - 1) / size, &from, &end))
			fn(vcpu, x, s, from, end);
	}
}

static void for_pages(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t gpa, uint64_t bytes,
                      on_entries fn)
{
	const struct vmmu_shadow_map *all = vmmu_shadow_map_of(x.op);
	const uint64_t block = VMMU_ENTRIES * VMMU_PAGE_SIZE;

	while (bytes) {
		/* Guest tables stand close together: most of a long range holds none. */
		bool any = vmmu_shadow_may_hold_near(all, gpa >> VMMU_PAGE_SHIFT);
		uint64_t span = any ? VMMU_PAGE_SIZE : block, here = span - gpa % span;

		here = here < bytes ? here : bytes;
		if (any)
			for_page(vcpu, x, gpa, (unsigned)here, fn);
		gpa += here;
		bytes -= here;
	}
}

void vmmu_shadow_written(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t gpa, uint64_t bytes)
{
	for_pages(vcpu, x, gpa, bytes, drop_written);
}

void vmmu_shadow_refill(struct vmmu_vcpu *vcpu, struct vmmu_exclusive x, uint64_t gpa, uint64_t bytes)
{
	/* What stood there before may still be in use until a flush that is due. */
	if (!vmmu_is_flush_pending(x.op))
		for_pages(vcpu, x, gpa, bytes, fill_written);
}
