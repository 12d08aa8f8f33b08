/* SPDX-License-Identifier: BSD-2-Clause */
/* A CPU of a guest without nested paging: what it remembers, what it reaches, and its exits. */
#include "guest_internal.h"
#include "guest_machine.h"
#include "random.h"

#include <stdio.h>
#include <string.h>

#define MANY 24
#define ALL_PARTS 4

/* ---- registers ---------------------------------------------------------------------- */

#define CR0_PG (1ull << 31)
#define CR4_PAE (1ull << 5)
#define CR4_PGE (1ull << 7)
#define CR4_PCIDE (1ull << 17)
#define CR4_SMEP (1ull << 20)

struct sim_guest_cpu sim_gm_cpu_of(const struct vmmu_paging *p)
{
	struct sim_guest_cpu cpu = {
		.pg = p->cr0 >> 31 & 1,
		.wp = p->cr0 >> 16 & 1,
		.pse = p->cr4 >> 4 & 1,
		.pae = p->cr4 >> 5 & 1,
		.la57 = p->cr4 >> 12 & 1,
		.smep = p->cr4 >> 20 & 1,
		.smap = p->cr4 >> 21 & 1,
		.pke = p->cr4 >> 22 & 1,
		.lma = p->efer >> 10 & 1,
		.nxe = p->efer >> 11 & 1,
		.cr3 = p->cr3,
		.pkru = p->pkru,
		.maxphyaddr = p->cpu.maxphyaddr,
		.pse36 = p->cpu.pse36,
		.page_1g = p->cpu.page_1g,
		.amd = p->cpu.bit8_reserved,
	};

	memcpy(cpu.pdpte, p->pdpte, sizeof(cpu.pdpte));
	return cpu;
}

unsigned sim_gm_pcid_of(const struct vmmu_paging *p)
{
	return p->cr4 & CR4_PCIDE ? p->cr3 & (SIM_GM_PCIDS - 1) : 0;
}

static bool is_long(const struct sim_gm_vcpu *v)
{
	return (v->paging.cr0 & CR0_PG) && (v->paging.efer >> 10 & 1);
}

/* The registers that the host enters with: as <vmmu/vmmu.h> tells it. */
static struct sim_guest_cpu hardware_of(const struct sim_gm_vcpu *v)
{
	struct sim_guest_cpu cpu = sim_gm_cpu_of(&v->paging);

	if (!cpu.pg)
		cpu.smep = cpu.smap = cpu.pke = false;
	cpu.lma = is_long(v);
	cpu.pg = cpu.wp = cpu.pae = cpu.nxe = true;
	cpu.cr3 = v->root.pointer;
	cpu.maxphyaddr = SIM_GM_PHYSICAL_BITS;
	cpu.page_1g = true;
	memcpy(cpu.pdpte, v->pdpte, sizeof(cpu.pdpte));
	return cpu;
}

/* VM entry loads the PDPTEs of a guest outside long mode (SDM vol. 3, 27.3.2.4; 4.4.1). */
static void load_pdptes(struct sim_gm *gm, struct sim_gm_vcpu *v)
{
	for (unsigned i = 0; i < ALL_PARTS; i++) {
		uint64_t *pdpte = &v->pdpte[i];

		if (is_long(v) || !sim_memory_load(&gm->tables, v->root.pointer + 8 * i, pdpte))
			*pdpte = 0;
		if ((*pdpte & 1) && (*pdpte & 0xfff00000000001e6))
			sim_gm_fail(gm, "VM entry would refuse PDPTE %u, %#lx", i, *pdpte);
	}
	if (!is_long(v) && v->root.pointer >> 32)
		sim_gm_fail(gm, "a PAE root lies above 4 GiB");
}

/* ---- what the CPU forgets -------------------------------------------------------------- */

static void invalidated(struct sim_gm *gm, struct sim_gm_vcpu *v, enum sim_forgets forgets,
                        unsigned pcid, uint64_t linear)
{
	sim_invalidated(&v->log, ++gm->history.clock, forgets, pcid, linear);
}

static void forget_everything(struct sim_gm *gm, struct sim_gm_vcpu *v)
{
	sim_cache_forget_all(&v->cache);
	invalidated(gm, v, SIM_FORGETS_ALL, 0, 0);
}

