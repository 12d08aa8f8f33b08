/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vmmu_audit on shadow tables: it finds damage of each kind in the lists that the
 * engine keeps beside the tables, and takes as long for many entries of one frame
 * as for as many of many.
 */
#include <time.h>

#include "map/map.h"
#include "map/shadow/shadow.h"

#include "machine.h"

enum { PAGES = 512,
       FIRST_TABLE = 2048,
       TABLES = 40 };

static char rules[4096];

static void remember(void *arg, const char *rule, const struct vmmu_path_step *step, vmmu_gfn gfn)
{
	(void)arg;
	(void)step;
	(void)gfn;
	strncat(rules, rule, sizeof(rules) - strlen(rules) - 1);
	strncat(rules, "\n", sizeof(rules) - strlen(rules) - 1);
}

static unsigned audit(struct sim_gm *gm)
{
	rules[0] = '\0';
	return vmmu_audit(gm->vm, remember, NULL);
}

static void expect(struct sim_gm *gm, const char *rule)
{
	if (!audit(gm))
		fail_msg("not found: %s", rule);
	if (!strstr(rules, rule))
		fail_msg("\"%s\" is not among:\n%s", rule, rules);
}

/* The map of vCPUs comes first. */
static struct vmmu_shadow_map *shadows_of(struct sim_gm *gm)
{
	return (struct vmmu_shadow_map *)gm->vm->maps;
}

/* Entry `index` of the table at `gfn` that level `level` of the shadow has. */
static struct vmmu_link *link_of(struct sim_gm *gm, uint64_t gfn, unsigned level, unsigned index)
{
	for (struct vmmu_shadow *s = shadows_of(gm)->oldest; s; s = s->newer)
		if (s->gfn == gfn && s->role.level == level)
			return &s->link[index];
	fail_msg("no shadow of the table at gfn %llx", (unsigned long long)gfn);
	return NULL;
}

/* Four pages, of which two map one frame, and two tables that one directory names twice. */
static struct sim_gm *small(void)
{
	struct sim_gm *gm = machine_of(1, 12, 0);

	set(gm, DIRECTORY, 1, TABLE * K | FULL);
	set(gm, DIRECTORY, 2, OTHER_TABLE * K | FULL);
	for (unsigned i = 0; i < 3; i++)
		set(gm, TABLE, i, (DATA + i) * K | FULL | D);
	set(gm, TABLE, 3, DATA * K | FULL | D);
	set(gm, OTHER_TABLE, 0, (DATA + 9) * K | FULL | D);
	exits_of(gm, 0, &user_read, 0);
	exits_of(gm, M2, &user_read, 0);
	exits_of(gm, 2 * M2, &user_read, 0);
	assert_int_equal(audit(gm), 0);
	return gm;
}

static void leaves_that_hang_wrong(void **state)
{
	struct sim_gm *gm = small();
	struct vmmu_block *block = vmmu_block_of(&shadows_of(gm)->frames, DATA);
	struct vmmu_link *link = link_of(gm, TABLE, 1, 1);
	struct vmmu_link **own = &block->page[DATA + 1], was;

	(void)state;
	/* It is in no list, although it says so. */
	*own = NULL;
	expect(gm, "leaf that its frame's list does not know");
	expect(gm, "counts other leaves");
	*own = link;
	/* In the list of another frame. */
	vmmu_link_unhang(link);
	vmmu_link_hang(link, &block->page[DATA + 2]);
	expect(gm, "a frame's list has an entry that does not map it");
	vmmu_link_unhang(link);
	/* In that of a large page. */
	vmmu_link_hang(link, &block->huge);
	expect(gm, "a frame's list has an entry that does not map it");
	expect(gm, "counts other leaves");
	vmmu_link_unhang(link);
	vmmu_link_hang(link, own);
	assert_int_equal(audit(gm), 0);
	/* Two lists end in the same entry; a list that goes round. */
	was = *link;
	block->page[DATA + 2]->next = link;
	expect(gm, "a list leads to an entry that hangs elsewhere");
	block->page[DATA + 2]->next = NULL;
	link->next = link;
	expect(gm, "a list leads to an entry that hangs elsewhere");
	*link = was;
	assert_int_equal(audit(gm), 0);
	end(gm);
}

