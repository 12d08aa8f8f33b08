/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kernel_memory.h"

enum {
	ENTRIES = 512,
	ATTEMPTS = 8,   /* to read a table that changes meanwhile */
	MANY = 1 << 16, /* more links than any list here has: it changed under us */
};

/* KVM's entries: "maps something" in bit 11, a leaf above level 1 in bit 7; empty is 0 or bit 63. */
#define ENTRY_PRESENT (1ull << 11)
#define ENTRY_LARGE (1ull << 7)
#define ENTRY_EMPTY (1ull << 63)
#define ENTRY_REMOVED 0x5a0ull
#define ENTRY_ADDRESS 0x000ffffffffff000ull

/* Where the members are that we need, in this kernel. */
struct places {
	uint32_t vm_list, userspace_pid, tdp_mmu_roots, debugfs_dentry, memslots; /* struct kvm */
	uint32_t link, spt, gfn, role;                                            /* struct kvm_mmu_page */
	uint32_t d_name;                                                          /* struct dentry */
	uint32_t id_hash, node_idx, generation;                                   /* struct kvm_memslots */
	uint32_t id_node, base_gfn, npages, userspace_addr, flags, slot_id;       /* struct kvm_memory_slot */
	bool have_names, have_slots;
};

struct slot {
	unsigned as;
	uint32_t id, flags;
	uint64_t gfn, pages, hva;
};

/* A VM's slots as they were put into the recording last. */
struct vm_slots {
	char id[32];
	uint64_t generation[2]; /* KVM's, which counts changes; one for each address space */
	struct slot *slots;
	size_t count;
};

struct snapshot_reader {
	struct kernel_memory *memory;
	struct places at;
	uint64_t page_offset; /* kernel address of physical address 0 */
	uint64_t vm_list;     /* KVM's list of VMs */
	struct marker *marker;
	uint64_t room, written;
	void (*pause)(void);
	struct snapshot snapshot;
	struct vm_slots *known;
	size_t known_count;
	/* of the VM that is being read */
	char id[32];
	uint64_t tables, entries;
};

static bool find_places(struct kernel_memory *m, struct places *p, char **error)
{
	struct {
		const char *type, *path;
		uint32_t *to;
	} needed[] = {
		{"kvm", "vm_list", &p->vm_list},
		{"kvm", "userspace_pid", &p->userspace_pid},
		{"kvm", "arch.tdp_mmu_roots", &p->tdp_mmu_roots},
		{"kvm_mmu_page", "link", &p->link},
		{"kvm_mmu_page", "spt", &p->spt},
		{"kvm_mmu_page", "gfn", &p->gfn},
		{"kvm_mmu_page", "role", &p->role},
	};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (kernel_member(m, needed[i].type, needed[i].path, needed[i].to))
			continue;
		*error = formatted("this kernel's struct %s has no member %s", needed[i].type, needed[i].path);
		return false;
	}
	p->have_names = kernel_member(m, "kvm", "debugfs_dentry", &p->debugfs_dentry) &&
	                kernel_member(m, "dentry", "d_name.name", &p->d_name);
	p->have_slots = kernel_member(m, "kvm", "memslots", &p->memslots) &&
	                kernel_member(m, "kvm_memslots", "id_hash", &p->id_hash) &&
	                kernel_member(m, "kvm_memslots", "node_idx", &p->node_idx) &&
	                kernel_member(m, "kvm_memslots", "generation", &p->generation) &&
	                kernel_member(m, "kvm_memory_slot", "id_node", &p->id_node) &&
	                kernel_member(m, "kvm_memory_slot", "base_gfn", &p->base_gfn) &&
	                kernel_member(m, "kvm_memory_slot", "npages", &p->npages) &&
	                kernel_member(m, "kvm_memory_slot", "userspace_addr", &p->userspace_addr) &&
	                kernel_member(m, "kvm_memory_slot", "flags", &p->flags) &&
	                kernel_member(m, "kvm_memory_slot", "id", &p->slot_id);
	return true;
}

static uint32_t word32(struct snapshot_reader *r, uint64_t address)
{
	uint32_t word = 0;

	return kernel_read(r->memory, address, &word, sizeof(word), NULL) ? word : 0;
}