void sim_gm_forget_all(struct sim_gm *gm, unsigned vcpu)
{
	sim_cache_forget_all(&gm->vcpu[vcpu].cache);
}

bool sim_gm_reaches(struct sim_gm *gm, unsigned vcpu, uint64_t table)
{
	const struct sim_gm_vcpu *v = &gm->vcpu[vcpu];

	for (unsigned i = 0; !v->switching && i < ALL_PARTS; i++)
		if ((v->pdpte[i] & 1) && (v->pdpte[i] & ~0xfffull) == table)
			return true;
	return (!v->switching && v->root.table.v == table) || sim_cache_reaches(&v->cache, table);
}

/* Changes of CR0 and CR4 (SDM vol. 3, 4.10.4.1). */
static void control_registers_change(struct sim_gm *gm, struct sim_gm_vcpu *v,
                                     const struct vmmu_paging *to)
{
	uint64_t cr4 = v->paging.cr4 ^ to->cr4;
	unsigned pcid = sim_gm_pcid_of(&v->paging);

	if ((v->paging.cr0 & ~to->cr0 & CR0_PG) || (cr4 & CR4_PGE) ||
	    (v->paging.cr4 & ~to->cr4 & CR4_PCIDE)) {
		forget_everything(gm, v);
	} else if ((cr4 & CR4_PAE) || (~v->paging.cr4 & to->cr4 & CR4_SMEP)) {
		sim_cache_forget_space(&v->cache, pcid);
		invalidated(gm, v, SIM_FORGETS_PCID, pcid, 0);
	}
}

/* The guest's new registers are in force. `keep`: CR3 was loaded with bit 63 set. */
static void enter_with(struct sim_gm *gm, struct sim_gm_vcpu *v, const struct vmmu_paging *paging,
                       const struct vmmu_root *root, bool keep)
{
	unsigned pcid = sim_gm_pcid_of(paging);

	control_registers_change(gm, v, paging);
	/* What <vmmu/vmmu.h> asks of the host: nothing is left of another root. */
	if (!gm->tagged && v->root.pointer != root->pointer)
		sim_cache_forget_all(&v->cache);
	v->paging = *paging;
	v->root = *root;
	if (!keep || !(paging->cr4 & CR4_PCIDE)) {
		sim_cache_forget_pcid(&v->cache, pcid);
		invalidated(gm, v, SIM_FORGETS_PCID, pcid, 0);
	}
	/* With tags: nothing of another root under the same tag. */
	if (!v->space[pcid].known || v->space[pcid].pointer != root->pointer)
		sim_cache_forget_space(&v->cache, pcid);
	v->space[pcid].known = true;
	v->space[pcid].pointer = root->pointer;
	load_pdptes(gm, v);
}

static void change_registers(struct sim_gm *gm, unsigned n, const struct vmmu_paging *paging, bool keep)
{
	struct sim_gm_vcpu *v = &gm->vcpu[n];
	struct vmmu_root root = v->root;

	gm->busy = n;
	sim_gm_lock(gm);
	v->switching = true;
	sim_gm_unlock(gm);
	SIM_GM_MUST(gm, "set paging", vmmu_vcpu_set_paging(v->engine, paging));
	SIM_GM_MUST(gm, "load", vmmu_vcpu_load(v->engine, &root));
	sim_gm_lock(gm);
	v->switching = false;
	enter_with(gm, v, paging, &root, keep);
	sim_gm_unlock(gm);
}

void sim_gm_set_paging(struct sim_gm *gm, unsigned n, const struct vmmu_paging *paging)
{
	change_registers(gm, n, paging, false);
}

void sim_gm_load_cr3(struct sim_gm *gm, unsigned n, uint64_t cr3, bool keep)
{
	struct vmmu_paging paging = gm->vcpu[n].paging;

	paging.cr3 = cr3;
	change_registers(gm, n, &paging, keep);
}

void sim_gm_invlpg(struct sim_gm *gm, unsigned n, uint64_t gva)
{
	struct sim_gm_vcpu *v = &gm->vcpu[n];
	unsigned pcid = sim_gm_pcid_of(&v->paging);

	sim_gm_lock(gm);
	sim_cache_forget_page(&v->cache, pcid, gva);
	invalidated(gm, v, SIM_FORGETS_PAGE, pcid, gva);
	sim_gm_unlock(gm);
}

