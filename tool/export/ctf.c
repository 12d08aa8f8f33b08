/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Common Trace Format 1.8. Files are written by libbabeltrace2: a graph of its sink
 * "ctf.fs" and of a source of our own, which gives it facts as messages. One stream
 * holds them all, in packets, so that a reader need not start at the beginning.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <babeltrace2/babeltrace.h>

#include <vmmu/version.h>

#include "export.h"
#include "row.h"

enum { FACTS_IN_PACKET = 4096 };

static const char stream_name[] = "events";
const char *const export_ctf_files[] = {stream_name, "metadata", NULL};

/* What the next message is about. */
enum ctf_state {
	CTF_STREAM_BEGIN,
	CTF_PACKET_BEGIN,
	CTF_EVENTS,
	CTF_PACKET_END,
	CTF_LOSS,       /* between two packets */
	CTF_LOSS_BEGIN, /* an empty packet, which bears the count and ends where the loss was noticed */
	CTF_LOSS_END,
	CTF_STREAM_END,
	CTF_DONE
};

struct ctf {
	struct rows rows;
	struct meter *meter;
	const bt_event_class *classes[FACT_KIND_COUNT];
	bt_stream *stream;
	bt_packet *packet;
	enum ctf_state state;
	uint64_t next;      /* fact */
	uint64_t in_packet; /* facts of the open packet */
	uint64_t time;      /* of the last message, since the first fact */
	bool uncounted;     /* if fact `next` is a loss, the counter of discarded events does not have it yet */
};

/* ---- what the trace is ----------------------------------------------------------------------- */

static bool same_label(const struct column_info *info, unsigned a, unsigned b)
{
	return info->label(a) && info->label(b) && strcmp(info->label(a), info->label(b)) == 0;
}

/* All values that bear the label of `value`, which none below it bears: some causes of vmmu and of KVM share a name. */
static void add_label(bt_field_class *class, const struct column_info *info, unsigned value)
{
	bt_integer_range_set_unsigned *range = bt_integer_range_set_unsigned_create();
	bool ok = range != NULL;

	for (unsigned other = value; ok && other < info->labels; other++)
		if (same_label(info, value, other))
			ok = bt_integer_range_set_unsigned_add_range(range, other, other) == 0;
	if (ok)
		bt_field_class_enumeration_unsigned_add_mapping(class, info->label(value), range);
	bt_integer_range_set_unsigned_put_ref(range);
}

static bt_field_class *label_class(bt_trace_class *trace, const struct column_info *info)
{
	bt_field_class *class = bt_field_class_enumeration_unsigned_create(trace);

	if (!class)
		return NULL;
	bt_field_class_integer_set_field_value_range(class, 8);
	for (unsigned value = 0; value < info->labels; value++) {
		bool first = info->label(value) != NULL;

		for (unsigned other = 0; other < value; other++)
			first = first && !same_label(info, other, value);
		if (first)
			add_label(class, info, value);
	}
	return class;
}

static bt_field_class *column_class(bt_trace_class *trace, const struct column_info *info)
{
	bt_field_class *class;

	switch (info->form) {
	case FORM_LABEL:
		return label_class(trace, info);
	case FORM_TEXT:
		return bt_field_class_string_create(trace);
	case FORM_SIGNED:
		class = bt_field_class_integer_signed_create(trace);
		break;
	default:
		class = bt_field_class_integer_unsigned_create(trace);
		break;
	}
	if (!class)
		return NULL;
	bt_field_class_integer_set_field_value_range(class, info->form == FORM_FLAG ? 8 : 64);
	if (info->form == FORM_HEX)
		bt_field_class_integer_set_preferred_display_base(
			class, BT_FIELD_CLASS_INTEGER_PREFERRED_DISPLAY_BASE_HEXADECIMAL);
	return class;
}

static void add_member(bt_trace_class *trace, bt_field_class *structure, enum column column)
{
	bt_field_class *class = column_class(trace, &column_info[column]);

	if (class)
		bt_field_class_structure_append_member(structure, column_info[column].name, class);
	bt_field_class_put_ref(class);
}

/* Time and the event's name are CTF's own. */
static bool is_context(enum column column)
{
	return column < COLUMNS_COMMON && column != COLUMN_TIME && column != COLUMN_EVENT;
}

