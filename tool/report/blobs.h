/* SPDX-License-Identifier: BSD-2-Clause */
/* What the build made of page/: style sheet, body and script, and the hashes by which a page allows them. */
#ifndef TOOL_REPORT_BLOBS_H
#define TOOL_REPORT_BLOBS_H

#include <stdint.h>

extern const uint8_t report_style[], report_style_end[];
extern const uint8_t report_style_hash[], report_style_hash_end[];
extern const uint8_t report_body[], report_body_end[];
extern const uint8_t report_script[], report_script_end[];
extern const uint8_t report_script_hash[], report_script_hash_end[];

#endif