void sim_gm_invpcid(struct sim_gm *gm, unsigned n, unsigned type, unsigned pcid, uint64_t gva)
{
	struct sim_gm_vcpu *v = &gm->vcpu[n];

	sim_gm_lock(gm);
	switch (type) {
	case 0:
		sim_cache_forget_address(&v->cache, pcid, gva);
		invalidated(gm, v, SIM_FORGETS_ADDRESS, pcid, gva);
		break;
	case 1:
		sim_cache_forget_pcid(&v->cache, pcid);
		invalidated(gm, v, SIM_FORGETS_PCID, pcid, 0);
		break;
	case 2:
		forget_everything(gm, v);
		break;
	default:
		sim_cache_forget_local(&v->cache);
		invalidated(gm, v, SIM_FORGETS_ALL, 0, 0);
		break;
	}
	sim_gm_unlock(gm);
}

/* ---- walks of the engine's tables ---------------------------------------------------------- */

/* The CPU's bus, but for the words that it remembers. */
struct bus {
	struct sim_gm *gm;
	const struct sim_path *path;
	unsigned loads;
};

static bool load_table(void *ctx, uint64_t hpa, unsigned size, uint64_t *value)
{
	struct bus *bus = ctx;
	unsigned n = bus->loads++;

	(void)size;
	if (bus->path && n < bus->path->entries) {
		*value = bus->path->value[n];
		return true;
	}
	return sim_memory_load(&bus->gm->tables, hpa, value);
}

static void walk(struct sim_gm *gm, const struct sim_guest_cpu *cpu, const struct sim_path *path,
                 uint64_t gva, const struct sim_guest_access *access, struct sim_guest_result *out)
{
	struct bus bus = {.gm = gm, .path = path};

	sim_guest_translate(cpu, load_table, &bus, gva, access, out);
	if (out->end == SIM_GUEST_BUS)
		sim_gm_fail(gm, "the walk for %#lx meets memory that is no table", gva);
	if (out->end == SIM_GUEST_DONE && out->marks)
		sim_gm_fail(gm, "the CPU would store to the engine's tables at %#lx", gva);
}

/* Remember a finished walk: the page, perhaps by a part of it, and each way to a table. */
static void remember(struct sim_gm *gm, struct sim_gm_vcpu *v, const struct sim_guest_cpu *cpu,
                     uint64_t gva, const struct sim_guest_result *found)
{
	unsigned levels = !cpu->lma ? 2 : cpu->la57 ? 5
	                                            : 4;
	uint64_t leaf = found->entry[found->tables - 1];

	for (unsigned entries = 1; entries <= found->tables; entries++) {
		bool whole = entries == found->tables;
		struct sim_path path = {
			.whole = whole,
			.global = whole && (leaf >> 8 & 1) && (v->paging.cr4 & CR4_PGE),
			.shift = (uint8_t)(12 + 9 * (levels - entries)),
			.entries = (uint8_t)entries,
			.pcid = (uint16_t)sim_gm_pcid_of(&v->paging),
		};

		if (whole)
			path.shift = sim_random_below(&gm->random, 3) ? (uint8_t)found->page_shift : 12;
		path.first = gva >> path.shift;
		memcpy(path.value, found->entry, entries * sizeof(path.value[0]));
		sim_cache_insert(&v->cache, &path);
	}
}

/* A page fault drops what would be used for the address (SDM vol. 3, 4.10.4.1). */
static void forget_at_fault(struct sim_gm_vcpu *v, uint64_t gva)
{
	sim_cache_forget_address(&v->cache, sim_gm_pcid_of(&v->paging), gva);
}