static bool make_event_class(struct ctf *ctf, bt_trace_class *trace, bt_stream_class *stream_class, unsigned kind)
{
	const uint8_t *column = row_columns(kind);
	bt_field_class *payload = bt_field_class_structure_create(trace);
	bt_event_class *class = bt_event_class_create(stream_class);
	bool ok = payload && class;

	for (; ok && *column != COLUMN_COUNT; column++)
		add_member(trace, payload, (enum column) * column);
	ok = ok && bt_event_class_set_name(class, fact_kind_name(kind)) == 0 &&
	     bt_event_class_set_payload_field_class(class, payload) == 0;
	bt_field_class_put_ref(payload);
	ctf->classes[kind] = class;
	bt_event_class_put_ref(class); /* its stream class keeps it */
	return ok;
}

static void set_text(bt_trace *trace, const char *name, const char *text)
{
	char *safe = printable(text);

	if (*safe)
		bt_trace_set_environment_entry_string(trace, name, safe);
	free(safe);
}

static void describe(const struct ask *ask, bt_trace *trace)
{
	const struct model_info *info = model_info(ask->model);

	bt_trace_set_environment_entry_string(trace, "tracer_name", "vmmu");
	bt_trace_set_environment_entry_string(trace, "tracer_version", VMMU_VERSION);
	set_text(trace, "source_format", info->kind);
	set_text(trace, "source_machine", info->machine);
	set_text(trace, "source_clock", info->clock);
	set_text(trace, "source_tool", info->tool);
	set_text(trace, "source_damage", info->damage);
	for (unsigned vm = 0; vm < model_vm_count(ask->model); vm++) {
		char *text, *name;

		if (!ask->all_vms && vm != ask->vm)
			continue;
		text = ask_vm_text(ask, vm);
		name = formatted("vm_%u", vm + 1);
		set_text(trace, name, text);
		free(name);
		free(text);
	}
}

/* The recording's clock. A trace's first event need not be near its zero: the offset leads there. */
static bt_clock_class *make_clock(const struct ctf *ctf, bt_self_component *self)
{
	bt_clock_class *clock = bt_clock_class_create(self);
	const char *name = model_info(ctf->rows.ask->model)->clock;
	uint64_t first = ctf->rows.first_time;

	if (!clock)
		return NULL;
	bt_clock_class_set_name(clock, "recording");
	if (*name) {
		char *text = printable(name);

		bt_clock_class_set_description(clock, text);
		free(text);
	}
	bt_clock_class_set_frequency(clock, 1000000000);
	bt_clock_class_set_offset(clock, (int64_t)(first / 1000000000), first % 1000000000);
	bt_clock_class_set_origin_is_unix_epoch(clock, BT_FALSE);
	return clock;
}

static bool make_classes(struct ctf *ctf, bt_trace_class *trace, bt_stream_class *stream_class, bt_self_component *self)
{
	bt_clock_class *clock = make_clock(ctf, self);
	bt_field_class *context = bt_field_class_structure_create(trace);
	bool ok = clock && context;

	for (enum column column = 0; ok && column < COLUMNS_COMMON; column++)
		if (is_context(column))
			add_member(trace, context, column);
	ok = ok && bt_stream_class_set_default_clock_class(stream_class, clock) == 0 &&
	     bt_stream_class_set_event_common_context_field_class(stream_class, context) == 0;
	if (ok) {
		bt_stream_class_set_supports_packets(stream_class, BT_TRUE, BT_TRUE, BT_TRUE);
		bt_stream_class_set_supports_discarded_events(stream_class, BT_TRUE, BT_TRUE);
	}
	for (unsigned kind = 0; kind < FACT_KIND_COUNT; kind++)
		if (ok && row_columns(kind))
			ok = make_event_class(ctf, trace, stream_class, kind);
	bt_clock_class_put_ref(clock);
	bt_field_class_put_ref(context);
	return ok;
}