static void parents_that_hang_wrong(void **state)
{
	struct sim_gm *gm = small();
	struct vmmu_link *first = link_of(gm, DIRECTORY, 2, 0), *other = link_of(gm, DIRECTORY, 2, 2);
	struct vmmu_link **own = other->at, *kept = *own;

	(void)state;
	*own = NULL;
	expect(gm, "entry that the table it references does not know");
	expect(gm, "the tables know other parents than there are");
	*own = kept;
	/* Known to the table that another entry names. */
	vmmu_link_unhang(other);
	vmmu_link_hang(other, &first->next);
	expect(gm, "a parent is known that does not reference the table");
	vmmu_link_unhang(other);
	vmmu_link_hang(other, own);
	assert_int_equal(audit(gm), 0);
	end(gm);
}

/* ---- what the guest's tables say ---------------------------------------------------------- */

/* The entry at `lied` reads as what it is with these bits the other way; or not at all. */
static struct {
	enum vmmu_guest_read (*read)(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value);
	uint64_t at, flip;
	enum vmmu_guest_read result;
} lie;

static enum vmmu_guest_read read_lie(void *ctx, vmmu_gpa gpa, unsigned size, uint64_t *value)
{
	enum vmmu_guest_read result = lie.read(ctx, gpa, size, value);

	if (gpa.v != lie.at)
		return result;
	*value ^= lie.flip;
	return lie.result;
}

static void say(uint64_t table, unsigned index, uint64_t flip, enum vmmu_guest_read result)
{
	lie.at = table * K + 8 * index;
	lie.flip = flip;
	lie.result = result;
}

/* Each thing that an entry of ours may not say when the guest's does not. */
static void entries_that_the_guest_has_not(void **state)
{
	const uint64_t no_exec = 1ull << 63;
	struct sim_gm *gm = small();

	(void)state;
	exits_of(gm, 0, &user_write, 1);
	lie.read = gm->host.guest_read;
	gm->host.guest_read = read_lie;
	say(TABLE, 0, 0, VMMU_GUEST_READ_OK);
	assert_int_equal(audit(gm), 0);
	say(TABLE, 0, P, VMMU_GUEST_READ_OK);
	expect(gm, "entry where the guest's table has none");
	say(TABLE, 0, 0, VMMU_GUEST_READ_NONE);
	expect(gm, "entry where the guest's table has none");
	say(TABLE, 0, 16 * K, VMMU_GUEST_READ_OK);
	expect(gm, "entry for another frame than the guest's table names");
	say(TABLE, 0, A, VMMU_GUEST_READ_OK);
	expect(gm, "entry although the guest's has its A bit clear");
	say(TABLE, 0, U, VMMU_GUEST_READ_OK);
	expect(gm, "user leaf on a supervisor page of the guest");
	say(TABLE, 0, W, VMMU_GUEST_READ_OK);
	expect(gm, "writable leaf on a read-only page of the guest");
	expect(gm, "leaf lets users write a read-only page");
	say(TABLE, 0, no_exec, VMMU_GUEST_READ_OK);
	expect(gm, "executable leaf on a page the guest forbids to execute");
	/* Tables are held to the same. */
	say(DIRECTORY, 0, K, VMMU_GUEST_READ_OK);
	expect(gm, "entry for another frame than the guest's table names");
	say(DIRECTORY, 0, A, VMMU_GUEST_READ_OK);
	expect(gm, "entry although the guest's has its A bit clear");
	/* What cannot be read just now says nothing. */
	say(TABLE, 0, P, VMMU_GUEST_READ_BUSY);
	assert_int_equal(audit(gm), 0);
	gm->host.guest_read = lie.read;
	assert_int_equal(audit(gm), 0);
	end(gm);
}

static struct vmmu_shadow *shadow_at(struct sim_gm *gm, uint64_t gfn, unsigned level)
{
	struct vmmu_link *link = link_of(gm, gfn, level, 0);

	return vmmu_shadow_of(link);
}