/* By what is remembered, or through the tables. False: #PF with *code. */
static bool translate(struct sim_gm *gm, struct sim_gm_vcpu *v, uint64_t gva,
                      const struct sim_guest_access *access, uint64_t *pfn, uint32_t *code,
                      bool *cached)
{
	struct sim_guest_cpu cpu = hardware_of(v);
	unsigned pcid = sim_gm_pcid_of(&v->paging);
	const struct sim_path *path = sim_cache_page(&v->cache, pcid, gva);
	struct sim_guest_result found;

	if (path && !gm->flushing && sim_random_below(&gm->random, 4) == 0)
		path = NULL;
	if (!path && sim_random_below(&gm->random, 4))
		path = sim_cache_way(&v->cache, pcid, gva);
	walk(gm, &cpu, path, gva, access, &found);
	if (found.end != SIM_GUEST_DONE) {
		forget_at_fault(v, gva);
		*code = found.code;
		return false;
	}
	if (!path || !path->whole)
		remember(gm, v, &cpu, gva, &found);
	*pfn = found.gpa >> 12;
	*cached = path != NULL;
	return true;
}

static void note_place(struct sim_gm_vcpu *v, uint64_t gva)
{
	v->place[v->places++ % SIM_GM_PLACES] = gva;
}

/* ---- an access, judged ------------------------------------------------------------------------ */

struct judged {
	struct sim_gm *gm;
	unsigned n;
	uint64_t gva;
	const struct sim_guest_access *access;
	unsigned size;
	uint64_t value;
	uint64_t since; /* the history's time when the engine was called */
};

static void describe(struct judged *j, const char *what, uint64_t engine)
{
	const struct vmmu_paging *p = &j->gm->vcpu[j->n].paging;
	struct sim_guest_result truth;

	sim_gm_truth(j->gm, j->n, j->gva, j->access, &truth);
	sim_gm_fail(j->gm, "vCPU %u gva %#lx %s%s%s%s: %s: %#lx; by the guest's tables %s %#lx "
	                   "(cr0 %#lx cr3 %#lx cr4 %#lx efer %#lx pkru %#x)",
	            j->n, j->gva,
	            j->access->user ? "user " : "",
	            j->access->write ? "write" : j->access->fetch ? "fetch"
	                                                          : "read",
	            j->access->ac ? " ac" : "", j->access->implicit ? " implicit" : "", what, engine,
	            truth.end == SIM_GUEST_DONE ? "gpa" : "#PF", truth.end == SIM_GUEST_DONE ? truth.gpa : truth.code,
	            p->cr0, p->cr3, p->cr4, p->efer, p->pkru);
}

/* The CPU has let the access through to a frame, by what it remembers or by the tables. */
static bool judge_frame(struct judged *j, uint64_t pfn, bool cached)
{
	struct sim_gm *gm = j->gm;
	bool may_be_late = gm->lateness == SIM_GM_ALL_LATE ||
	                   (gm->lateness == SIM_GM_CACHED_LATE && cached);

	switch (sim_gm_judge_frame(gm, j->n, j->gva, j->access, pfn)) {
	case SIM_GM_RIGHT:
		return true;
	case SIM_GM_LATE:
		gm->late++;
		if (!may_be_late)
			describe(j, "behind the guest's tables, at frame", pfn);
		return may_be_late;
	case SIM_GM_WRONG:
	default:
		describe(j, "reached what no table of the guest has allowed in time, frame", pfn);
		return false;
	}
}

static void went_through(struct judged *j, uint64_t pfn, bool cached)
{
	struct sim_gm *gm = j->gm;

	if (!judge_frame(j, pfn, cached) || !j->access->write)
		return;
	/* From now on what others may still read elsewhere is old. */
	if (gm->copy)
		gm->copy[pfn - gm->first_pfn].written = true;
	sim_gm_store(gm, pfn - gm->first_pfn, j->gva & 4095, j->size, j->value);
}

/*
 * Some moment since the engine was called must agree to its answer. When slots
 * came or went meanwhile, tables in them were there or not.
 */
static bool was_possible(struct judged *j, sim_gm_accept accept, void *arg)
{
	if (j->gm->slots_changed > j->since)
		return true;
	return sim_gm_possible(j->gm, j->n, j->gva, j->access, j->since, j->gm->history.clock, accept,
	                       arg);
}

static bool faults_with(void *code, const struct sim_guest_result *r)
{
	return (r->end == SIM_GUEST_PF || r->end == SIM_GUEST_BUS) && r->code == *(uint64_t *)code;
}

