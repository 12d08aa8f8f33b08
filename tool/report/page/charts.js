// SPDX-License-Identifier: BSD-2-Clause
// Curves over time, each in a card of its own, with the values at the moment in the legend.
import { axisLeft } from 'd3-axis';
import { scaleLinear } from 'd3-scale';
import { pointer } from './pointer.js';
import { select } from 'd3-selection';
import { area, curveStep, stack } from 'd3-shape';
import { drawMarks, drawTimeAxis, isMoment, MARGIN, moveTo, onWidth, timeScale } from './axes.js';
import { bytes, count, element, rate } from './format.js';
import { onChange, state } from './state.js';

const HEIGHT = 170, MOST_EXITS = 5;
const PAGE_BYTES = [4096, 2 ** 21, 2 ** 30];
const perSecond = (vm) => (curve) => ({ name: curve.name, values: curve.values.map((n) => n / vm.step) });

function exits(vm) {
	const list = vm.curves.exits.slice(0, MOST_EXITS), rest = vm.curves.exits.slice(MOST_EXITS);
	if (rest.length) list.push({ name: 'others', values: list[0].values.map((_, i) => rest.reduce((n, c) => n + c.values[i], 0)) });
	return list.map(perSecond(vm));
}

// A trace of the visor has no exits in it, but the run counted them.
function countedExits() {
	const { trace } = state, list = [...trace.counted_exits].sort((a, b) => b.count - a.count);
	if (!list.length || trace.vms.length !== 1) return null;
	const most = list[0].count;
	return { title: 'Exits of the whole run by reason', picture: element('table', {}, element('tbody', {}, ...list.map((exit) => {
		const bar = element('span', { class: 'bar k2', 'aria-hidden': 'true' });
		bar.style.width = `${exit.count / most * 100}%`;
		return element('tr', {}, element('td', { class: 'name' }, exit.name), element('td', { class: 'number' }, count(exit.count)), element('td', { class: 'bars' }, bar));
	}))) };
}

const CHARTS = [
	{ id: 'pages', state: true, title: 'Mapped memory by size of page', unit: bytes, base2: true,
		curves: (vm) => vm.curves.pages.map((c, i) => ({ name: `${c.name} pages`, values: c.values.map((n) => n * PAGE_BYTES[i]) })),
		empty: 'Nothing was mapped in this time.' },
	{ id: 'faults', title: 'Faults per second by what they were about', unit: (n) => `${rate(n)}/s`, curves: (vm) => vm.curves.faults.map(perSecond(vm)),
		empty: 'No fault was recorded in this time.' },
	{ id: 'writes', state: true, title: 'Entries written per second', unit: (n) => `${rate(n)}/s`, curves: (vm) => vm.curves.writes.map(perSecond(vm)),
		empty: 'No entry was written in this time.' },
	{ id: 'memory', state: true, title: 'Memory that the tables take', unit: bytes, base2: true,
		curves: (vm) => vm.curves.tables.map((c) => ({ name: c.name, values: c.values.map((n) => n * 4096) })),
		empty: 'No table is known in this time.' },
	{ id: 'exits', title: 'Exits per second by reason', unit: (n) => `${rate(n)}/s`, curves: exits, instead: countedExits,
		empty: 'This trace has no exits in it. Of KVM, vmmu record --exits records them.' },
];

// Powers of two for bytes.
function ticks(max, base2, wanted) {
	if (!base2) return null;
	let step = 2 ** Math.ceil(Math.log2(max / wanted));
	if (!Number.isFinite(step) || step < 1) step = 1;
	return Array.from({ length: Math.floor(max / step) + 1 }, (_, i) => i * step);
}

