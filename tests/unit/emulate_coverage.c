/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every instruction form with a memory operand that the decoder's tables have, tried on
 * device memory: which of them the emulator carries out, and how. The list is kept in
 * docs/emulated-instructions.md; this program holds it to what is true, and with --write
 * writes it anew. What is not carried out must have a reason below.
 */
#define _GNU_SOURCE /* open_memstream */
#include <stdio.h>

#include "tests/unit/emulate_fixture.h"
#include "visor/emulate/decode.h"
#include "visor/emulate/decoded.h"

#define LIST "docs/emulated-instructions.md"
#define OPERAND (DEVICE_BASE + 0x100)

enum how { SOFTWARE,
	   NATIVE,
	   ABSENT,
	   HOW_COUNT };

struct form {
	ZydisMnemonic mnemonic;
	unsigned bits;          /* of the memory operand */
	const char *kind;       /* " far", " to a segment register"; else "" */
	bool tried[3], done[3]; /* in each mode */
	enum how how;
};

#define FORMS_MAX 8192
static struct form forms[FORMS_MAX];
static unsigned form_count;

static const char *const mode_names[3] = {"64-bit", "32-bit", "16-bit"};

/* ---- reasons --------------------------------------------------------------------------------- */

static const struct {
	const char *prefix; /* of mnemonics; the first that fits counts */
	const char *why;
} reasons[] = {
	{"aes", "Key Locker, which CPUID does not offer to guests"},
	{"bnd", "MPX, which CPUID does not offer to guests"},
	{"clevict", "of the Knights Corner alone"},
	{"vprefetch", "of the Knights Corner alone"},
	{"clrssbsy", "CET, which CPUID does not offer to guests"},
	{"rstorssp", "CET, which CPUID does not offer to guests"},
	{"wrss", "CET, which CPUID does not offer to guests"},
	{"wruss", "CET, which CPUID does not offer to guests"},
	{"enqcmd", "CPUID does not offer it to guests"},
	{"movdir64b", "CPUID does not offer it to guests"},
	{"ldtilecfg", "AMX, which CPUID does not offer to guests"},
	{"sttilecfg", "AMX, which CPUID does not offer to guests"},
	{"tile", "AMX, which CPUID does not offer to guests"},
	{"xrstors", "supervisor state, which CPUID does not offer to guests"},
	{"xsaves", "supervisor state, which CPUID does not offer to guests"},
	{"xrstor", "in 32-bit code alone, where it accesses half of the registers; in 64-bit code it is"},
	{"xsave", "in 32-bit code alone, where it accesses half of the registers; in 64-bit code it is"},
	{"ins", "ports exit by themselves; exit/io.c moves the elements"},
	{"outs", "ports exit by themselves; exit/io.c moves the elements"},
	{"invept", "guests have no VMX: #UD"},
	{"invvpid", "guests have no VMX: #UD"},
	{"vmclear", "guests have no VMX: #UD"},
	{"vmptr", "guests have no VMX: #UD"},
	{"vmread", "guests have no VMX: #UD"},
	{"vmwrite", "guests have no VMX: #UD"},
	{"vmxon", "guests have no VMX: #UD"},
	{"invlpg", "names an address and does not access it"},
	{"invpcid", "a descriptor of an address space, which no device holds; under shadow paging it is not offered"},
	{"ptwrite", "Processor Trace, which CPUID does not offer to guests"},
	{"vmaskmov", "elements that its mask leaves out must not be accessed"},
	{"vpmaskmov", "elements that its mask leaves out must not be accessed"},
	{"maskmov", "bytes that its mask leaves out must not be accessed"},
	{"vcompress", "accesses as many elements as its mask has bits"},
	{"vpcompress", "accesses as many elements as its mask has bits"},
	{"vexpand", "accesses as many elements as its mask has bits"},
	{"vpexpand", "accesses as many elements as its mask has bits"},
	{"vgather", "each element has an address of its own"},
	{"vpgather", "each element has an address of its own"},
	{"v4f", "of the Knights Mill alone"},
	{"vp4dp", "of the Knights Mill alone"},
	{NULL, NULL},
};

static const char masked_reason[] = "elements that the mask leaves out must not be accessed";

