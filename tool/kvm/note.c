/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lines that `vmmu record` puts among the events, for what no event says: a word,
 * then key=value, numbers in hex with 0x or decimal, texts in quotes.
 *
 *     vm id=PID-FD pid=PID comm="..." name="..."      thread tid=T tgid=P comm="..."
 *     root vm=PID-FD as=0 table=0xHPA level=4         counts when=end vm=... pages_4k=...
 *     found t=NS vm=... as=0 level=L table=0xHPA gfn=0xG index=I entries=0x..,0x..
 */
#include <stdlib.h>
#include <string.h>

#include <vmmu/types.h>

#include "machine.h"

/* Where the value of a key begins; NULL: the line has no such key. */
static const char *value_of(const char *line, const char *key)
{
	size_t length = strlen(key);
	bool quoted = false;

	for (const char *at = line; *at; at++) {
		if (*at == '"')
			quoted = !quoted;
		if (!quoted && *at == ' ' && strncmp(at + 1, key, length) == 0 && at[1 + length] == '=')
			return at + 2 + length;
	}
	return NULL;
}

static bool number_of(const char *line, const char *key, uint64_t *number)
{
	const char *at = value_of(line, key);
	char *end;

	if (!at)
		return false;
	*number = strtoull(at, &end, 0);
	return end > at;
}

static void text_of(const char *line, const char *key, char *text, size_t room)
{
	const char *at = value_of(line, key), *end;
	size_t length;

	*text = '\0';
	if (!at)
		return;
	end = *at == '"' ? strchr(++at, '"') : at + strcspn(at, " ");
	length = end ? (size_t)(end - at) : strlen(at);
	if (length >= room)
		length = room - 1;
	memcpy(text, at, length);
	text[length] = '\0';
}

/* "PID-FD": one process has one VM as far as its events tell. */
static struct vm *vm_of_line(struct kvm *kvm, const char *line, const char *key)
{
	uint64_t pid, number;

	if (!number_of(line, key, &pid))
		return NULL;
	number = map_get(&kvm->vm_by_tgid, pid);
	if (number == MAP_NONE) {
		struct source_event event = {.pid = (uint32_t)pid, .tgid = (int32_t)pid};
		struct thread *thread = machine_thread(kvm, &event);

		if (thread->pub.tgid < 0)
			thread->pub.tgid = (int64_t)pid;
		return machine_join(kvm, thread, FACT_NO_VCPU, 0);
	}
	return kvm->vms[number];
}

static void take_vm(struct kvm *kvm, const char *line)
{
	struct vm *vm = vm_of_line(kvm, line, "pid");

	if (!vm)
		return;
	vm->pub.counts.machines++;
	text_of(line, "name", vm->pub.name, sizeof(vm->pub.name));
	if (!vm->pub.comm[0])
		text_of(line, "comm", vm->pub.comm, sizeof(vm->pub.comm));
}

static void take_thread(struct kvm *kvm, const char *line)
{
	uint64_t tid, tgid, place;

	if (!number_of(line, "tid", &tid) || !number_of(line, "tgid", &tgid) || tid > INT32_MAX || tgid > INT32_MAX)
		return;
	*map_at(&kvm->tgid_by_pid, tid) = tgid;
	place = map_get(&kvm->thread_by_pid, tid);
	if (place != MAP_NONE && kvm->threads[place].pub.tgid < 0)
		kvm->threads[place].pub.tgid = (int64_t)tgid;
}

/* The root that was there when recording began. */
static struct kvm_root *old_root(struct kvm *kvm, struct vm *vm, unsigned as_id, unsigned level)
{
	for (size_t i = 0; i < vm->tables.root_count; i++)
		if (!vm->tables.roots[i]->born && vm->tables.roots[i]->as_id == as_id)
			return vm->tables.roots[i];
	vm->begun = true;
	vm->pub.born = false;
	return vm_root_add(kvm, vm, as_id, level, false);
}

static void take_root(struct kvm *kvm, const char *line)
{
	struct vm *vm = vm_of_line(kvm, line, "vm");
	uint64_t table, level, as_id = 0;
	struct kvm_root *root;

	number_of(line, "as", &as_id);
	if (!vm || !number_of(line, "table", &table) || !number_of(line, "level", &level) || level < 4 ||
	    level > VMMU_LEVEL_MAX)
		return;
	root = old_root(kvm, vm, as_id & 0xff, (unsigned)level);
	root->top->hpa = table;
	for (size_t i = 0; i < vm->pub.root_count; i++)
		if (vm->pub.roots[i].id == root->id)
			vm->pub.roots[i].hpa = table;
	vm->pub.levels = (unsigned)level;
	vm->pub.tdp = true;
}

