/* SPDX-License-Identifier: BSD-2-Clause */
/* The colours of the report's style sheet, as bytes inside the command (colours.h). */
	.section .rodata
	.globl plot_colours
plot_colours:
	.incbin COLOURS_FILE
	.section .note.GNU-stack, "", @progbits
