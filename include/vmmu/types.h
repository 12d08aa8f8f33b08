/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses, frame numbers, access kinds and status codes.
 *
 * Every address space has a type of its own, so that handing a guest-physical
 * address to something that wants a host-physical one does not compile:
 *
 *   gva  what the guest's instructions name
 *   gpa  what the guest's own page tables produce ("guest-physical")
 *   hpa  what the memory controller sees ("host-physical")
 *   gfn  gpa >> 12            pfn  hpa >> 12
 */
#ifndef VMMU_TYPES_H
#define VMMU_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VMMU_STATIC_ASSERT(what, why) static_assert(what, why)
#else
#define VMMU_STATIC_ASSERT(what, why) _Static_assert(what, why)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define VMMU_PAGE_SHIFT 12
#define VMMU_PAGE_SIZE 4096u

typedef struct {
	uint64_t v;
} vmmu_gva;
typedef struct {
	uint64_t v;
} vmmu_gpa;
typedef struct {
	uint64_t v;
} vmmu_hpa;
typedef struct {
	uint64_t v;
} vmmu_gfn;
typedef struct {
	uint64_t v;
} vmmu_pfn;

static inline vmmu_gva vmmu_gva_of(uint64_t v)
{
	vmmu_gva x = {v};
	return x;
}
static inline vmmu_gpa vmmu_gpa_of(uint64_t v)
{
	vmmu_gpa x = {v};
	return x;
}
static inline vmmu_hpa vmmu_hpa_of(uint64_t v)
{
	vmmu_hpa x = {v};
	return x;
}
static inline vmmu_gfn vmmu_gfn_of(uint64_t v)
{
	vmmu_gfn x = {v};
	return x;
}
static inline vmmu_pfn vmmu_pfn_of(uint64_t v)
{
	vmmu_pfn x = {v};
	return x;
}

static inline vmmu_gfn vmmu_gpa_gfn(vmmu_gpa a) { return vmmu_gfn_of(a.v >> VMMU_PAGE_SHIFT); }
static inline vmmu_gpa vmmu_gfn_gpa(vmmu_gfn n) { return vmmu_gpa_of(n.v << VMMU_PAGE_SHIFT); }
static inline vmmu_pfn vmmu_hpa_pfn(vmmu_hpa a) { return vmmu_pfn_of(a.v >> VMMU_PAGE_SHIFT); }
static inline vmmu_hpa vmmu_pfn_hpa(vmmu_pfn n) { return vmmu_hpa_of(n.v << VMMU_PAGE_SHIFT); }

/*
 * Levels count from the leaves, as in both manuals' figures read bottom up:
 * 1 = the table whose entries map 4 KiB, 2 = 2 MiB, 3 = 1 GiB, 4, 5.
 */
enum { VMMU_LEVEL_4K = 1,
       VMMU_LEVEL_2M = 2,
       VMMU_LEVEL_1G = 3,
       VMMU_LEVEL_MAX = 5 };

/* Number of 4 KiB pages that one entry at `level` covers. */
static inline uint64_t vmmu_level_pages(unsigned level) { return 1ull << (9 * (level - 1)); }

/*
 * Rights, and how an access was made. The rights are one set of bits for slots,
 * backings, entries and accesses; an access has one of them or more, and some of
 * the others.
 */
enum vmmu_access {
	VMMU_R = 1 << 0,
	VMMU_W = 1 << 1,
	VMMU_X = 1 << 2,
	VMMU_RWX = VMMU_R | VMMU_W | VMMU_X,
	VMMU_ACCESS_PRESENT = 1 << 4,  /* the CPU found a present entry: a rights fault */
	VMMU_ACCESS_RESERVED = 1 << 5, /* EPT misconfiguration, or NPF with the RSV bit */
	VMMU_ACCESS_WALK = 1 << 6,     /* the guest's own page walk made the access */
	VMMU_ACCESS_USER = 1 << 7,
	VMMU_ACCESS_IMPLICIT = 1 << 8,  /* a supervisor's access whatever the CPL (descriptor tables) */
	VMMU_ACCESS_PML_FULL = 1 << 10, /* nested: L1's page-modification log has no room (SDM vol. 3, 29.3.6) */
	VMMU_ACCESS_AC = 1 << 9,        /* EFLAGS.AC is set: SMAP excuses explicit data accesses */
	VMMU_ACCESS_REPEATS = 1 << 11   /* shadow modes, a hint: one of many faults of a loop (<vmmu/vmmu.h>) */
};

/*
 * Memory types, in the encoding that EPT entries and MTRRs share
 * (Intel SDM vol. 3, 12.11.2.1 "IA32_MTRR_DEF_TYPE MSR", table 12-8;
 * 29.3.7.2 "Memory Type Used for Translated Guest-Physical Addresses").
 */
enum vmmu_memtype {
	VMMU_MEMTYPE_UC = 0,
	VMMU_MEMTYPE_WC = 1,
	VMMU_MEMTYPE_WT = 4,
	VMMU_MEMTYPE_WP = 5,
	VMMU_MEMTYPE_WB = 6,
};

/* What an API call can answer. 0 is success, everything else names the reason. */
enum vmmu_status {
	VMMU_OK = 0,
	VMMU_ERR_NO_MEMORY,       /* the host gave no frame or no object */
	VMMU_ERR_INVALID,         /* an argument is outside its documented range */
	VMMU_ERR_UNSUPPORTED,     /* the CPU described in the config lacks it */
	VMMU_ERR_BUSY,            /* vCPUs or an invalidation still use it */
	VMMU_ERR_SLOT_EXISTS,     /* a slot with this id is there already */
	VMMU_ERR_SLOT_MISSING,    /* no slot with this id */
	VMMU_ERR_SLOT_OVERLAP,    /* the range meets another slot */
	VMMU_ERR_SLOT_EMPTY,      /* zero pages */
	VMMU_ERR_SLOT_MISALIGNED, /* base, size or backing is not page aligned */
	VMMU_ERR_SLOT_WRAP,       /* base + size passes 2^64 */
	VMMU_ERR_SLOT_BEYOND,     /* past the guest's MAXPHYADDR, or the tables' reach */
	VMMU_ERR_SLOT_ID,         /* id at or above config.max_slots */
	VMMU_ERR_SLOT_FLAGS,      /* unknown or contradictory flag bits */
	VMMU_STATUS_COUNT
};

/* A short English name ("slot overlaps another slot"), never NULL. */
const char *vmmu_status_name(enum vmmu_status status);

#ifdef __cplusplus
}
#endif

#endif