static bool leads_to(void *gpa, const struct sim_guest_result *r)
{
	return r->end == SIM_GUEST_DONE && r->gpa == *(uint64_t *)gpa;
}

static void judge_injected(struct judged *j, struct vmmu_fault *f)
{
	struct sim_gm_vcpu *v = &j->gm->vcpu[j->n];

	j->gm->injected++;
	if (!was_possible(j, faults_with, &f->error_code))
		describe(j, "a #PF that the guest's tables do not call for, with code", f->error_code);
	invalidated(j->gm, v, SIM_FORGETS_ADDRESS, sim_gm_pcid_of(&v->paging), j->gva);
}

/* MMIO, ROM, a table, or nowhere: the engine says whom the access is for. */
static void judge_emulated(struct judged *j, enum vmmu_fault_result result, struct vmmu_fault *f)
{
	uint64_t ram_page;
	struct sim_gm_slot *slot = sim_gm_slot_at(j->gm, f->gpa.v >> 12, &ram_page);
	bool sure = j->gm->slots_changed <= j->since && (!slot || slot->presence == SIM_GM_PRESENT);
	bool read_only = slot && ((slot->info.flags | slot->flags_before) & VMMU_SLOT_READONLY);

	j->gm->emulated++;
	if (!was_possible(j, leads_to, &f->gpa.v))
		describe(j, "to be emulated at", f->gpa.v);
	else if (!sure)
		return;
	else if ((result == VMMU_FAULT_EMULATE_MMIO || result == VMMU_FAULT_BEYOND) && slot)
		describe(j, "memory taken for a device", f->gpa.v);
	else if (result == VMMU_FAULT_READ_ONLY && !(read_only && j->access->write))
		describe(j, "taken for read-only", f->gpa.v);
	else if ((result == VMMU_FAULT_WRITE_TABLE || result == VMMU_FAULT_EMULATE_WRITE) &&
	         !(slot && j->access->write))
		describe(j, "taken for a write to a table", f->gpa.v);
}

/* The engine's answer to an exit. True: the access is over. */
static bool judge_answer(struct judged *j, enum vmmu_fault_result result, struct vmmu_fault *f)
{
	switch (result) {
	case VMMU_FAULT_FIXED:
	case VMMU_FAULT_SPURIOUS:
	case VMMU_FAULT_RETRY:
		return false;
	case VMMU_FAULT_INJECT_PF:
		judge_injected(j, f);
		return true;
	case VMMU_FAULT_EMULATE_MMIO:
	case VMMU_FAULT_READ_ONLY:
	case VMMU_FAULT_WRITE_TABLE:
	case VMMU_FAULT_EMULATE_WRITE:
	case VMMU_FAULT_BEYOND:
		judge_emulated(j, result, f);
		return true;
	case VMMU_FAULT_NO_MEMORY:
		if (!j->gm->tables.failed)
			describe(j, "out of memory, with memory left", 0);
		return false; /* once more: memory is back */
	default:
		describe(j, vmmu_fault_result_name(result), f->gpa.v);
		return true;
	}
}

static bool exit_to_engine(struct judged *j, uint32_t code)
{
	struct sim_gm *gm = j->gm;
	struct vmmu_fault f = vmmu_fault_from_pf(code, vmmu_gva_of(j->gva), j->access->user ? 3 : 0,
	                                         j->access->ac ? 1u << 18 : 0, 0x1000);
	enum vmmu_fault_result result;
	bool over;

	gm->busy = j->n;
	result = vmmu_fault(gm->vcpu[j->n].engine, &f);
	sim_gm_lock(gm);
	gm->exits++;
	over = judge_answer(j, result, &f);
	if (sim_random_below(&gm->random, 2))
		load_pdptes(gm, &gm->vcpu[j->n]);
	sim_gm_unlock(gm);
	if (result == VMMU_FAULT_WRITE_TABLE || result == VMMU_FAULT_EMULATE_WRITE)
		sim_gm_host_write(gm, j->n, f.gpa.v, j->size, j->value);
	if (result == VMMU_FAULT_RETRY && gm->host.relax)
		gm->host.relax(gm);
	return over || (result == VMMU_FAULT_RETRY && gm->exchanging && !gm->host.relax);
}

