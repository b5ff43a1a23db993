/* SPDX-License-Identifier: MIT */
/* Plans written by hand, see plan.h. */
#include "plan.h"

#define WINDOWS_MAX 4
#define CPU_IDS 8
#define WINDOW_BYTES ((uint64_t)1 << 20)

static uint32_t cpu_window[CPU_IDS], cpu_depot[CPU_IDS], depot_window[WINDOWS_MAX];
static uint32_t window_node[WINDOWS_MAX], window_order[WINDOWS_MAX * WINDOWS_MAX];

static void number(uint32_t windows)
{
	for (uint32_t i = 0; i < CPU_IDS; i++)
		cpu_window[i] = cpu_depot[i] = i % windows;
	for (uint32_t i = 0; i < windows; i++) {
		depot_window[i] = i;
		for (uint32_t k = 0; k < windows; k++)
			window_order[i * windows + k] = (i + k) % windows;
	}
}

struct mews_plan plan_by_hand(uint32_t windows, size_t stride, uint32_t cell_blocks)
{
	size_t cell_bytes = cell_blocks ? cell_blocks * stride + 64 : PLAN_SLAB_BYTES;
	uint32_t per_cell = cell_blocks ? cell_blocks : (uint32_t)(PLAN_SLAB_BYTES / stride);
	uint32_t cells = (uint32_t)(PLAN_SLAB_BYTES / cell_bytes);
	uint32_t rest = (uint32_t)((PLAN_SLAB_BYTES - cells * cell_bytes) / stride);

	if (cell_blocks && rest > cell_blocks)
		rest = cell_blocks;
	number(windows);
	return (struct mews_plan) {
		.mode = MEWS_MODE_WORKSTATION,
		.page_top = MEWS_PAGES_BASE,
		.block_size = stride, .alignment = 8, .stride = stride,
		.cell_blocks = per_cell, .cell_bytes = cell_bytes,
		.slab_bytes = PLAN_SLAB_BYTES, .extent_bytes = PLAN_SLAB_BYTES, .slab_blocks = cells * per_cell + rest,
		.max_blocks = UINT32_MAX / 2, .growth_extents = 1,
		.nodes = windows, .window_bytes = WINDOW_BYTES, .window_shift = 20,
		.home_windows = UINT64_MAX,
		.cache_capacity = 16, .cache_most = 16, .magazine = 8,
		.depots = windows, .depot_magazines = 5,
		.hard_limit = WINDOW_BYTES * windows, .oversize_limit = 1 << 20,
		.cpu_ids = CPU_IDS, .cpu_window = cpu_window, .cpu_depot = cpu_depot,
		.depot_window = depot_window, .window_node = window_node,
		.window_order = window_order,
	};
}
