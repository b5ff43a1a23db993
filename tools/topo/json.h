/* SPDX-License-Identifier: MIT */
/*
 * JSON (mews-topo): a view as a document of docs/topo-json.md. Called by the json format, and by
 * diff.c, which compares two of them.
 */
#ifndef TOPO_JSON_H
#define TOPO_JSON_H

#include <cjson/cJSON.h>
#include "topo.h"

#define TOPO_SCHEMA "mews-topo"
#define TOPO_SCHEMA_VERSION 1

/* A new document: cJSON_Delete it. */
cJSON *topo_json_make(const struct topo_view *view);

#endif