static const char *reason_for(const struct form *f)
{
	const char *mnemonic = ZydisMnemonicGetString(f->mnemonic);

	if (!strcmp(f->kind, " with a mask"))
		return masked_reason;
	for (unsigned i = 0; reasons[i].prefix; i++) {
		if (strncmp(mnemonic, reasons[i].prefix, strlen(reasons[i].prefix)))
			continue;
		for (unsigned same = 0; same < i; same++) /* a text has one place */
			if (!strcmp(reasons[same].why, reasons[i].why))
				return reasons[same].why;
		return reasons[i].why;
	}
	return NULL;
}

/* ---- trying one ------------------------------------------------------------------------------ */

static struct guest_memory memory;
static struct bus *bus;
static bool natively;

/* Nothing is executed: that the emulator would is what counts. */
static int execute(void *ctx, const uint8_t *code, unsigned bytes, struct native_registers *r, uint64_t *where)
{
	(void)ctx, (void)code, (void)bytes, (void)r;
	*where = UINT64_MAX / 2;
	natively = true;
	return NATIVE_DONE;
}

static struct x86_cpu_state cpu_in(unsigned mode)
{
	struct x86_cpu_state cpu = mode == 0 ? cpu_64bit() : cpu_32bit();

	if (mode == 0)
		cpu.cr3 = 0x10000;
	if (mode == 2)
		cpu.segment[X86_CS].access = 0x809b;
	for (unsigned i = 0; i < X86_SEGMENT_COUNT; i++)
		cpu.segment[i].selector = i == X86_CS ? 0x08 : 0x10;
	cpu.cr4 |= 1 << 18; /* OSXSAVE */
	cpu.gdtr = (struct x86_table_register){0x3f, 0x2000};
	cpu.idtr = (struct x86_table_register){0xfff, 0x1000};
	cpu.tr = (struct x86_segment){.selector = 0x30, .access = 0x8b, .limit = 0x67, .base = 0x3000};
	for (unsigned i = 0; i < X86_GPR_COUNT; i++)
		cpu.gpr[i] = OPERAND;
	cpu.gpr[X86_RCX] = 1;
	cpu.gpr[X86_RAX] = 0x10;
	cpu.gpr[X86_RSP] = 0x9000;
	return cpu;
}

/* Linear addresses are guest-physical ones, below 4 GiB, in 64-bit code as well. */
static void map_all(void)
{
	set64(bus, 0x10000, 0x11007);
	for (unsigned i = 0; i < 4; i++)
		set64(bus, 0x11000 + 8 * i, (uint64_t)i << 30 | 0x87);
	set64(bus, 0x2008, 0x00cf9b000000ffff);
	set64(bus, 0x2010, 0x00cf93000000ffff);
	set64(bus, 0x2018, 0x00af9b000000ffff);
}

static bool touches_memory(const struct decoded *d, unsigned *bits)
{
	for (unsigned i = 0; i < d->instruction.operand_count; i++) {
		const ZydisDecodedOperand *o = &d->operand[i];

		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
			continue;
		if (!(o->actions & (ZYDIS_OPERAND_ACTION_MASK_READ | ZYDIS_OPERAND_ACTION_MASK_WRITE)))
			continue;
		*bits = o->size;
		return true;
	}
	return false;
}

