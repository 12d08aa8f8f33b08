// SPDX-License-Identifier: BSD-2-Clause
// The top of the page: which trace, which VM, how much; and what of it is to be doubted.
import { count, duration, element } from './format.js';
import { onChange, state } from './state.js';
import licence from 'd3-licence';

const fact = (number, name) => element('div', { class: 'fact' }, element('b', {}, number), element('span', {}, name));

function warnings(trace, vm) {
	const list = [];
	if (trace.damage) list.push(`This trace is not whole: ${trace.damage}.`);
	if (trace.vms_left_out)
		list.push(`The trace tells of ${count(trace.vms_left_out)} VMs more; vmmu report --vm shows one of them.`);
	if (trace.lost_places)
		list.push(`${trace.lost ? count(trace.lost) : 'Some'} events were lost while this was recorded, where the pictures have a dashed line: what was known before is not certain after.`);
	if (vm?.exact && !vm.born) list.push('The VM ran before recording began: entries that nobody wrote since are not known.');
	if (vm?.lowest_level > 1)
		list.push('The trace has more writes than a page holds: entries of small pages are left out of the tables. vmmu report --since, --until or --gpa brings them in.');
	else if (vm?.coarse_steps)
		list.push(`The trace has more writes than a page holds: those of one entry are shown in ${count(vm.coarse_steps)} steps of time. vmmu report --since, --until or --gpa shows each one.`);
	return list;
}

export function buildHead(place, showVm) {
	const { trace } = state;
	const facts = element('div', { class: 'facts' }), notices = element('div');
	const choice = trace.vms.length < 2 ? null : element('select', { 'aria-label': 'VM', id: 'vm', onchange: (e) => showVm(+e.target.value) },
		...trace.vms.map((vm, i) => element('option', { value: i }, vm.title)));
	const single = element('span', { class: 'vm-title' }, trace.vms.length === 1 ? trace.vms[0].title : '');
	place.append(element('p', { class: 'eyebrow' }, ['vmmu report', trace.format, trace.machine].filter(Boolean).join(' · ')),
		element('div', { class: 'head-row' }, element('h1', {}, trace.file), choice ?? single), facts, notices);
	onChange(({ vm }) => {
		if (!vm) return;
		facts.replaceChildren(fact(vm.length ? duration(vm.length) : 'one moment', 'recorded'), fact(count(vm.faults), 'faults'),
			...(vm.exact ? [fact(count(vm.writes), 'entries written')] : []),
			...(vm.exits ? [fact(count(vm.exits), 'exits')] : []),
			fact(count(vm.vcpus), vm.vcpus === 1 ? 'vCPU' : 'vCPUs'), ...(vm.mode === 'unknown format' ? [] : [fact(vm.mode, `${vm.levels} levels`)]));
		notices.replaceChildren(...warnings(trace, vm).map((text) => element('p', { class: 'notice' }, text)));
	});
}

export function buildFoot(place) {
	place.append(element('p', {}, `Made by vmmu ${state.trace.vmmu}. This file needs no network and sends nothing.`),
		element('details', {}, element('summary', {}, 'Drawn with d3; its licence'), element('pre', {}, licence)));
}