static bool is_noncanonical(const struct judged *j)
{
	struct sim_guest_result truth;

	sim_gm_truth(j->gm, j->n, j->gva, j->access, &truth);
	return truth.end == SIM_GUEST_GP;
}

/* True: it went through. */
static bool try_once(struct judged *j, uint32_t *code)
{
	uint64_t pfn;
	bool through, cached;

	sim_gm_lock(j->gm);
	through = translate(j->gm, &j->gm->vcpu[j->n], j->gva, j->access, &pfn, code, &cached);
	if (through)
		went_through(j, pfn, cached);
	j->since = j->gm->history.clock;
	sim_gm_unlock(j->gm);
	return through;
}

/* False: the CPU itself refuses it. */
static bool begin_access(struct judged *j)
{
	struct sim_gm_vcpu *v = &j->gm->vcpu[j->n];
	bool refused;

	if (!is_long(v))
		j->gva &= 0xffffffff;
	sim_gm_lock(j->gm);
	j->gm->accesses++;
	refused = is_noncanonical(j);
	note_place(v, j->gva);
	sim_gm_unlock(j->gm);
	return !refused;
}

void sim_gm_try(struct sim_gm *gm, unsigned vcpu, uint64_t gva, const struct sim_guest_access *access,
                unsigned size, uint64_t value)
{
	struct judged j = {gm, vcpu, gva, access, size, value, 0};
	uint32_t code;

	if (begin_access(&j))
		try_once(&j, &code);
}

void sim_gm_access(struct sim_gm *gm, unsigned vcpu, uint64_t gva,
                   const struct sim_guest_access *access, unsigned size, uint64_t value)
{
	struct judged j = {gm, vcpu, gva, access, size, value, 0};
	unsigned exits = 0;

	if (!begin_access(&j))
		return;
	for (; !__atomic_load_n(&gm->failed, __ATOMIC_RELAXED); exits++) {
		uint32_t code = 0;

		if (gm->pause)
			gm->pause();
		if (try_once(&j, &code) || exit_to_engine(&j, code))
			return;
		/* Alone it must get on; with others it may have to wait for them. */
		if (exits >= MANY && !gm->host.relax)
			describe(&j, "no progress after exits:", MANY);
	}
}

/* ---- looking around ------------------------------------------------------------------------------ */

/* All that a CPU could do with what it has just found must be allowed. */
static void judge_all_kinds(struct sim_gm *gm, unsigned n, const struct sim_guest_cpu *cpu,
                            const struct sim_path *path, uint64_t gva)
{
	for (unsigned kind = 0; kind < 6; kind++) {
		struct sim_guest_access access = {
			.write = kind % 3 == 1,
			.fetch = kind % 3 == 2,
			.user = kind >= 3,
		};
		struct judged j = {gm, n, gva, &access, 0, 0, 0};
		struct sim_guest_result found;

		walk(gm, cpu, path, gva, &access, &found);
		if (found.end == SIM_GUEST_DONE)
			judge_frame(&j, found.gpa >> 12, path != NULL);
	}
}

static void look(struct sim_gm *gm, unsigned n, uint64_t gva)
{
	static const struct sim_guest_access read = {.write = false};
	struct sim_gm_vcpu *v = &gm->vcpu[n];
	struct sim_guest_cpu cpu = hardware_of(v), free_hand = cpu;
	unsigned pcid = sim_gm_pcid_of(&v->paging);
	const struct sim_path *path = NULL;
	struct sim_guest_result found;

	if (!cpu.lma)
		gva &= 0xffffffff;
	/* What is remembered does not depend on who may use it. */
	free_hand.smap = free_hand.pke = false;
	gm->looks++;
	if (sim_random_below(&gm->random, 2))
		path = sim_cache_way(&v->cache, pcid, gva);
	walk(gm, &free_hand, path, gva, &read, &found);
	if (found.end != SIM_GUEST_DONE)
		return;
	judge_all_kinds(gm, n, &cpu, path, gva);
	remember(gm, v, &cpu, gva, &found);
}

void sim_gm_look(struct sim_gm *gm, unsigned n, uint64_t gva)
{
	sim_gm_lock(gm);
	look(gm, n, gva);
	sim_gm_unlock(gm);
}
