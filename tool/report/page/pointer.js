// SPDX-License-Identifier: BSD-2-Clause
// Where the pointer of d3's current event is, from the left of an element.
import { event } from 'd3-selection';

export const pointer = (node) => event.clientX - node.getBoundingClientRect().left;