function makeChart(about) {
	const legend = element('ul', { class: 'legend' }), plot = element('div', { class: 'plot', id: `plot-${about.id}` });
	const node = element('div', { class: 'card', id: `chart-${about.id}` }, element('h2', {}, about.title), legend, plot), title = node.firstChild;
	let curves = [], values = [], scale = null;

	function mark(hovered) {
		const { vm, time } = state;
		if (!scale) return;
		select(plot).select('.cursor').attr('x1', scale(time)).attr('x2', scale(time));
		const at = hovered ?? time, step = Math.min(vm.steps - 1, Math.max(0, Math.floor(at / vm.step)));
		curves.forEach((c, i) => { values[i].textContent = about.unit(c.values[step]); });
	}

	function draw() {
		const { vm } = state, width = plot.clientWidth;
		if (vm) node.hidden = about.state && !vm.exact;
		if (!vm || !width) return;
		const all = about.curves(vm).map((c, i) => ({ ...c, colour: i + 1 }));
		curves = all.filter((c) => c.values.some((n) => n > 0));
		plot.replaceChildren();
		legend.replaceChildren();
		scale = null;
		title.textContent = about.title;
		const instead = curves.length ? null : about.instead?.();
		if (instead) {
			title.textContent = instead.title;
			plot.append(instead.picture);
			return;
		}
		if (curves.length && isMoment(vm)) {
			plot.append(element('p', { class: 'empty' }, 'The trace is one moment: there is nothing to draw over time.'));
			curves = [];
			return;
		}
		if (!curves.length) {
			plot.append(element('p', { class: 'empty' }, about.empty));
			return;
		}
		values = curves.map(() => element('b'));
		legend.append(...curves.map((c, i) => element('li', {}, element('span', { class: `swatch k${c.colour}` }), c.name, values[i])));
		const steps = curves[0].values.map((_, i) => i);
		const layers = stack().keys(curves.map((_, i) => i)).value((i, k) => curves[k].values[i])(steps);
		const max = Math.max(...layers[layers.length - 1].map((d) => d[1])) || 1;
		const y = scaleLinear().domain([0, max]).range([HEIGHT - MARGIN.bottom, MARGIN.top + 4]);
		if (!about.base2) y.nice(4);
		scale = timeScale(vm, width);
		const x = (i) => scale(Math.min(vm.length, i * vm.step));
		const svg = select(plot).append('svg').attr('height', HEIGHT).attr('role', 'img');
		svg.append('title').text(`${about.title}: ${curves.map((c) => `${c.name} at most ${about.unit(Math.max(...c.values))}`).join(', ')}`);
		const axis = axisLeft(y).ticks(4).tickSizeOuter(0).tickFormat((n) => about.unit(n));
		const own = ticks(max, about.base2, 4);
		if (own) axis.tickValues(own);
		svg.append('g').attr('class', 'axis grid').attr('transform', `translate(${MARGIN.left},0)`)
			.call(axis.tickSize(-(width - MARGIN.left - MARGIN.right)));
		const shape = area().curve(curveStep).x((_, i) => x(i + 0.5)).y0((d) => y(d[0])).y1((d) => y(d[1]));
		layers.forEach((layer, i) => svg.append('path').attr('class', `k${curves[i].colour}`).attr('d', shape(layer)));
		drawTimeAxis(svg.append('g'), vm, width, HEIGHT - MARGIN.bottom);
		drawMarks(svg.append('g'), vm, scale, MARGIN.top, HEIGHT - MARGIN.bottom);
		svg.append('line').attr('class', 'cursor').attr('y1', MARGIN.top).attr('y2', HEIGHT - MARGIN.bottom);
		svg.append('rect').attr('class', 'hit').attr('x', MARGIN.left).attr('y', 0)
			.attr('width', Math.max(0, width - MARGIN.left - MARGIN.right)).attr('height', HEIGHT - MARGIN.bottom)
			.on('mousemove', () => mark(Math.max(0, scale.invert(pointer(plot)))))
			.on('mouseleave', () => mark())
			.on('click', () => moveTo(scale, pointer(plot)));
		mark();
	}

	onChange((what) => { if (what.vm) draw(); else mark(); });
	onWidth(plot, draw);
	return node;
}

export function buildCharts(place) {
	const cards = CHARTS.map(makeChart);
	place.append(...cards);
	// The last one of an odd number takes the whole row.
	onChange(({ vm }) => {
		if (!vm) return;
		const seen = cards.filter((card) => !card.hidden);
		cards.forEach((card) => card.classList.toggle('wide', seen.length % 2 === 1 && card === seen[seen.length - 1]));
	});
}