/* Let the buffers be emptied before there is too much in them. */
static void put(struct snapshot_reader *r, const char *line)
{
	r->written += strlen(line) + 32;
	if (r->written > r->room) {
		r->pause();
		r->written = 0;
	}
	marker_write(r->marker, "%s", line);
}

/* ---- tables ----------------------------------------------------------------------- */

static bool is_empty(uint64_t entry)
{
	entry &= ~ENTRY_EMPTY;
	return entry == 0 || entry == ENTRY_REMOVED;
}

static bool is_table(uint64_t entry, unsigned level)
{
	return level > 1 && entry & ENTRY_PRESENT && !(entry & ENTRY_LARGE);
}

/* Entries of one table, as many as follow one another and fit in a line. */
static void put_entries(struct snapshot_reader *r, const uint64_t *entries, unsigned as, unsigned level, uint64_t table,
                        uint64_t gfn, uint64_t when)
{
	char line[MARKER_MAX + 64];
	unsigned shift = 9 * (level - 1);

	for (unsigned i = 0; i < ENTRIES;) {
		int length;

		if (is_empty(entries[i])) {
			i++;
			continue;
		}
		length = snprintf(line, sizeof(line), "vmmu: found t=%" PRIu64 " vm=%s as=%u level=%u table=0x%" PRIx64 " gfn=0x%" PRIx64 " index=%u entries=", when, r->id, as, level,
		                  table - r->page_offset, gfn + ((uint64_t)i << shift), i);
		for (bool first = true; i < ENTRIES && !is_empty(entries[i]) && length < MARKER_MAX - 20; i++) {
			length += snprintf(line + length, sizeof(line) - (size_t)length, "%s0x%" PRIx64,
			                   first ? "" : ",", entries[i]);
			first = false;
			r->entries++;
		}
		put(r, line);
	}
	r->tables++;
}

/*
 * One table and all below. `from`: the kernel address of the entry that names it (0: a root).
 * A table may be taken away and its frame be used for something else while we look: what was
 * read counts only if the entry above still names the table afterwards.
 */
static bool read_table(struct snapshot_reader *r, uint64_t from, uint64_t table, unsigned as, unsigned level, uint64_t gfn)
{
	uint64_t entries[ENTRIES], when;
	unsigned shift = 9 * (level - 1);

	if (!kernel_read(r->memory, table, entries, sizeof(entries), &when))
		return false;
	if (from) {
		uint64_t now = kernel_word(r->memory, from);

		if (!is_table(now, level + 1) || (now & ENTRY_ADDRESS) + r->page_offset != table)
			return false;
	}
	put_entries(r, entries, as, level, table, gfn, when);
	for (unsigned i = 0; i < ENTRIES && level > 1; i++) {
		uint64_t entry = entries[i], at = table + i * sizeof(entry);

		for (int attempt = 0; is_table(entry, level); attempt++) {
			if (read_table(r, at, (entry & ENTRY_ADDRESS) + r->page_offset, as, level - 1,
			               gfn + ((uint64_t)i << shift)))
				break;
			if (attempt == ATTEMPTS) {
				r->snapshot.unsteady++;
				break;
			}
			entry = kernel_word(r->memory, at);
		}
	}
	return true;
}

static void read_roots(struct snapshot_reader *r, uint64_t kvm)
{
	uint64_t head = kvm + r->at.tdp_mmu_roots, next = kernel_word(r->memory, head);

	for (int i = 0; next && next != head && i < MANY; i++, next = kernel_word(r->memory, next)) {
		uint64_t page = next - r->at.link, table = kernel_word(r->memory, page + r->at.spt);
		uint64_t gfn = kernel_word(r->memory, page + r->at.gfn);
		uint32_t role = word32(r, page + r->at.role);
		unsigned level = role & 15, as = role >> 24; /* union kvm_mmu_page_role: level, smm */
		char *line;

		if (!table || level < 2 || level > 5 || as > 1)
			continue;
		line = formatted("vmmu: root vm=%s as=%u table=0x%" PRIx64 " level=%u role=0x%x", r->id, as,
		                 table - r->page_offset, level, role);
		put(r, line);
		free(line);
		if (!read_table(r, 0, table, as, level, gfn))
			r->snapshot.unsteady++;
	}
}

/* ---- slots ------------------------------------------------------------------------ */