static void states_that_no_table_may_have(void **state)
{
	struct sim_gm *gm = small();
	struct vmmu_shadow *table = shadow_at(gm, TABLE, 1), *root = shadow_at(gm, ROOT, 4);

	struct vmmu_link *link = link_of(gm, TABLE, 1, 0), was = *link;

	(void)state;
	link->at = NULL;
	expect(gm, "entry and its link disagree on whether there is one");
	*link = was;
	table->state = VMMU_SHADOW_HELD;
	expect(gm, "entry in reach of CPUs that has not been compared with the guest's");
	table->state = VMMU_SHADOW_PARKED;
	expect(gm, "entry references a table that the guest may write");
	table->state = VMMU_SHADOW_CURRENT;
	assert_true(root->pins > 0);
	root->state = VMMU_SHADOW_PARKED;
	expect(gm, "a table that the guest may write counts as like the guest's");
	root->state = VMMU_SHADOW_CURRENT;
	table->role.level = VMMU_LEVEL_2M;
	expect(gm, "table is linked where it does not belong");
	table->role.level = VMMU_LEVEL_4K;
	table->role.direct = true;
	expect(gm, "direct table maps another frame than its place");
	table->role.direct = false;
	assert_int_equal(audit(gm), 0);
	end(gm);
}

/* A root is in use from the moment it is made: what it says must follow from the whole of the guest's table, or be nothing. */
static void a_root_that_is_busy_says_nothing(void **state)
{
	struct sim_gm *gm = small();
	struct vmmu_paging p = gm->vcpu[0].paging;
	struct vmmu_shadow *root;

	(void)state;
	set(gm, ROOT2, 0, PDPT * K | FULL);
	lie.read = gm->host.guest_read;
	gm->host.guest_page = NULL;
	gm->host.guest_read = read_lie;
	p.cr3 = ROOT2 * K;
	say(ROOT2, 5, 0, VMMU_GUEST_READ_BUSY);
	sim_gm_set_paging(gm, 0, &p);
	root = shadow_at(gm, ROOT2, 4);
	assert_true(root->pins > 0);
	assert_int_equal(root->state, VMMU_SHADOW_HELD);
	assert_false(root->link[0].at);
	assert_int_equal(audit(gm), 0);
	say(ROOT2, 5, 0, VMMU_GUEST_READ_OK);
	exits_of(gm, 0, &user_read, 0);
	assert_int_equal(root->state, VMMU_SHADOW_CURRENT);
	assert_int_equal(audit(gm), 0);
	gm->host.guest_read = lie.read;
	end(gm);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Processor time of an audit, the least of a few. */
static double seconds_of(struct sim_gm *gm)
{
	double least = 1e9;

	for (unsigned i = 0; i < 3; i++) {
		clock_t begin = clock();
		double spent;

		assert_int_equal(audit(gm), 0);
		spent = (double)(clock() - begin) / CLOCKS_PER_SEC;
		least = spent < least ? spent : least;
	}
	return least;
}

/* TABLES tables full of pages: of one frame, or of PAGES different ones. */
static double seconds_with(bool one_frame)
{
	struct sim_gm *gm = machine_of(1, 12, 0);
	struct vmmu_stats stats;
	double seconds;

	for (unsigned t = 0; t < TABLES; t++) {
		for (unsigned i = 0; i < PAGES; i++)
			set(gm, FIRST_TABLE + t, i, (DATA + (one_frame ? 0 : i)) * K | FULL | D);
		set(gm, DIRECTORY, t, (FIRST_TABLE + t) * K | FULL);
	}
	for (unsigned i = 0; i < TABLES * PAGES; i++)
		exits_of(gm, i * K, &user_read, 0);
	vmmu_stats_read(gm->vm, &stats);
	assert_int_equal(stats.pages[VMMU_LEVEL_4K], TABLES * PAGES);
	seconds = seconds_of(gm);
	end(gm);
	return seconds;
}

static void many_entries_of_one_frame_take_no_longer(void **state)
{
	double many = seconds_with(false), one = seconds_with(true);

	(void)state;
	/* A search of its frame's list for each entry takes hundreds of times as long. */
	if (one > 8 * many)
		fail_msg("%d entries of one frame take %.4f s, of %d frames %.4f s", TABLES * PAGES, one, PAGES, many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaves_that_hang_wrong),
		cmocka_unit_test(parents_that_hang_wrong),
		cmocka_unit_test(entries_that_the_guest_has_not),
		cmocka_unit_test(states_that_no_table_may_have),
		cmocka_unit_test(a_root_that_is_busy_says_nothing),
		cmocka_unit_test(many_entries_of_one_frame_take_no_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
