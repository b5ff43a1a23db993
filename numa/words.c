/* SPDX-License-Identifier: MIT */
/* Words (layer 0): see words.h. */
#include <stdio.h>
#include "words.h"

struct mews_words mews_number(uint64_t value)
{
	struct mews_words raw, out;
	int length = snprintf(raw.text, sizeof(raw.text), "%llu", (unsigned long long)value);
	int at = 0;

	for (int i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			out.text[at++] = ',';
		out.text[at++] = raw.text[i];
	}
	out.text[at] = 0;
	return out;
}

struct mews_words mews_bytes(uint64_t value)
{
	static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB" };
	struct mews_words out;
	uint64_t size = 1024;
	int i = 0;

	if (value == UINT64_MAX) {
		snprintf(out.text, sizeof(out.text), "unlimited");
		return out;
	}
	if (value == 0 || (value < 65536 && value % 1024 != 0)) {
		snprintf(out.text, sizeof(out.text), "%.40s B", mews_number(value).text);
		return out;
	}
	for (; i < 3 && value >= size << 10; i++)
		size <<= 10;
	snprintf(out.text, sizeof(out.text), value % size == 0 ? "%.0f %s" : "%.1f %s",
		 (double)value / (double)size, unit[i]);
	return out;
}