static bool make_stream(struct ctf *ctf, bt_self_component *self)
{
	bt_trace_class *trace_class = bt_trace_class_create(self);
	bt_stream_class *stream_class = trace_class ? bt_stream_class_create(trace_class) : NULL;
	bt_trace *trace = NULL;
	bool ok = stream_class && make_classes(ctf, trace_class, stream_class, self);

	if (ok)
		trace = bt_trace_create(trace_class);
	if (trace) {
		describe(ctf->rows.ask, trace);
		ctf->stream = bt_stream_create(stream_class, trace);
	}
	ok = ctf->stream && bt_stream_set_name(ctf->stream, stream_name) == 0;
	bt_trace_put_ref(trace);
	bt_stream_class_put_ref(stream_class);
	bt_trace_class_put_ref(trace_class);
	return ok;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Since the first fact; a stream's time never goes back. */
static uint64_t time_of(struct ctf *ctf, uint64_t number)
{
	uint64_t time = model_fact(ctf->rows.ask->model, number)->time;

	time = time > ctf->rows.first_time ? time - ctf->rows.first_time : 0;
	if (time > ctf->time)
		ctf->time = time;
	return ctf->time;
}

static void fill_member(const struct ctf *ctf, bt_field *field, uint64_t number, enum column column)
{
	uint64_t value = 0;

	if (column_info[column].form == FORM_TEXT) {
		bt_field_string_set_value(field, row_text(&ctf->rows, number, column));
	} else if (column_info[column].form == FORM_SIGNED) {
		if (!row_value(&ctf->rows, number, column, &value))
			value = UINT64_MAX;
		bt_field_integer_signed_set_value(field, (int64_t)value);
	} else {
		/* A value that has no label is one all the same. */
		if (!row_value(&ctf->rows, number, column, &value) && column_info[column].form != FORM_LABEL)
			value = 0;
		if (column_info[column].form == FORM_LABEL && value > UINT8_MAX)
			value = UINT8_MAX;
		bt_field_integer_unsigned_set_value(field, value);
	}
}

static bt_message *event_message(struct ctf *ctf, bt_self_message_iterator *iterator, uint64_t number)
{
	unsigned kind = model_fact(ctf->rows.ask->model, number)->kind;
	const uint8_t *column = row_columns(kind);
	bt_message *message = bt_message_event_create_with_packet_and_default_clock_snapshot(
		iterator, ctf->classes[kind], ctf->packet, time_of(ctf, number));
	bt_field *context, *payload;
	uint64_t member = 0;

	if (!message)
		return NULL;
	context = bt_event_borrow_common_context_field(bt_message_event_borrow_event(message));
	payload = bt_event_borrow_payload_field(bt_message_event_borrow_event(message));
	for (enum column common = 0; common < COLUMNS_COMMON; common++)
		if (is_context(common))
			fill_member(ctf, bt_field_structure_borrow_member_field_by_index(context, member++), number, common);
	for (member = 0; *column != COLUMN_COUNT; column++)
		fill_member(ctf, bt_field_structure_borrow_member_field_by_index(payload, member++), number,
		            (enum column) * column);
	return message;
}

static bool find_next(struct ctf *ctf)
{
	while (ctf->next < ctf->rows.to && !row_wanted(&ctf->rows, ctf->next))
		ctf->next++;
	return ctf->next < ctf->rows.to;
}

/* A loss stands between packets; the first packet is there before it. */
static bool is_new_loss(const struct ctf *ctf)
{
	return model_fact(ctf->rows.ask->model, ctf->next)->kind == FACT_LOST && ctf->uncounted;
}

static bt_message *packet_begin(struct ctf *ctf, bt_self_message_iterator *iterator)
{
	ctf->packet = bt_packet_create(ctf->stream);
	ctf->in_packet = 0;
	if (!ctf->packet)
		return NULL;
	return bt_message_packet_beginning_create_with_default_clock_snapshot(iterator, ctf->packet, ctf->time);
}

static bt_message *packet_end(struct ctf *ctf, bt_self_message_iterator *iterator)
{
	bt_message *message = bt_message_packet_end_create_with_default_clock_snapshot(iterator, ctf->packet, ctf->time);

	bt_packet_put_ref(ctf->packet);
	ctf->packet = NULL;
	return message;
}

/* CTF has no "not known how many": such a loss counts as one event. */
static bt_message *loss(struct ctf *ctf, bt_self_message_iterator *iterator)
{
	uint64_t begin = ctf->time, count = model_fact(ctf->rows.ask->model, ctf->next)->a;
	bt_message *message = bt_message_discarded_events_create_with_default_clock_snapshots(
		iterator, ctf->stream, begin, time_of(ctf, ctf->next));

	if (message)
		bt_message_discarded_events_set_count(message, count ? count : 1);
	ctf->time = begin;
	return message;
}

static bt_message *next_event(struct ctf *ctf, bt_self_message_iterator *iterator)
{
	uint64_t number = ctf->next++;

	if (number % FACTS_IN_PACKET == 0)
		meter_show(ctf->meter, (double)(number - ctf->rows.from) / (double)(ctf->rows.to - ctf->rows.from));
	ctf->in_packet++;
	ctf->uncounted = true;
	return event_message(ctf, iterator, number);
}

/* NULL: there is no memory, or (state CTF_DONE) nothing more. */
static bt_message *next_message(struct ctf *ctf, bt_self_message_iterator *iterator)
{
	switch (ctf->state) {
	case CTF_STREAM_BEGIN:
		ctf->state = CTF_PACKET_BEGIN;
		if (find_next(ctf))
			time_of(ctf, ctf->next);
		return bt_message_stream_beginning_create(iterator, ctf->stream);
	case CTF_PACKET_BEGIN:
		ctf->state = CTF_EVENTS;
		if (find_next(ctf) && !is_new_loss(ctf))
			time_of(ctf, ctf->next);
		return packet_begin(ctf, iterator);
	case CTF_EVENTS:
		if (find_next(ctf) && !is_new_loss(ctf) && ctf->in_packet < FACTS_IN_PACKET)
			return next_event(ctf, iterator);
		/* fall through */
	case CTF_PACKET_END:
		ctf->state = !find_next(ctf) ? CTF_STREAM_END : is_new_loss(ctf) ? CTF_LOSS
		                                                                 : CTF_PACKET_BEGIN;
		return packet_end(ctf, iterator);
	case CTF_LOSS:
		ctf->state = CTF_LOSS_BEGIN;
		return loss(ctf, iterator);
	case CTF_LOSS_BEGIN:
		ctf->state = CTF_LOSS_END;
		return packet_begin(ctf, iterator);
	case CTF_LOSS_END:
		time_of(ctf, ctf->next);
		ctf->uncounted = false;
		ctf->state = CTF_PACKET_BEGIN;
		return packet_end(ctf, iterator);
	case CTF_STREAM_END:
		ctf->state = CTF_DONE;
		return bt_message_stream_end_create(iterator, ctf->stream);
	case CTF_DONE:
		break;
	}
	return NULL;
}

static bt_message_iterator_class_next_method_status next_messages(bt_self_message_iterator *iterator,
                                                                  bt_message_array_const messages, uint64_t capacity,
                                                                  uint64_t *count)
{
	struct ctf *ctf = bt_self_component_get_data(bt_self_message_iterator_borrow_component(iterator));

	*count = 0;
	while (*count < capacity && ctf->state != CTF_DONE) {
		const bt_message *message = next_message(ctf, iterator);

		if (!message) {
			while (*count)
				bt_message_put_ref(messages[--*count]);
			return BT_MESSAGE_ITERATOR_CLASS_NEXT_METHOD_STATUS_MEMORY_ERROR;
		}
		messages[(*count)++] = message;
	}
	return *count ? BT_MESSAGE_ITERATOR_CLASS_NEXT_METHOD_STATUS_OK : BT_MESSAGE_ITERATOR_CLASS_NEXT_METHOD_STATUS_END;
}

/* ---- the graph --------------------------------------------------------------------------------- */

static bt_component_class_initialize_method_status begin_source(bt_self_component_source *self,
                                                                bt_self_component_source_configuration *configuration,
                                                                const bt_value *params, void *data)
{
	bt_self_component *component = bt_self_component_source_as_self_component(self);
	struct ctf *ctf = data;

	(void)configuration;
	(void)params;
	bt_self_component_set_data(component, ctf);
	if (!make_stream(ctf, component) || bt_self_component_source_add_output_port(self, "out", NULL, NULL) != 0)
		return BT_COMPONENT_CLASS_INITIALIZE_METHOD_STATUS_MEMORY_ERROR;
	return BT_COMPONENT_CLASS_INITIALIZE_METHOD_STATUS_OK;
}

static const bt_component_source *add_source(bt_graph *graph, struct ctf *ctf)
{
	bt_message_iterator_class *iterator_class = bt_message_iterator_class_create(next_messages);
	bt_component_class_source *class = iterator_class ? bt_component_class_source_create("facts", iterator_class) : NULL;
	const bt_component_source *source = NULL;

	if (class && bt_component_class_source_set_initialize_method(class, begin_source) == 0)
		(void)bt_graph_add_source_component_with_initialize_method_data(graph, class, "vmmu", NULL, ctf,
		                                                                BT_LOGGING_LEVEL_NONE, &source);
	bt_component_class_source_put_ref(class);
	bt_message_iterator_class_put_ref(iterator_class);
	return source;
}

static const bt_component_sink *add_sink(bt_graph *graph, const bt_plugin *plugin, const char *folder)
{
	const bt_component_class_sink *class = bt_plugin_borrow_sink_component_class_by_name_const(plugin, "fs");
	bt_value *params = bt_value_map_create();
	const bt_component_sink *sink = NULL;

	if (class && params && bt_value_map_insert_string_entry(params, "path", folder) == 0 &&
	    bt_value_map_insert_bool_entry(params, "assume-single-trace", BT_TRUE) == 0 &&
	    bt_value_map_insert_bool_entry(params, "quiet", BT_TRUE) == 0)
		(void)bt_graph_add_sink_component(graph, class, "files", params, BT_LOGGING_LEVEL_NONE, &sink);
	bt_value_put_ref(params);
	return sink;
}

/* The innermost cause that libbabeltrace2 tells; NULL = none. The caller frees. */
static char *take_cause(void)
{
	const bt_error *error = bt_current_thread_take_error();
	char *text = NULL;

	if (!error)
		return NULL;
	if (bt_error_get_cause_count(error))
		text = printable(bt_error_cause_get_message(bt_error_borrow_cause_by_index(error, 0)));
	bt_error_release(error);
	return text;
}

static bool run(bt_graph *graph, const bt_component_source *source, const bt_component_sink *sink)
{
	bt_graph_run_once_status status = BT_GRAPH_RUN_ONCE_STATUS_OK;

	if (bt_graph_connect_ports(graph, bt_component_source_borrow_output_port_by_index_const(source, 0),
	                           bt_component_sink_borrow_input_port_by_index_const(sink, 0), NULL) != 0)
		return false;
	while (status == BT_GRAPH_RUN_ONCE_STATUS_OK || status == BT_GRAPH_RUN_ONCE_STATUS_AGAIN)
		status = bt_graph_run_once(graph);
	return status == BT_GRAPH_RUN_ONCE_STATUS_END;
}

/* What keeps the stream in `folder` from growing, or NULL. libbabeltrace2 does not tell. The caller frees. */
static char *why_full(const char *folder)
{
	static const char block[1 << 16];
	char *path = formatted("%s/%s", folder, stream_name), *why = NULL;
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	ssize_t written = 1;

	/* Where there is room for a part only, the next write says why. */
	for (unsigned i = 0; i < 2 && fd >= 0 && written >= 0; i++)
		written = write(fd, block, sizeof(block));
	if (written < 0)
		why = duplicate(strerror(errno));
	if (fd >= 0)
		close(fd);
	free(path);
	return why;
}

static bt_graph *failed_graph;

bool export_ctf(const struct ask *ask, const char *folder, struct meter *meter, char **error)
{
	struct ctf ctf = {.meter = meter, .uncounted = true};
	const bt_plugin *plugin = NULL;
	const bt_component_source *source;
	const bt_component_sink *sink = NULL;
	bt_graph *graph = NULL;
	bool ok = false;

	*error = NULL;
	bt_plugin_find("ctf", BT_TRUE, BT_FALSE, BT_TRUE, BT_TRUE, BT_FALSE, &plugin);
	if (!plugin) {
		bt_current_thread_clear_error();
		*error = duplicate("libbabeltrace2 has no plugin \"ctf\" here: it writes this format");
		return false;
	}
	rows_init(&ctf.rows, ask);
	ctf.next = ctf.rows.from;
	graph = bt_graph_create(0);
	source = graph ? add_source(graph, &ctf) : NULL;
	if (source)
		sink = add_sink(graph, plugin, folder);
	if (sink)
		ok = run(graph, source, sink);
	if (!ok) {
		*error = why_full(folder);
		if (!*error)
			*error = take_cause();
	}
	bt_packet_put_ref(ctf.packet);
	bt_stream_put_ref(ctf.stream);
	/*
	 * The end of the graph writes its files to their ends. A sink of libbabeltrace2 2.0.4 whose
	 * file could not grow frees that file's name twice then: it stays, the command ends anyway.
	 */
	if (ok)
		bt_graph_put_ref(graph);
	else
		failed_graph = graph;
	bt_plugin_put_ref(plugin);
	rows_free(&ctf.rows);
	if (!ok && !*error)
		*error = duplicate("libbabeltrace2 does not say why");
	return ok;
}