static const char *kind_of(const struct decoded *d)
{
	static const char *const kinds[] = {"", " far", " to a segment register", " with a mask"};
	const ZydisDecodedOperand *first = &d->operand[0];

	if (d->instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		return kinds[1];
	if (d->instruction.mnemonic == ZYDIS_MNEMONIC_MOV && first->type == ZYDIS_OPERAND_TYPE_REGISTER &&
	    ZydisRegisterGetClass(first->reg.value) == ZYDIS_REGCLASS_SEGMENT)
		return kinds[2];
	if (d->instruction.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && d->instruction.raw.evex.aaa)
		return kinds[3];
	return kinds[0];
}

static struct form *form_of(const struct decoded *d, unsigned bits)
{
	const char *kind = kind_of(d);

	for (unsigned i = 0; i < form_count; i++)
		if (forms[i].mnemonic == d->instruction.mnemonic && forms[i].bits == bits && forms[i].kind == kind)
			return &forms[i];
	assert_true(form_count < FORMS_MAX);
	forms[form_count] = (struct form){
		.mnemonic = d->instruction.mnemonic,
		.bits = bits,
		.kind = kind,
		.how = ABSENT,
	};
	return &forms[form_count++];
}

static void try(unsigned mode, const uint8_t *bytes, unsigned count)
{
	struct x86_cpu_state cpu = cpu_in(mode);
	struct emulate_info info;
	const struct decoded *d;
	enum emulate_result result;
	struct form *f;
	unsigned bits;

	if (decode(&cpu, bytes, count, &d) != EMULATE_DONE || !touches_memory(d, &bits))
		return;
	f = form_of(d, bits);
	f->tried[mode] = true;
	if (f->done[mode])
		return;
	natively = false;
	result = emulate_instruction(&cpu, &memory, bytes, count, OPERAND, &info);
	f->done[mode] = result != EMULATE_UNSUPPORTED; /* #UD is an answer, too */
	if (f->done[mode] && f->how != SOFTWARE)
		f->how = natively ? NATIVE : SOFTWARE;
}

/* ---- all of them -------------------------------------------------------------------------------- */

/*
 * ModRM: memory at [RBX], or [EBX] by an address-size prefix in 16-bit code; with an index, for those that take
 * vectors of them; and registers, for those whose memory is implied. Then room for an immediate.
 */
static void try_modrm(unsigned mode, const uint8_t *head, unsigned n)
{
	static const uint8_t rest[][2] = {{0x03, 0}, {0x04, 0x0b}, {0xc1, 0}};

	for (unsigned reg = 0; reg < 8; reg++) {
		for (unsigned i = 0; i < 3; i++) {
			uint8_t bytes[EMULATE_MAX_INSTRUCTION] = {0};

			memcpy(bytes, head, n);
			bytes[n] = (uint8_t)(reg << 3 | rest[i][0]);
			bytes[n + 1] = rest[i][1];
			try(mode, bytes, n + 9 < sizeof(bytes) ? n + 9 : sizeof(bytes));
		}
	}
}

static void legacy(unsigned mode)
{
	static const uint8_t prefixes[] = {0, 0x66, 0xf2, 0xf3};
	static const uint8_t maps[][2] = {{0, 0}, {0x0f, 0}, {0x0f, 0x38}, {0x0f, 0x3a}};

	for (unsigned map = 0; map < 4; map++)
		for (unsigned p = 0; p < 8; p++)
			for (unsigned wide = 0; wide < (mode == 0 ? 2u : 1u); wide++)
				for (unsigned opcode = 0; opcode < 256; opcode++) {
					uint8_t head[8];
					unsigned n = 0;

					if (mode == 2)
						head[n++] = 0x67;
					if (p >= 4)
						head[n++] = 0x66;
					if (prefixes[p % 4] && !(p >= 4 && prefixes[p % 4] == 0x66))
						head[n++] = prefixes[p % 4];
					if (wide)
						head[n++] = 0x48;
					for (unsigned i = 0; i < 2; i++)
						if (maps[map][i])
							head[n++] = maps[map][i];
					head[n++] = (uint8_t)opcode;
					try_modrm(mode, head, n);
				}
}

static void vex(unsigned mode)
{
	for (unsigned map = 1; map < 4; map++)
		for (unsigned last = 0; last < 16; last++) /* W, L, pp */
			for (unsigned v = 0; v < 2; v++)
				for (unsigned opcode = 0; opcode < 256; opcode++) {
					uint8_t head[] = {0x67, 0xc4, (uint8_t)(0xe0 | map),
					                  (uint8_t)((last & 8) << 4 | (v ? 0x78 : 0x70) | (last & 7)), (uint8_t)opcode};

					try_modrm(mode, head + (mode != 2), sizeof(head) - (mode != 2));
				}
}

static void evex(unsigned mode)
{
	static const uint8_t rest[][2] = {{0x03, 0}, {0x04, 0x0b}, {0x23, 0}, {0x33, 0}};

	for (unsigned map = 1; map < 7; map++)
		for (unsigned last = 0; last < 8; last++)               /* W, pp */
			for (unsigned length = 0; length < 6; length++) /* L'L, b */
				for (unsigned mask = 0; mask < 2; mask++)
					for (unsigned opcode = 0; opcode < 256; opcode++) {
						for (unsigned i = 0; i < 4; i++) {
							uint8_t bytes[EMULATE_MAX_INSTRUCTION] = {
								0x67, 0x62, (uint8_t)(0xf0 | map), (uint8_t)((last & 4) << 5 | 0x7c | (last & 3)),
								(uint8_t)((length % 3) << 5 | (length / 3) << 4 | 8 | mask), (uint8_t)opcode,
								rest[i][0], rest[i][1]};

							try(mode, bytes + (mode != 2), sizeof(bytes) - (mode != 2));
						}
					}
}

static void try_all(void)
{
	bus = bus_new(&memory);
	memory.execute = execute;
	map_all();
	for (unsigned mode = 0; mode < 3; mode++) {
		legacy(mode);
		vex(mode);
		evex(mode);
	}
	free(bus);
}

/* ---- the list -------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct form *x = a, *y = b;
	int order = strcmp(ZydisMnemonicGetString(x->mnemonic), ZydisMnemonicGetString(y->mnemonic));

	if (order)
		return order;
	return x->bits != y->bits ? (int)x->bits - (int)y->bits : strcmp(x->kind, y->kind);
}

static bool any_done(const struct form *f)
{
	return f->done[0] || f->done[1] || f->done[2];
}

static void write_modes(FILE *to, const struct form *f, bool done)
{
	const char *between = "";

	for (unsigned mode = 0; mode < 3; mode++) {
		if (f->tried[mode] && f->done[mode] == done) {
			fprintf(to, "%s%s", between, mode_names[mode]);
			between = ", ";
		}
	}
}

static bool whole(const struct form *f)
{
	for (unsigned mode = 0; mode < 3; mode++)
		if (f->tried[mode] && !f->done[mode])
			return false;
	return true;
}

/* Mnemonics with the widths of their operands, as many to a line as it holds. */
static void write_done(FILE *to, enum how how)
{
	const char *last = "";
	char line[200] = "";

	fprintf(to, "```\n");
	for (unsigned i = 0; i < form_count;) {
		const char *name = ZydisMnemonicGetString(forms[i].mnemonic);
		char entry[120];
		int n = snprintf(entry, sizeof(entry), "%s", name);
		bool any = false;

		for (; i < form_count && !strcmp(ZydisMnemonicGetString(forms[i].mnemonic), name); i++) {
			if (forms[i].how != how)
				continue;
			n += snprintf(entry + n, sizeof(entry) - (size_t)n, " m%u%s", forms[i].bits, forms[i].kind);
			any = true;
		}
		if (!any)
			continue;
		if (strlen(line) + (size_t)n + 2 > 100) {
			fprintf(to, "%s\n", line);
			line[0] = '\0';
		}
		strcat(line, *line ? ", " : "");
		strcat(line, entry);
		last = name;
	}
	fprintf(to, "%s\n```\n", line);
	assert_true(*last);
}

static unsigned count(enum how how)
{
	unsigned n = 0;

	for (unsigned i = 0; i < form_count; i++)
		n += forms[i].how == how;
	return n;
}

/* All of them that have this reason, each once, with the modes if they are not all. */
static void write_names(FILE *to, const char *why)
{
	const char *last = "", *between = "";

	for (unsigned i = 0; i < form_count; i++) {
		const char *name = ZydisMnemonicGetString(forms[i].mnemonic);

		if (whole(&forms[i]) || reason_for(&forms[i]) != why || !strcmp(name, last))
			continue;
		fprintf(to, "%s%s%s", between, name, forms[i].kind);
		if (any_done(&forms[i])) {
			fprintf(to, " in ");
			write_modes(to, &forms[i], false);
			fprintf(to, " code");
		}
		last = name;
		between = ", ";
	}
}

/* By reason. Of the forms with masks there are hundreds: their number will do. */
static void write_absent(FILE *to)
{
	unsigned masked = 0;

	for (unsigned i = 0; i < form_count; i++)
		masked += !whole(&forms[i]) && reason_for(&forms[i]) == masked_reason;
	fprintf(to, "| instructions | why |\n|---|---|\n| %u AVX-512 forms, where they have a mask | %s |\n", masked,
	        masked_reason);
	for (unsigned r = 0; reasons[r].prefix; r++) {
		bool first = true;

		for (unsigned before = 0; before < r; before++)
			first &= strcmp(reasons[before].why, reasons[r].why) != 0;
		if (!first)
			continue;
		fprintf(to, "| ");
		write_names(to, reasons[r].why);
		fprintf(to, " | %s |\n", reasons[r].why);
	}
}

static void write_list(FILE *to)
{
	fprintf(to,
	        "# Instructions on device memory\n\n"
	        "What the emulator carries out when an instruction's operand lies in device memory, in a\n"
	        "read-only slot or in a shadowed page table: every form with a memory operand that the\n"
	        "decoder's tables have (Zydis), tried in 64-bit, 32-bit and 16-bit code. `mN` is an operand\n"
	        "of N bits. This file is written by `build/unit/emulate_coverage --write`, which is also the\n"
	        "test that holds it to what is true (`make unit`); `tests/unit/emulate_native.c` compares\n"
	        "results with those of the CPU.\n\n"
	        "%u forms: %u in software, %u by the CPU on a copy of the operand, %u not carried out.\n"
	        "A form counts as carried out if it is with some operands; what an operand in memory can\n"
	        "name and is left alone: call gates and task switches in far jumps and calls; a far RET to\n"
	        "another privilege level and an IRET to where there is a descriptor (a stack in device memory\n"
	        "keeps nothing to return to, and what it has instead is refused as a CPU refuses it).\n\n"
	        "## In software\n\n",
	        form_count, count(SOFTWARE), count(NATIVE), count(ABSENT));
	write_done(to, SOFTWARE);
	fprintf(to, "\n## By the CPU itself, on a copy of the operand\n\nSee `visor/emulate/native.c`.\n\n");
	write_done(to, NATIVE);
	fprintf(to, "\n## Not carried out\n\nWhere a guest does this, its VM ends with a message that names the "
	            "instruction.\n\n");
	write_absent(to);
}

/* ---- the tests -------------------------------------------------------------------------------------- */

static void nothing_is_missing_without_a_reason(void **state)
{
	(void)state;
	for (unsigned i = 0; i < form_count; i++)
		if (!whole(&forms[i]) && !reason_for(&forms[i]))
			fail_msg("%s m%u%s is not carried out, and nobody says why", ZydisMnemonicGetString(forms[i].mnemonic),
			         forms[i].bits, forms[i].kind);
}

/* A reason for what is carried out would be out of date. */
static void every_reason_is_needed(void **state)
{
	(void)state;
	for (unsigned r = 0; reasons[r].prefix; r++) {
		bool needed = false;

		for (unsigned i = 0; i < form_count; i++)
			needed |= !whole(&forms[i]) && !strncmp(ZydisMnemonicGetString(forms[i].mnemonic), reasons[r].prefix,
			                                        strlen(reasons[r].prefix));
		if (!needed)
			fail_msg("nothing is left out for \"%s\"", reasons[r].prefix);
	}
}

static void list_is_up_to_date(void **state)
{
	char *now = NULL, *kept;
	size_t size = 0, n;
	FILE *to = open_memstream(&now, &size), *from = fopen(LIST, "r");

	(void)state;
	write_list(to);
	fclose(to);
	if (!from)
		fail_msg("%s cannot be read", LIST);
	kept = calloc(1, size + 2);
	n = fread(kept, 1, size + 1, from);
	fclose(from);
	if (n != size || memcmp(kept, now, size))
		fail_msg("%s is not what the emulator does: write it anew with build/unit/emulate_coverage --write", LIST);
	free(kept);
	free(now);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_missing_without_a_reason),
		cmocka_unit_test(every_reason_is_needed),
		cmocka_unit_test(list_is_up_to_date),
	};

	try_all();
	qsort(forms, form_count, sizeof(forms[0]), by_name);
	if (argc == 2 && !strcmp(argv[1], "--write")) {
		FILE *to = fopen(LIST, "w");

		if (!to) {
			perror(LIST);
			return 1;
		}
		write_list(to);
		return fclose(to) ? 1 : 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
