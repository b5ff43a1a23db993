# SPDX-License-Identifier: MIT
"""The models: which functions of lib/ each runs, and the bugs that it must find. Read by make."""
from dataclasses import dataclass, field

STACK = ["mews_tagstack_top", "mews_tagstack_next_head", "mews_tagstack_link",
         "mews_tagstack_depth_of", "mews_tagstack_push_many", "mews_tagstack_push",
         "mews_tagstack_pop_many", "mews_tagstack_pop"]
BITS = ["put_bits", "put_word", "lowest_bits", "take_bits"]
GATE = {"lib/side.h": ["mews_gate_enter", "mews_gate_leave", "mews_gate_inside"],
        "lib/side.c": ["mews_gate_wait"]}


@dataclass
class Model:
    functions: dict             # file: names, in an order that compiles
    plants: dict                # name: (text, what it becomes)
    executions: int
    adapt: list = field(default_factory=list)   # for C++, before anything is planted


MODELS = {
    "depot": Model(
        {"lib/tagstack.h": STACK,
         "lib/depot.c": ["fresh_magazines", "note_low", "hand_out", "mews_depot_pop_empty",
                         "mews_depot_pop_full", "push", "mews_depot_push_full",
                         "mews_depot_push_empty", "mews_depot_put", "mews_depot_take"]},
        {"no-tag": ("((head >> 32) + 1) << 32", "(head >> 32) << 32"),
         "push-not-released": ("memory_order_seq_cst, memory_order_acquire",
                               "memory_order_acquire, memory_order_acquire"),
         "pop-not-acquired": (
            "\t\t\tmews_tagstack_next_head(head, next),\n"
            "\t\t\tmemory_order_acquire, memory_order_acquire",
            "\t\t\tmews_tagstack_next_head(head, next),\n"
            "\t\t\tmemory_order_relaxed, memory_order_relaxed"),
         "slots-after-push": ("copy_in(magazine.slots, blocks, depots->magazine);\n"
                              "\tmews_depot_push_full(depots, depot, &magazine, 1);",
                              "mews_depot_push_full(depots, depot, &magazine, 1);\n"
                              "\tcopy_in(magazine.slots, blocks, depots->magazine);")},
        20000,
        [("static inline ", "static "), ("void *const *blocks", "const uintptr_t *blocks"),
         ("void **blocks", "uintptr_t *blocks"),
         ("memcpy(magazine.slots, blocks, depots->magazine * sizeof(*blocks))",
          "copy_in(magazine.slots, blocks, depots->magazine)"),
         ("memcpy(blocks, magazine.slots, depots->magazine * sizeof(*blocks))",
          "copy_out(blocks, magazine.slots, depots->magazine)")]),
    "slab": Model(
        {"lib/slab_bits.h": BITS, "lib/slab.c": ["mend"]},
        {"summary-after-word": (
            "atomic_fetch_and(&summary[word / 64], ~((uint64_t)1 << word % 64));\n"
            "\t\t\thave = atomic_exchange(&words[word], 0);",
            "have = atomic_exchange(&words[word], 0);\n"
            "\t\t\tatomic_fetch_and(&summary[word / 64], ~((uint64_t)1 << word % 64));"),
         "summary-before-word": (
            "uint64_t old = atomic_fetch_or(&words[word], mask);\n\n\tif (old == 0)\n"
            "\t\tatomic_fetch_or(&summary[word / 64], (uint64_t)1 << word % 64);",
            "uint64_t old = atomic_load(&words[word]);\n\n\tif (old == 0)\n"
            "\t\tatomic_fetch_or(&summary[word / 64], (uint64_t)1 << word % 64);\n"
            "\told = atomic_fetch_or(&words[word], mask);"),
         "rest-not-put-back": ("if (take != have)\n"
                               "\t\t\t\tput_bits(words, summary, word, have & ~take);", ""),
         "rest-without-summary": ("put_bits(words, summary, word, have & ~take);",
                                  "atomic_fetch_or(&words[word], have & ~take);"),
         "put-not-released": ("atomic_fetch_or(&words[word], mask)",
                              "atomic_fetch_or_explicit(&words[word], mask, memory_order_relaxed)"),
         "take-not-acquired": ("atomic_exchange(&words[word], 0)",
                               "atomic_exchange_explicit(&words[word], 0, memory_order_relaxed)")},
        20000, [("static inline ", "static ")]),
    "gate": Model(
        GATE,
        {"one-flip": ("flip < 2", "flip < 1"),
         "enter-relaxed": ("atomic_fetch_add(&pass.side->gate[pass.half], 1)",
                           "atomic_fetch_add_explicit(&pass.side->gate[pass.half], 1, "
                           "memory_order_relaxed)"),
         "leave-relaxed": ("\t\t\t\t  memory_order_release)", "\t\t\t\t  memory_order_relaxed)"),
         "wait-relaxed": ("atomic_load(&sides->side[cpu].gate[half])",
                          "atomic_load_explicit(&sides->side[cpu].gate[half], memory_order_relaxed)"),
         "two-waiters": ("while (atomic_exchange(&sides->waiting, 1))",
                         "while (0 && atomic_exchange(&sides->waiting, 1))")},
        20000, [("static inline ", "static ")]),
    "cache": Model(
        {"lib/cache.c": ["store_bounds", "shut", "bottom_of", "unshut", "set_capacity", "claim",
                         "settle", "prepare", "mews_cache_open", "close_open", "mews_cache_close",
                         "mews_cache_rest", "mews_cache_wake"]},
        {"open-without-fence": ("if (mews_fence_cpu(cpu)) { /* F2 */", "if (0) {"),
         "close-without-fence": ("if (!mews_fence_cpu(cpu)) /* F1 */", "if (1)"),
         "prepare-without-fence": ("\tif (mews_fence_cpu(cpu))\n\t\treturn false;\n", ""),
         "close-leaves-base": ("(cell *)~(uintptr_t)0, 0)", "cache->slots, 0)"),
         "close-leaves-span": ("(cell *)~(uintptr_t)0, 0)", "(cell *)~(uintptr_t)0, 1)"),
         "fence-before-close": ("shut(control, mews_cache_of(control->pool, cpu));\n"
                                "\tif (!mews_fence_cpu(cpu)) /* F1 */",
                                "if (!mews_fence_cpu(cpu) &&\n"
                                "\t    (shut(control, mews_cache_of(control->pool, cpu)), 1))"),
         "left-to-others": ("\tif (!*left)\n\t\tsettle", "\tsettle"),
         "cur-after-the-fence": (
            "\tset_capacity(control, cpu, capacity);\n"
            "\tif (mews_fence_cpu(cpu)) { /* F2 */",
            "\tif (mews_fence_cpu(cpu) || (set_capacity(control, cpu, capacity), 0)) {"),
         "settle-relaxed": ("memory_order_release", "memory_order_relaxed"),
         "claim-relaxed": ("MEWS_CACHE_BUSY, memory_order_acquire", "MEWS_CACHE_BUSY, memory_order_relaxed")},
        40000,
        [("void **blocks", "uintptr_t *blocks"), ("void **", "cell *"),
         ("const struct mews_plan *plan = &control->plan;\n", ""),
         ("\tcache->lo = (uintptr_t)control->slabs.start +\n"
          "\t\t((uintptr_t)plan->cpu_window[cpu] << plan->window_shift);\n", ""),
         ("__atomic_store_n(slot, NULL, __ATOMIC_RELEASE)", "(*slot)($) = 0"),
         ("memcpy(blocks, bottom + below, count * sizeof(*blocks))",
          "copy_out(blocks, bottom + below, count)")]),
    "notice": Model(
        {"lib/tagstack.h": STACK},
        {"push-not-consistent": ("memory_order_seq_cst, memory_order_acquire",
                                 "memory_order_acq_rel, memory_order_acquire"),
         "pop-not-consistent": ("uint64_t head = atomic_load_explicit(&stack->head, memory_order_seq_cst)",
                                "uint64_t head = atomic_load_explicit(&stack->head, "
                                "memory_order_acquire)")},
        20000, [("static inline ", "static ")]),
    "drain": Model(
        {"lib/slab_bits.h": BITS + ["words_in_use"], "lib/slab.c": ["mews_slabs_free"],
         "lib/slab.h": ["mews_slabs_carved"], "lib/drain.c": ["out_of", "moves_of", "moved_since", "look"]},
        {"lease-counted-before": (
            "RL_ASSERT(take(0) == 1);\n"
            "\t\tatomic_fetch_add(&control.drain_leases, 1);",
            "atomic_fetch_add(&control.drain_leases, 1);\n"
            "\t\tRL_ASSERT(take(0) == 1);"),
         "growth-not-seen": ("atomic_load(&control->slabs.growing) || ", ""),
         "counted-twice": (
            "__builtin_popcountll(free | bare)",
            "(__builtin_popcountll(free) + __builtin_popcountll(bare))")},
        50000, [("static inline ", "static ")]),
    "dispose": Model(
        {**GATE, "lib/slab_bits.h": ["put_bits", "put_word"], "lib/ledger.h": ["mews_ledger_set"],
         "lib/slab.h": ["mews_slabs_is_bare", "mews_slabs_is_free"],
         "lib/drain.c": ["mews_release_holders", "mews_drop", "wrongly_dropped"]},
        {"counted-before-the-wait": (
            "mews_gate_wait(&control.sides);\n\t\tput_word(&control.slabs.window[0], 0, CACHED);\n"
            "\t\tmews_gate_wait(&control.sides);",
            "put_word(&control.slabs.window[0], 0, CACHED);"),
         "late-returns-to-slab": (
            "RL_ASSERT(mews_drop(&control, NULL, number));",
            "put_word(&control.slabs.window[0], 0, (uint64_t)1 << number);"),
         "release-relaxed": ("count, memory_order_acq_rel", "count, memory_order_relaxed"),
         "release-not-acquired": ("count, memory_order_acq_rel", "count, memory_order_release")},
        20000, [("static inline ", "static ")]),
    "owned": Model(
        {"lib/owned.h": ["mews_owned_settled"],
         "lib/owned.c": ["mews_owned_lies", "mews_owned_out", "mews_owned_settle"],
         "lib/cache.c": ["store_bounds", "shut", "bottom_of", "unshut", "set_capacity", "claim",
                         "settle", "mews_cache_open", "close_open", "mews_cache_close"],
         "lib/owner_lease.c": ["take_back"], "lib/owner_group.c": ["end_lease", "walk_words"]},
        {"lease-not-released": ("commits(cur - 1, mo_release)", "commits(cur - 1, mo_relaxed)"),
         "slot-not-released": ("writes(cur, number, mo_release)", "writes(cur, number, mo_relaxed)"),
         "word-after-commit": (
            "if (!is_of_b(*number) &&\n"
            "\t\t\t    !writes(&control.word[*number], KEY_B | slot_of(cur - 1), mo_relaxed))\n"
            "\t\t\t\tcontinue;\n"
            "\t\t\tif (commits(cur - 1, mo_release))\n"
            "\t\t\t\treturn true;",
            "if (commits(cur - 1, mo_release)) {\n"
            "\t\t\t\twrites(&control.word[*number], KEY_B | slot_of(cur - 1), mo_relaxed);\n"
            "\t\t\t\treturn true;\n"
            "\t\t\t}"),
         "close-not-released": ("store_cur(&cache->cur, bottom + below, mo_release)",
                                "store_cur(&cache->cur, bottom + below, mo_relaxed)"),
         "stale-below-the-bottom": ("store_word(slot, NOTHING, mo_release);", ";"),
         "bottom-not-released": ("store_cur(&cache->cur, bottom, mo_release)",
                                 "store_cur(&cache->cur, bottom, mo_relaxed)"),
         "close-does-not-settle": ("mews_owned_settle(control, blocks, count);", ""),
         "slot-not-looked-at": (" &&\n\t       (uintptr_t)__atomic_load_n((slot_word *)slot, "
                                "__ATOMIC_ACQUIRE) == block", ""),
         "end-does-not-compare": (
            "if (!atomic_compare_exchange_strong(word, &seen, ended))\n\t\treturn;",
            "atomic_store(word, ended);"),
         "end-not-settled": ("walk->owner->key | MEWS_WORD_SETTLED | MEWS_WORD_ENDED",
                             "walk->owner->key | (seen & MEWS_WORD_SLOT)"),
         "return-does-not-compare": ("} while (!atomic_compare_exchange_strong(word, &seen, 0));",
                                     "} while (0); atomic_store(word, 0);")},
        40000,
        [("static inline ", "static "), ("const struct mews_control *", "struct mews_control *"),
         ("void *const *blocks", "const uintptr_t *blocks"), ("void **blocks", "uintptr_t *blocks"),
         ("const void *block", "uintptr_t block"), ("void *block", "uintptr_t block"),
         ("(const struct mews_cpu_cache *)\n"
          "\t\t(((uintptr_t)slot & ~(uintptr_t)(MEWS_CACHE_STRIDE - 1)) + MEWS_CACHE_HEADER_AT)",
          "control->pool"),
         ("__atomic_load_n((void *const *)slot,",
          "(uintptr_t)__atomic_load_n((slot_word *)slot,"),
         ("mews_owned(control) ? &cache->owned_base : &cache->base", "&cache->owned_base"),
         ("mews_owned(control) ? &cache->owned_span : &cache->span", "&cache->owned_span"),
         ("void **", "slot_word *"), ("if (mews_owned(control))\n\t\t", ""),
         ("__atomic_store_n(slot, NULL, __ATOMIC_RELEASE)", "store_word(slot, NOTHING, mo_release)"),
         ("__atomic_store_n(&cache->cur, bottom, __ATOMIC_RELEASE)",
          "store_cur(&cache->cur, bottom, mo_release)"),
         ("memcpy(blocks, bottom + below, count * sizeof(*blocks))",
          "copy_slots(blocks, bottom + below, count)"),
         ("atomic_store_explicit(word, mews_owned_settled(seen), memory_order_relaxed)",
          "store_word(word, mews_owned_settled(seen), mo_relaxed)"),
         ("atomic_store_explicit(&control->sides.side[cpu].cache_state",
          "flush(rl::thread_index());\n"
          "\tatomic_store_explicit(&control->sides.side[cpu].cache_state"),
         ("__atomic_store_n(&cache->cur, bottom + below, __ATOMIC_RELEASE)",
          "store_cur(&cache->cur, bottom + below, mo_release)")]),
}
