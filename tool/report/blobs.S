/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a report's page, as bytes inside the command (blobs.h). */
	.section .rodata
	.macro blob name, file
	.globl \name, \name\()_end
\name:
	.incbin "\file"
\name\()_end:
	.endm

	blob report_style, STYLE_FILE
	blob report_style_hash, STYLE_HASH_FILE
	blob report_body, BODY_FILE
	blob report_script, SCRIPT_FILE
	blob report_script_hash, SCRIPT_HASH_FILE
	.section .note.GNU-stack, "", @progbits