static struct vm_slots *known_slots(struct snapshot_reader *r)
{
	for (size_t i = 0; i < r->known_count; i++)
		if (strcmp(r->known[i].id, r->id) == 0)
			return &r->known[i];
	r->known = reallocate(r->known, (r->known_count + 1) * sizeof(*r->known));
	r->known[r->known_count] = (struct vm_slots){.generation = {~0ull, ~0ull}};
	memcpy(r->known[r->known_count].id, r->id, sizeof(r->id));
	return &r->known[r->known_count++];
}

static void put_slot(struct snapshot_reader *r, const struct slot *slot, uint64_t pages)
{
	char *line = formatted("vmmu: slot vm=%s as=%u id=%u gfn=0x%" PRIx64 " pages=0x%" PRIx64 " hva=0x%" PRIx64
	                       " flags=0x%x",
	                       r->id, slot->as, slot->id, slot->gfn, pages, slot->hva, slot->flags);

	put(r, line);
	free(line);
}

static const struct slot *slot_with_id(const struct vm_slots *in, unsigned as, uint32_t id)
{
	for (size_t i = 0; i < in->count; i++)
		if (in->slots[i].as == as && in->slots[i].id == id)
			return &in->slots[i];
	return NULL;
}

static void add_slot(struct vm_slots *to, const struct slot *slot)
{
	to->slots = reallocate(to->slots, (to->count + 1) * sizeof(*to->slots));
	to->slots[to->count++] = *slot;
}

/* What differs goes into the recording. Slots of the other address space stay as they are. */
static void replace_slots(struct snapshot_reader *r, struct vm_slots *known, struct vm_slots *now, unsigned as)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct slot *before = slot_with_id(known, as, now->slots[i].id);

		if (!before || memcmp(before, &now->slots[i], sizeof(*before)) != 0)
			put_slot(r, &now->slots[i], now->slots[i].pages);
	}
	for (size_t i = 0; i < known->count; i++) {
		if (known->slots[i].as != as)
			add_slot(now, &known->slots[i]);
		else if (!slot_with_id(now, as, known->slots[i].id))
			put_slot(r, &known->slots[i], 0);
	}
	free(known->slots);
	known->slots = now->slots;
	known->count = now->count;
}

/* The hash by id holds every slot of an address space once; its links are one of a pair. */
static void collect_slots(struct snapshot_reader *r, uint64_t memslots, unsigned as, struct vm_slots *now)
{
	enum { BUCKETS = 128,
	       LINK_BYTES = 16 };
	uint64_t hash[BUCKETS];
	uint32_t link = r->at.id_node + (word32(r, memslots + r->at.node_idx) & 1) * LINK_BYTES;

	if (!kernel_read(r->memory, memslots + r->at.id_hash, hash, sizeof(hash), NULL))
		return;
	for (unsigned i = 0; i < BUCKETS; i++) {
		uint64_t node = hash[i];

		for (int n = 0; node && n < MANY; n++, node = kernel_word(r->memory, node)) {
			uint64_t at = node - link;
			struct slot slot;

			memset(&slot, 0, sizeof(slot)); /* compared as a whole */
			slot.as = as;
			slot.id = word32(r, at + r->at.slot_id) & 0xffff;
			slot.flags = word32(r, at + r->at.flags);
			slot.gfn = kernel_word(r->memory, at + r->at.base_gfn);
			slot.pages = kernel_word(r->memory, at + r->at.npages);
			slot.hva = kernel_word(r->memory, at + r->at.userspace_addr);
			if (slot.pages)
				add_slot(now, &slot);
		}
	}
}

static void read_slots(struct snapshot_reader *r, uint64_t kvm)
{
	const uint64_t changing = 1ull << 63; /* in KVM's generation: a change is under way */
	struct vm_slots *known = known_slots(r);

	for (unsigned as = 0; r->at.have_slots && as < 2; as++) {
		uint64_t memslots = kernel_word(r->memory, kvm + r->at.memslots + as * sizeof(uint64_t));
		uint64_t generation = memslots ? kernel_word(r->memory, memslots + r->at.generation) : 0;
		struct vm_slots now = {0};

		if (!memslots || generation & changing || generation == known->generation[as])
			continue;
		collect_slots(r, memslots, as, &now);
		/* Changed while they were read: next time. */
		if (kernel_word(r->memory, kvm + r->at.memslots + as * sizeof(uint64_t)) != memslots ||
		    kernel_word(r->memory, memslots + r->at.generation) != generation) {
			free(now.slots);
			continue;
		}
		replace_slots(r, known, &now, as);
		known->generation[as] = generation;
	}
}

