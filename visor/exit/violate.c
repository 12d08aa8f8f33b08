/* SPDX-License-Identifier: BSD-2-Clause */
#include "visor/exit/violate.h"

#include "visor/cpu/state.h"
#include "visor/cpu/state.h"
#include "visor/cpu/x86.h"
#include "visor/host/interrupts.h"
#include "visor/lib/string.h"
#include "visor/vm/memory.h"
#include "visor/vm/test_device.h"

#define OPCODE_RET 0xc3
#define LOWEST_MIB 0xff000u

/* Hidden from the compiler, which knows what one does not do. */
static void *pointer(uint64_t address)
{
	__asm__ volatile(""
	                 : "+r"(address));
	return (void *)(uintptr_t)address;
}

static void write_to(const void *at)
{
	volatile uint8_t *byte = pointer((uintptr_t)at);

	*byte = *byte;
}

static void violate_execute(void *at)
{
	((void (*)(void))(uintptr_t)at)();
}

static void execute_data(void)
{
	static uint8_t code[16];

	code[0] = OPCODE_RET;
	violate_execute(code);
}

static void execute_stack(void)
{
	volatile uint8_t code[4] = {OPCODE_RET};

	violate_execute((void *)(uintptr_t)code);
}

/* Down to the page below the stack, which takes the page fault's own frame too: a double fault. */
static __attribute__((noinline)) uint64_t descend(uint64_t depth)
{
	volatile uint64_t here[64];

	here[0] = depth;
	return depth ? descend(depth - 1) + here[0] : here[0];
}

static __attribute__((noinline)) void smash(uint64_t bytes)
{
	char buffer[16];

	memset(pointer((uintptr_t)buffer), 0x41, bytes);
}

/* As long as CR0.WP is off, read-only pages can be written. */
static void change(volatile uint8_t *byte)
{
	uint64_t cr0 = read_cr0();

	write_cr0(cr0 & ~X86_CR0_WP);
	*byte ^= 0x80;
	write_cr0(cr0);
}

void violate(struct vm *vm, uint64_t which, uint64_t gpa)
{
	static const uint8_t constant[16] = {1};
	uint8_t code = OPCODE_RET;

	switch (which) {
	case TEST_WRITE_TEXT:
		write_to((const void *)(uintptr_t)violate);
		break;
	case TEST_WRITE_CONSTANT:
		write_to(constant);
		break;
	case TEST_EXECUTE_DATA:
		execute_data();
		break;
	case TEST_EXECUTE_STACK:
		execute_stack();
		break;
	case TEST_EXECUTE_GUEST:
		if (memory_write(vm, gpa, &code, 1))
			violate_execute(memory_page(vm, gpa, false));
		break;
	case TEST_READ_PAGE_0:
		(void)*(volatile uint32_t *)pointer(8);
		break;
	case TEST_READ_LOW:
		(void)*(volatile uint32_t *)pointer(LOWEST_MIB);
		break;
	case TEST_OVERFLOW_STACK:
		descend(1000);
		break;
	case TEST_SMASH_BUFFER:
		smash(48);
		break;
	case TEST_NEVER_END:
		for (;;)
			__asm__ volatile("pause");
	case TEST_CHANGE_CODE:
		change(pointer((uintptr_t)violate_execute));
		break;
	case TEST_CHANGE_CONSTANT:
		change(pointer((uintptr_t)constant));
		break;
	case TEST_CHANGE_PAGE_TABLE:
		change(pointer(read_cr3() + 511 * 8)); /* the last 512 GiB: nothing is there */
		break;
	case TEST_CHANGE_GATE:
		change(pointer(host_tables().idt_base + 0x80 * 16)); /* of a vector that never comes */
		break;
	}
}
