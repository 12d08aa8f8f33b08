/* SPDX-License-Identifier: BSD-2-Clause */
/* What all maps have in common. */
#include "map/map.h"

static uint8_t leaf_level_max(const struct vmmu_config *config, const struct vmmu_layout *layout)
{
	return config->max_level && config->max_level < layout->leaf_level_max ? config->max_level
	                                                                       : layout->leaf_level_max;
}

void vmmu_map_watch(struct vmmu_map *map, bool traced)
{
	const struct vmmu_map_ops *ops = map->ops;

	if (!ops->quick)
		atomic_store_explicit(&map->handle, vmmu_handle_violation, memory_order_relaxed);
	else
		atomic_store_explicit(&map->handle, traced ? ops->traced : ops->quick, memory_order_relaxed);
}

void vmmu_map_init(struct vmmu_map *map, const struct vmmu_map_ops *ops, struct vmmu_vm *vm,
                   const struct vmmu_config *config, const struct vmmu_layout *layout)
{
	struct vmmu_map **at = &vm->maps;

	while (*at)
		at = &(*at)->next;
	*at = map;
	map->ops = ops;
	vmmu_map_watch(map, false);
	map->layout = *layout;
	map->vm = vm;
	map->id = ++vm->map_ids;
	map->retired = (uint64_t)map->id << VMMU_MAP_ID_SHIFT;
	map->leaf_level_max = leaf_level_max(config, layout);
	map->whole_level_max = VMMU_LEVEL_1G;
	map->around = config->fault_around;
	map->path_tables = layout->levels - 1;
	map->mmio_cache = layout->mmio_supported && !config->no_mmio_cache;
}

void vmmu_map_remove(struct vmmu_map *map)
{
	struct vmmu_map **at = &map->vm->maps;

	while (*at != map)
		at = &(*at)->next;
	*at = map->next;
}