static void found_entry(struct kvm *kvm, const struct source_event *event, struct vm *vm, unsigned as_id,
                        unsigned level, uint64_t gfn, uint64_t hpa, uint64_t value)
{
	struct kvm_root *root = old_root(kvm, vm, as_id, vm->tables.level ? vm->tables.level : 4);
	struct kvm_table *table;
	enum kvm_mode mode = kvm_entry_mode(value, level);
	unsigned known, index = kvm_index(gfn, level);
	struct fact fact = {
		.kind = FACT_FOUND,
		.known = FACT_SNAPSHOT,
		.level = (uint8_t)level,
		.a = value,
		.b = value,
		.table = hpa,
		.address = gfn << VMMU_PAGE_SHIFT,
		.root = root->id,
	};

	if (level > root->level)
		return;
	if (vm->tables.mode == KVM_MODE_UNKNOWN && mode != KVM_MODE_UNKNOWN)
		vm->pub.mode = vm->tables.mode = mode;
	table = kvm_root_table(&vm->tables, root, gfn, level);
	vm->pub.counts.found++;
	kvm_table_get(&vm->tables, table, index, &known);
	/* What was written since the snapshot was read is newer than it. */
	if (known != FACT_UNKNOWN)
		return;
	kvm_table_set(&vm->tables, root, table, index, &(struct kvm_put){.value = value, .known = FACT_SNAPSHOT});
	kvm_emit(kvm, event, NULL, vm, &fact);
}

static void take_found(struct kvm *kvm, const struct source_event *event, const char *line)
{
	struct vm *vm = vm_of_line(kvm, line, "vm");
	const char *at = value_of(line, "entries");
	uint64_t level, table = 0, gfn, as_id = 0;

	number_of(line, "as", &as_id);
	number_of(line, "table", &table);
	if (!vm || !at || !number_of(line, "level", &level) || !number_of(line, "gfn", &gfn) || level < 1 ||
	    level > VMMU_LEVEL_MAX || gfn >> 45)
		return;
	for (unsigned i = 0; i < 512; i++) {
		char *end;
		uint64_t value = strtoull(at, &end, 0);

		if (end == at)
			break;
		found_entry(kvm, event, vm, as_id & 0xff, (unsigned)level,
		            gfn + i * vmmu_level_pages((unsigned)level), table, value);
		if (*end != ',')
			break;
		at = end + 1;
	}
}

static void take_slot(struct kvm *kvm, const struct source_event *event, const char *line)
{
	struct vm *vm = vm_of_line(kvm, line, "vm");
	struct fact fact = {.kind = FACT_SLOT};
	uint64_t gfn;

	if (!vm || !number_of(line, "gfn", &gfn) || !number_of(line, "pages", &fact.a))
		return;
	number_of(line, "hva", &fact.b);
	number_of(line, "id", &fact.table);
	fact.address = gfn << VMMU_PAGE_SHIFT;
	kvm_emit(kvm, event, NULL, vm, &fact);
}

static void take_counts(struct kvm *kvm, const char *line)
{
	static const char *const keys[] = {"pages_4k", "pages_2m", "pages_1g"};
	struct vm *vm = vm_of_line(kvm, line, "vm");
	const char *when = value_of(line, "when");
	bool begin = when && strncmp(when, "begin", 5) == 0;

	if (!vm || !when)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		uint64_t count;

		if (!number_of(line, keys[i], &count))
			return;
		(begin ? vm->pub.pages_begin : vm->pub.pages_end)[i] = count;
	}
	*(begin ? &vm->pub.has_begin : &vm->pub.has_end) = true;
}

static bool is_word(const char *line, const char *word)
{
	size_t length = strlen(word);

	return strncmp(line, word, length) == 0 && (line[length] == ' ' || line[length] == '\0');
}

void note_take(struct kvm *kvm, const struct source_event *event)
{
	const char *line = event->note;

	if (is_word(line, "found"))
		take_found(kvm, event, line);
	else if (is_word(line, "vm"))
		take_vm(kvm, line);
	else if (is_word(line, "thread"))
		take_thread(kvm, line);
	else if (is_word(line, "root"))
		take_root(kvm, line);
	else if (is_word(line, "slot"))
		take_slot(kvm, event, line);
	else if (is_word(line, "counts"))
		take_counts(kvm, line);
	else if (is_word(line, "record") && !kvm->record_line)
		kvm->record_line = duplicate(line[6] ? line + 7 : "");
}

bool kvm_is_record_line(const struct source_event *event)
{
	return event->id == EVENT_NOTE && is_word(event->note, "record");
}

void kvm_learn_thread(struct kvm *kvm, const struct source_event *event)
{
	if (event->id == EVENT_NOTE && is_word(event->note, "thread"))
		take_thread(kvm, event->note);
}
