// SPDX-License-Identifier: BSD-2-Clause
// The guest-physical map over time: rows of memory, columns of time.
import { select } from 'd3-selection';
import { drawMarks, drawTimeAxis, MARGIN, markText, moveTo, onWidth, timeScale } from './axes.js';
import { timeText } from './clock.js';
import { KIND } from './data.js';
import { bytes, element, gpaText, hideTip, showTip } from './format.js';
import { reason } from './history.js';
import { change, onChange, state } from './state.js';

const KINDS = ['4 KiB pages', '2 MiB pages', '1 GiB pages', 'devices'], FULL = 7, GAP = 10;

const LOOKED_AT = 2048;
// Devices that every PC has where its architecture puts them.
const DEVICES = [[0xfec00000, 0x1000, 'I/O APIC'], [0xfed00000, 0x1000, 'HPET'], [0xfee00000, 0x1000, 'local APIC']];

// The last write before a moment of an entry in a piece of memory that holds a page or a device then.
function latestIn(vm, gpa, seconds) {
	const root = vm.rootAt(seconds);
	let best = -1;
	for (let level = 1; level <= 3; level++) {
		const above = vm.find(level, gpa), end = vm.levelEnd(level);
		let entry = above >= 0 ? above : vm.seek(level, gpa);
		for (let i = 0; entry >= 0 && entry < end && i < LOOKED_AT && vm.address(entry) < gpa + vm.strip.piece; entry++, i++) {
			const write = vm.writeAt(entry, seconds, root), kind = vm.kind(write);
			if ((kind === KIND.leaf || kind === KIND.device) && (best < 0 || vm.c.w_time[write] > vm.c.w_time[best])) best = write;
		}
	}
	return best;
}

// Where each region of memory is, from the top; high addresses stand above.
function layout(vm) {
	const rows = vm.strip.regions.reduce((n, r) => n + r.rows, 0);
	const height = Math.max(2, Math.min(14, Math.floor(380 / Math.max(1, rows))));
	let y = MARGIN.top, row = 0;
	const regions = vm.strip.regions.map((r) => ({ gpa: Number(BigInt(r.gpa)), rows: r.rows, row: (row += r.rows) - r.rows }));
	for (const r of [...regions].reverse()) {
		r.y = y;
		r.height = Math.max(r.rows * height, 3);
		y += r.height + GAP;
	}
	return { regions, bottom: y - GAP + 4, height };
}

function colours() {
	const style = getComputedStyle(document.documentElement);
	return ['--c1', '--c2', '--c3', '--c4', '--faint'].map((name) => {
		const text = style.getPropertyValue(name).trim();
		return [1, 3, 5].map((i) => parseInt(text.slice(i, i + 2), 16));
	});
}

function paint(canvas, vm, region) {
	const palette = colours(), none = palette[4];
	const image = new ImageData(vm.steps, region.rows);
	for (let r = 0; r < region.rows; r++) {
		const from = (region.row + region.rows - 1 - r) * vm.steps;
		for (let x = 0; x < vm.steps; x++) {
			const cell = vm.c.strip[from + x], share = cell ? 0.35 + 0.65 * (cell & 7) / FULL : 1;
			const colour = cell ? palette[cell >> 3] : none;
			for (let i = 0; i < 3; i++)
				image.data[(r * vm.steps + x) * 4 + i] = cell ? colour[i] * share + none[i] * (1 - share) : none[i];
			image.data[(r * vm.steps + x) * 4 + 3] = 255;
		}
	}
	canvas.width = vm.steps;
	canvas.height = region.rows;
	canvas.getContext('2d').putImageData(image, 0, 0);
}

