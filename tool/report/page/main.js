// SPDX-License-Identifier: BSD-2-Clause
// A report's page: reads what is in it, and puts its parts together.
import { openVm, readTrace } from './data.js';
import { element } from './format.js';
import { buildHead, buildFoot } from './head.js';
import { buildClock } from './clock.js';
import { buildMap } from './map.js';
import { buildTree, startingPlace } from './tree.js';
import { buildHistory } from './history.js';
import { buildCharts } from './charts.js';
import { buildFunctions } from './functions.js';
import { change, state } from './state.js';

async function showVm(number) {
	const vm = await openVm(state.trace, number);
	const time = vm.fullest();
	change({ vm, time, ...startingPlace(vm, time) });
}

async function start() {
	const trace = readTrace();
	state.trace = trace;
	buildHead(document.getElementById('head'), showVm);
	buildFoot(document.getElementById('foot'));
	if (!trace.vms.length) {
		document.getElementById('head').append(element('p', { class: 'notice' }, 'This trace tells of no VM.'));
		return;
	}
	document.getElementById('main').hidden = false;
	buildClock(document.getElementById('clock'));
	buildMap(document.getElementById('map'));
	buildTree(document.getElementById('tree'));
	buildHistory(document.getElementById('history'));
	buildCharts(document.getElementById('charts'));
	buildFunctions(document.getElementById('functions'));
	await showVm(0);
	document.documentElement.dataset.ready = 'yes';
	document.documentElement.dataset.readyAfter = Math.round(performance.now());
}

start().catch((error) => {
	document.documentElement.dataset.ready = 'failed';
	document.getElementById('head').append(element('p', { class: 'notice' }, `This page could not be shown: ${error.message}`));
	throw error;
});
