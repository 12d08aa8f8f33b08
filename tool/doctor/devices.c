/* SPDX-License-Identifier: BSD-2-Clause */
/* A guest that polls a device: each access is an exit, and most often one to the VMM. */
#include "doctor.h"

#include <stdlib.h>
#include <string.h>

enum { A_SECOND = 1000, /* accesses of one page */
       MISCONFIGURATION = 49 /* SDM vol. 3, appendix C */ };

struct device {
	uint64_t key, count, first, last; /* facts */
	struct rate rate;
	struct majority rip;
};

struct devices {
	struct map places;
	struct device *list;
	size_t count, room;
	uint64_t *rip; /* by thread: of its last fault or exit */
	uint64_t misconfigured;
	bool recorded; /* accesses have events of their own */
};

/* Have accesses to devices events of their own? */
static bool are_recorded(const struct model_info *info)
{
	for (size_t i = 0; i < info->count_count; i++)
		if (strcmp(info->counts[i].name, "kvm_mmio") == 0 || strcmp(info->counts[i].name, "kvm_fast_mmio") == 0)
			return true;
	return false;
}

/* Under EPT an access that finds an MMIO entry is a misconfiguration, which has no event but kvm_exit's. */
static char *devices_blind(const struct doctor *doctor)
{
	const struct model_info *info = model_info(doctor->ask.model);
	bool ept = false;

	for (size_t i = 0; i < model_vm_count(doctor->ask.model); i++)
		ept |= model_vm(doctor->ask.model, i)->mode == KVM_MODE_EPT;
	if (are_recorded(info) || !ept || doctor_of_visor(doctor))
		return NULL;
	return duplicate("under EPT accesses to devices are in kvm_mmio and kvm_exit alone (vmmu record --exits)");
}

static void *devices_begin(struct doctor *doctor)
{
	struct devices *devices = allocate(sizeof(*devices));

	map_init(&devices->places, map_random_seed());
	devices->rip = allocate((model_thread_count(doctor->ask.model) + 1) * sizeof(*devices->rip));
	devices->recorded = are_recorded(model_info(doctor->ask.model));
	return devices;
}

static void access_device(struct doctor *doctor, struct devices *devices, uint64_t number, uint64_t address,
                          uint64_t rip)
{
	const struct fact *fact = model_fact(doctor->ask.model, number);
	uint64_t key = (uint64_t)fact->vm << 52 | address >> VMMU_PAGE_SHIFT;
	uint64_t *place = map_at(&devices->places, key);
	struct device *device;

	if (*place == MAP_NONE) {
		if (devices->count == devices->room) {
			devices->room = devices->room ? 2 * devices->room : 64;
			devices->list = reallocate(devices->list, devices->room * sizeof(*devices->list));
		}
		*place = devices->count;
		devices->list[devices->count++] = (struct device){.key = key, .first = number};
	}
	device = &devices->list[*place];
	device->count++;
	device->last = number;
	rate_add(&device->rate, fact->time);
	if (rip)
		majority_add(&device->rip, rip);
}

static void devices_take(struct doctor *doctor, void *state, uint64_t number)
{
	const struct fact *fact = model_fact(doctor->ask.model, number);
	struct devices *devices = state;

	if (fact->thread >= model_thread_count(doctor->ask.model) || fact->vm >= model_vm_count(doctor->ask.model))
		return;
	if (fact->kind == FACT_FAULT || fact->kind == FACT_EXIT)
		devices->rip[fact->thread] = fact->b;
	if (fact->kind == FACT_EXIT)
		devices->misconfigured += fact->a == MISCONFIGURATION;
	if (fact->kind == FACT_MMIO && fact->cause != FACT_MMIO_READ_PENDING)
		access_device(doctor, devices, number, fact->address, devices->rip[fact->thread]);
}

/* Without events of their own: faults whose entry stands for a device. */
static void devices_fault(struct doctor *doctor, void *state, const struct ended_fault *ended)
{
	const struct fact *fault = model_fact(doctor->ask.model, ended->number);
	struct devices *devices = state;

	if (!devices->recorded && ended->device)
		access_device(doctor, devices, ended->number, fault->address, fault->b);
}

static int by_rate(const void *a, const void *b)
{
	const struct device *x = a, *y = b;

	if (x->rate.worst != y->rate.worst)
		return x->rate.worst > y->rate.worst ? -1 : 1;
	return x->key < y->key ? -1 : x->key > y->key;
}

static struct finding *devices_of(struct doctor *doctor, const struct devices *devices, unsigned vm)
{
	struct finding *found;
	uint64_t accesses = 0;
	size_t ill = 0;

	for (size_t i = 0; i < devices->count && devices->list[i].rate.worst >= A_SECOND; i++) {
		ill += devices->list[i].key >> 52 == vm;
		accesses += devices->list[i].key >> 52 == vm ? devices->list[i].count : 0;
	}
	if (!ill)
		return NULL;
	found = doctor_find(doctor, &illness_device_storm, vm,
	                    formatted("The guest accessed %s device page%s %s times, each time with an exit.",
	                              text_count(ill).text, ill == 1 ? "" : "s", text_count(accesses).text));
	if (found)
		found->count = accesses;
	return found;
}

static void devices_end(struct doctor *doctor, void *state)
{
	struct devices *devices = state;

	if (devices->count)
		qsort(devices->list, devices->count, sizeof(*devices->list), by_rate);
	for (unsigned vm = 0; vm < model_vm_count(doctor->ask.model); vm++) {
		struct finding *found = devices_of(doctor, devices, vm);

		for (size_t i = 0; found && i < devices->count && devices->list[i].rate.worst >= A_SECOND; i++) {
			const struct device *device = &devices->list[i];
			uint64_t gpa = device->key << 12 >> 12 << VMMU_PAGE_SHIFT;
			char *place;

			if (device->key >> 52 != vm)
				continue;
			place = device->rip.lead ? ask_place_text(&doctor->ask, device->rip.value) : duplicate("not recorded");
			doctor_evidence(found, device->first, "gpa 0x%" PRIx64 ": %s accesses in %.3f s, up to %s a second; most from %s",
			                gpa, text_count(device->count).text, doctor_seconds(doctor, device->first, device->last),
			                text_count(device->rate.worst).text, place);
			extent_add(&found->where, device->first, device->last, gpa, gpa + 4095);
			free(place);
		}
		if (found && devices->misconfigured)
			doctor_evidence(found, MODEL_NONE, "%s exits were EPT misconfigurations: KVM's way to find a device quickly",
			                text_count(devices->misconfigured).text);
		if (found)
			found->command = formatted("vmmu mmio %s", doctor->ask.path);
	}
	map_free(&devices->places);
	free(devices->list);
	free(devices->rip);
	free(devices);
}

const struct illness illness_device_storm = {
	.name = "device-storm",
	.title = "the guest polls a device, and each access is an exit",
	.advice =
		"Find the device by its address (info mtree in QEMU, lspci -v in the guest) and the driver by the "
		"instruction. A timer or interrupt controller: give the guest a paravirtual clock, x2APIC, APICv or AVIC. A "
		"virtio device: ioeventfd and interrupts in place of polling. An address where there is no device: the "
		"guest probes or its table of devices is wrong.",
	.blind = devices_blind,
	.begin = devices_begin,
	.take = devices_take,
	.fault = devices_fault,
	.end = devices_end,
};