/* ---- VMs -------------------------------------------------------------------------- */

/* Is it one of those asked for? By its name in debugfs, PID-FD, or else by its process. */
static bool is_wanted(struct snapshot_reader *r, const struct vms *vms, uint64_t kvm)
{
	pid_t pid = (pid_t)word32(r, kvm + r->at.userspace_pid);
	char name[sizeof(r->id)] = "";

	if (r->at.have_names) {
		uint64_t dentry = kernel_word(r->memory, kvm + r->at.debugfs_dentry);
		uint64_t text = dentry ? kernel_word(r->memory, dentry + r->at.d_name) : 0;

		if (text)
			kernel_read(r->memory, text, name, sizeof(name) - 1, NULL);
		name[sizeof(name) - 1] = 0;
	}
	for (size_t i = 0; i < vms->count; i++) {
		snprintf(r->id, sizeof(r->id), "%d-%d", vms->vm[i].pid, vms->vm[i].fd);
		if (strcmp(name, r->id) == 0 || (!strchr(name, '-') && vms->vm[i].pid == pid))
			return true;
	}
	return false;
}

static void read_vm(struct snapshot_reader *r, uint64_t kvm)
{
	char *line;

	r->tables = r->entries = 0;
	read_slots(r, kvm);
	read_roots(r, kvm);
	line = formatted("vmmu: found-end vm=%s tables=%" PRIu64 " entries=%" PRIu64, r->id, r->tables, r->entries);
	put(r, line);
	free(line);
	r->snapshot.vms++;
	r->snapshot.tables += r->tables;
	r->snapshot.entries += r->entries;
}

static bool find_kernel(struct snapshot_reader *r, char **error)
{
	uint64_t base = kernel_symbol("page_offset_base", NULL);

	r->vm_list = kernel_symbol("vm_list", "kvm");
	if (!r->vm_list)
		r->vm_list = kernel_symbol("vm_list", NULL);
	/* Without randomized memory there is no such variable, and the address is fixed. */
	r->page_offset = base ? kernel_word(r->memory, base) : 0xffff888000000000ull;
	if (!r->vm_list || !r->page_offset)
		*error = duplicate("/proc/kallsyms does not tell where KVM's list of VMs is");
	return r->vm_list && r->page_offset;
}

struct snapshot_reader *snapshot_open(char **error)
{
	struct snapshot_reader *r = allocate(sizeof(*r));

	r->memory = kernel_memory_open(error);
	if (r->memory && find_places(r->memory, &r->at, error) && find_kernel(r, error))
		return r;
	snapshot_close(r);
	return NULL;
}

void snapshot_close(struct snapshot_reader *r)
{
	if (!r)
		return;
	kernel_memory_close(r->memory);
	for (size_t i = 0; i < r->known_count; i++)
		free(r->known[i].slots);
	free(r->known);
	free(r);
}

/* Each VM in KVM's list that was asked for. */
static void each_vm(struct snapshot_reader *r, const struct vms *vms,
                    void (*read)(struct snapshot_reader *r, uint64_t kvm))
{
	uint64_t next = kernel_word(r->memory, r->vm_list);

	for (int i = 0; next && next != r->vm_list && i < MANY; i++, next = kernel_word(r->memory, next))
		if (is_wanted(r, vms, next - r->at.vm_list))
			read(r, next - r->at.vm_list);
}

struct snapshot snapshot_take(struct snapshot_reader *r, const struct vms *vms, struct marker *m, uint64_t room,
                              void (*pause)(void))
{
	r->marker = m;
	r->room = room;
	r->pause = pause;
	r->written = 0;
	r->snapshot = (struct snapshot){0};
	each_vm(r, vms, read_vm);
	return r->snapshot;
}

void snapshot_slots(struct snapshot_reader *r, const struct vms *vms, struct marker *m)
{
	r->marker = m;
	r->room = UINT64_MAX;
	each_vm(r, vms, read_slots);
}