export function buildMap(place) {
	let plan, scale;
	const legend = element('ul', { class: 'legend' }), plot = element('div', { class: 'plot', id: 'strip' });
	const line = (kind, name) => element('li', { hidden: true }, element('span', { class: `line ${kind}`, 'aria-hidden': 'true' }), name);
	const dropped = line('zap', 'all dropped at once'), lost = line('lost', 'events lost');
	place.append(legend, plot);

	const at = (region, event) => {
		const box = event.currentTarget.getBoundingClientRect();
		const row = Math.min(region.rows - 1, Math.max(0, Math.floor((1 - (event.clientY - box.top) / box.height) * region.rows)));
		const x = event.clientX - plot.getBoundingClientRect().left;
		const step = Math.max(0, Math.min(state.vm.steps - 1, Math.floor(scale.invert(x) / state.vm.step)));
		return { row, x, step, gpa: region.gpa + row * state.vm.strip.piece, cell: state.vm.c.strip[(region.row + row) * state.vm.steps + step] };
	};

	function hover(region, event) {
		const { gpa, step, cell } = at(region, event), vm = state.vm;
		const end = Math.min(vm.length, (step + 1) * vm.step), write = cell ? latestIn(vm, gpa, end) : -1;
		const devices = DEVICES.filter(([from, size]) => from < gpa + vm.strip.piece && from + size > gpa).map(([, , name]) => name);
		const marks = vm.marks.filter((m) => Math.abs(Math.floor(m.time / vm.step) - step) <= 1).map(markText);
		showTip(event.clientX, event.clientY, [`${gpaText(gpa)} + ${bytes(vm.strip.piece)}${devices.length ? ` (${devices.join(', ')})` : ''}`, timeText(vm, step * vm.step),
			cell ? `mostly ${KINDS[cell >> 3]}, ${Math.round((cell & 7) / FULL * 100)} % mapped` : 'nothing mapped',
			write < 0 ? '' : `last mapped at ${timeText(vm, vm.time(write))}: ${reason(vm, write, false) || vm.trace.causes[vm.c.w_cause[write]]}`, ...marks].filter(Boolean).join('\n'));
	}

	// The smallest entry that was written there, else the one above.
	function choose(region, event) {
		const { gpa, x } = at(region, event), vm = state.vm;
		moveTo(scale, x);
		for (let level = 1; level <= vm.levels; level++) {
			const entry = vm.seek(level, gpa);
			if (entry >= 0 && entry < vm.levelEnd(level) && vm.address(entry) < gpa + vm.strip.piece) {
				change({ level, address: vm.address(entry) });
				return;
			}
			const above = vm.find(level, gpa);
			if (above >= 0) {
				change({ level, address: vm.address(above) });
				return;
			}
		}
	}

	function draw() {
		const { vm } = state, width = plot.clientWidth;
		plot.replaceChildren();
		if (!vm || !width) return;
		legend.hidden = !vm.strip.regions.length;
		dropped.hidden = !vm.marks.some((m) => m.zaps);
		lost.hidden = !vm.marks.some((m) => m.lost || m.uncounted);
		if (!vm.exact || !vm.strip.regions.length) {
			legend.hidden = true;
			plot.append(element('p', { class: 'empty' }, vm.exact ? 'Nothing was mapped in this time.' :
				`${vm.whyNoMap} Histories of entries and faults are below.`));
			return;
		}
		plan = layout(vm);
		scale = timeScale(vm, width);
		const svg = select(plot).append('svg').attr('height', plan.bottom + MARGIN.bottom).attr('role', 'img')
			.attr('aria-label', 'Guest-physical memory, mapped by size of page over time');
		drawTimeAxis(svg.append('g'), vm, width, plan.bottom);
		const labels = svg.append('g').attr('class', 'axis');
		let lastLabel = Infinity;
		for (const r of plan.regions) {
			const canvas = element('canvas', {});
			Object.assign(canvas.style, { left: `${MARGIN.left}px`, top: `${r.y}px`, width: `${width - MARGIN.left - MARGIN.right}px`, height: `${r.height}px` });
			paint(canvas, vm, r);
			canvas.addEventListener('mousemove', (e) => hover(r, e));
			canvas.addEventListener('mouseleave', hideTip);
			canvas.addEventListener('click', (e) => choose(r, e));
			plot.append(canvas);
			const y = r.y + r.height;
			if (y < lastLabel - 11) {
				labels.append('text').attr('x', MARGIN.left - 7).attr('y', y).attr('text-anchor', 'end').text(gpaText(r.gpa));
				lastLabel = y;
			}
			if (r.height > 40)
				labels.append('text').attr('x', MARGIN.left - 7).attr('y', r.y + 9).attr('text-anchor', 'end').text(`+ ${bytes(r.rows * vm.strip.piece)}`);
		}
		const over = select(plot).append('svg').attr('height', plan.bottom + MARGIN.bottom).attr('aria-hidden', 'true')
			.style('position', 'absolute').style('top', '0').style('left', '0').style('pointer-events', 'none');
		drawMarks(over.append('g'), vm, scale, 0, plan.bottom);
		over.append('line').attr('class', 'cursor').attr('y1', 0).attr('y2', plan.bottom);
		over.append('rect').attr('class', 'here').attr('x', MARGIN.left - 3).attr('width', width - MARGIN.left - MARGIN.right + 6);
		mark();
	}

	function mark() {
		const { vm, time, address, level } = state;
		if (!plan || !plot.querySelector('.cursor')) return;
		select(plot).select('.cursor').attr('x1', scale(time)).attr('x2', scale(time));
		const piece = vm.strip.piece;
		const region = plan.regions.find((r) => address >= r.gpa && address < r.gpa + r.rows * piece);
		const here = select(plot).select('.here').attr('visibility', region && level <= 3 ? null : 'hidden');
		if (region) {
			const rows = Math.min(region.rows, Math.max(1, Math.ceil(4096 * 512 ** (level - 1) / piece)));
			const first = Math.floor((address - region.gpa) / piece), one = region.height / region.rows;
			here.attr('height', Math.max(rows * one, 3) + 2).attr('y', region.y + region.height - (first + rows) * one - 1);
		}
	}

	legend.append(...KINDS.map((name, i) => element('li', {}, element('span', { class: `swatch k${i + 1}` }), name)),
		element('li', {}, element('span', { class: 'wash', 'aria-hidden': 'true' }), 'share of a row that is mapped'), dropped, lost);
	onChange((what) => { if (what.vm) draw(); else mark(); });
	onWidth(plot, draw);
	matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
}
