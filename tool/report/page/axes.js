// SPDX-License-Identifier: BSD-2-Clause
// What all pictures over time share: margins, the axis of time, the line at the moment.
import { axisBottom } from 'd3-axis';
import { scaleLinear } from 'd3-scale';
import { count } from './format.js';
import { change, state } from './state.js';

export const MARGIN = { left: 84, right: 12, top: 6, bottom: 26 };

// Too short for anything to be drawn over time.
export const isMoment = (vm) => vm.length < 1e-6;

export const timeScale = (vm, width) => scaleLinear().domain([0, vm.length || 1e-9]).range([MARGIN.left, width - MARGIN.right]);

// Ticks are of the recording's time, which does not begin at 0 when a part is shown.
export function drawTimeAxis(group, vm, width, y) {
	const scale = scaleLinear().domain([vm.begin, vm.begin + (vm.length || 1e-9)]).range([MARGIN.left, width - MARGIN.right]);
	const [unit, name] = vm.length >= 0.5 ? [1, 's'] : vm.length >= 5e-4 ? [1e3, 'ms'] : [1e6, 'µs'];
	const wide = isMoment(vm) ? 1 : Math.max(2, Math.floor(width / 110));
	const digits = Math.max(0, Math.ceil(-Math.log10((vm.length || 1) * unit / wide)) + 1);
	group.attr('class', 'axis').attr('transform', `translate(0,${y})`)
		.call(axisBottom(scale).ticks(wide).tickSizeOuter(0).tickFormat((t) => `${+(t * unit).toFixed(digits)} ${name}`));
}

// What one moment of the trace is marked for, in words.
export function markText(mark) {
	const words = [];
	if (mark.lost || mark.uncounted) words.push(`${mark.lost ? count(mark.lost) : 'some'}${mark.lost && mark.uncounted ? ' or more' : ''} events were lost here`);
	if (mark.zaps) words.push(mark.zaps > 1 ? `everything was dropped ${count(mark.zaps)} times (zap all)` : 'everything was dropped (zap all)');
	return words.join('; ');
}

// Lines through a picture where events were lost, or everything was dropped at once.
export function drawMarks(group, vm, scale, y0, y1) {
	for (const mark of vm.marks)
		group.append('line').attr('class', mark.lost || mark.uncounted ? 'lost' : 'zap').attr('x1', scale(mark.time)).attr('x2', scale(mark.time))
			.attr('y1', y0).attr('y2', y1);
}

export function moveTo(scale, x) {
	change({ time: Math.min(state.vm.length, Math.max(0, scale.invert(x))) });
}

// Redraw when the width of a place changes.
export function onWidth(place, draw) {
	let last = 0;
	new ResizeObserver(() => {
		if (place.clientWidth && place.clientWidth !== last) {
			last = place.clientWidth;
			draw();
		}
	}).observe(place);
}
