# SPDX-License-Identifier: MIT
#
# Planted bugs: a source or header with one piece of text replaced, built into a test that must find
# it. Where the piece is not there any more, the test fails, so that no mutant goes stale.

# mews_mutate(name FILE path FROM text TO text): writes the mutant to mutants/<name>/<path>; sets
# MEWS_MUTATED to whether there was something to replace.
function(mews_mutate name)
	cmake_parse_arguments(PARSE_ARGV 1 arg "" "FILE;FROM;TO" "") # keeps semicolons
	set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${arg_FILE})
	file(READ ${PROJECT_SOURCE_DIR}/${arg_FILE} text)
	string(FIND "${text}" "${arg_FROM}" at)
	if(at EQUAL -1)
		message(WARNING "mutant ${name}: ${arg_FILE} has no «${arg_FROM}»")
		set(MEWS_MUTATED FALSE PARENT_SCOPE)
		return()
	endif()
	set(MEWS_MUTATED TRUE PARENT_SCOPE)
	string(REPLACE "${arg_FROM}" "${arg_TO}" text "${text}")
	file(CONFIGURE OUTPUT mutants/${name}/${arg_FILE} CONTENT "${text}" @ONLY)
endfunction()

# mews_header_mutant(name FROM TO): the sequences of this CPU with a bug; boundaries finds it.
function(mews_header_mutant name from to)
	mews_mutate(${name} FILE include/mews/rseq_${CMAKE_SYSTEM_PROCESSOR}.h FROM "${from}" TO "${to}")
	if(NOT MEWS_MUTATED)
		mews_run_test(suite/boundaries-planted-${name} LABELS suite
			COMMAND ${CMAKE_COMMAND} -E cat "mutant-${name}-does-not-apply")
		return()
	endif()
	mews_suite(boundaries_${name} boundaries.c)
	target_include_directories(boundaries_${name} BEFORE PRIVATE
		${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}/include)
	mews_run_test(suite/boundaries-planted-${name} LABELS suite
		TIMEOUT 120 COMMAND boundaries_${name} --plant header)
endfunction()

include(mutants_${CMAKE_SYSTEM_PROCESSOR}.cmake)

# mews_library_mutant(name FILE FROM TO scenarios...): a file of lib/ with a bug, linked in the place of
# the library's own; the stress scenarios find it.
function(mews_library_mutant name file from to)
	mews_mutate(${name} FILE ${file} FROM "${from}" TO "${to}")
	if(NOT MEWS_MUTATED)
		mews_run_test(stress/planted-${name} LABELS stress
			COMMAND ${CMAKE_COMMAND} -E cat "mutant-${name}-does-not-apply")
		return()
	endif()
	mews_suite(stress_${name} stress.c stress_arena.c stress_mix.c stress_life.c stress_signal.c stress_wait.c
		stress_keeper.c stress_stopped.c
		${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}/${file})
	target_include_directories(stress_${name} PRIVATE ${PROJECT_SOURCE_DIR}/lib)
	mews_run_test(stress/planted-${name} LABELS stress
		COMMAND stress_${name} --plant built ${ARGN})
endfunction()

mews_library_mutant(close-without-fence lib/cache.c [=[if (!mews_fence_cpu(cpu)) /* F1 */]=]
	[=[if (cpu <= 1u << 30)]=] close drain signals-drain)
mews_library_mutant(wake-as-empty lib/cache.c [=[	/* cur is as it was: a sequence that read it before is still right. */]=]
	[=[	__atomic_store_n(&mews_cache_of(control->pool, cpu)->cur, bottom_of(control, cpu), __ATOMIC_RELAXED);]=]
	rests)
mews_library_mutant(refill-flags-first lib/shrink.c [=[	if (mews_place_refill(slab_start(]=]
	[=[	flag_pages(w, from, to, FLAGS_CLEAR);
	if (mews_place_refill(slab_start(]=] parts)
mews_library_mutant(parts-take-a-neighbour lib/shrink.c [=[	size_t from = first ? block_offset(s, first - 1) + s->stride : 0;]=]
	[=[	size_t from = first ? block_offset(s, first - 1) : 0;]=] parts)
mews_library_mutant(trims-all-at-a-time lib/shrink.c
	[=[	return share < 1 ? 1 : share < 64 ? share : 64;]=] [=[	return share < 1 ? 64 : 64;]=]
	stopped-within --seconds 4)
mews_library_mutant(grows-after-trims lib/grow.c
	[=[	if (mews_slabs_at_limit(s))
		return (*count = 0);]=]
	[=[	if (mews_slabs_at_limit(s) || atomic_load(&s->growing))
		return (*count = 0);]=] stopped-within --seconds 2)
mews_library_mutant(close-loses-one lib/cache.c [=[memcpy(blocks, bottom + below, count * sizeof(*blocks));]=]
	[=[memcpy(blocks, bottom + below, count * sizeof(*blocks)); count -= count > 1;]=] drain)
mews_library_mutant(close-takes-the-bottom lib/cache.c
	[=[memcpy(blocks, bottom + below, count * sizeof(*blocks));]=]
	[=[memcpy(blocks, bottom, count * sizeof(*blocks));]=] bursts)
mews_library_mutant(keeps-too-much lib/exchange.c [=[mews_stash(control, hot, count);]=]
	[=[mews_stash(control, hot, count), mews_stash(control, hot, count > 0);]=] threads)
mews_library_mutant(record-not-ended lib/pool.c [=[mews_samples_return(&control->samples, number);]=]
	"" sampled)
mews_library_mutant(sampled-beside-hits lib/sites.c
	[=[mews_detour_begin(control, MEWS_DETOUR_SAMPLE);]=] "" sampled)

# mews_waiters_mutant(name FILE FROM TO): the same for waiters.c, which must lose a wake-up.
function(mews_waiters_mutant name file from to)
	mews_mutate(${name} FILE ${file} FROM "${from}" TO "${to}")
	if(NOT MEWS_MUTATED)
		mews_run_test(stress/waiters-planted-${name} LABELS stress
			COMMAND ${CMAKE_COMMAND} -E cat "mutant-${name}-does-not-apply")
		return()
	endif()
	mews_suite(waiters_${name} waiters.c ${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}/${file})
	target_include_directories(waiters_${name} PRIVATE ${PROJECT_SOURCE_DIR}/lib)
	mews_run_test(stress/waiters-planted-${name} LABELS stress
		COMMAND waiters_${name} --plant built)
endfunction()

mews_waiters_mutant(returns-do-not-look lib/waiters.c [=[if (!find_first(q, &first, &word))
			return]=] [=[if (!find_first(q, &first, &word) || word)
			return]=])
mews_waiters_mutant(sleeps-unlooked lib/waiters.c [=[word_of(tail, MEWS_TURN_LOOK))]=]
	[=[word_of(tail, MEWS_TURN_WAITING))]=])

# mews_unit_mutant(test name FILE FROM TO [DEFINE d]): a unit test with a bug in a file of lib/, linked in the
# place of the library's own, or included by the name d. It fails, as it must.
function(mews_unit_mutant test name file from to)
	cmake_parse_arguments(PARSE_ARGV 5 arg "" "DEFINE" "")
	mews_mutate(${name} FILE ${file} FROM "${from}" TO "${to}")
	set(command ${CMAKE_COMMAND} -E true) # where it does not apply: does not fail, as it must
	if(MEWS_MUTATED)
		set(mutant ${CMAKE_CURRENT_BINARY_DIR}/mutants/${name}/${file})
		set(command test_${test}_${name})
		if(arg_DEFINE)
			mews_suite(${command} unit/test_${test}.c)
			target_compile_definitions(${command} PRIVATE ${arg_DEFINE}="${mutant}")
		else()
			mews_suite(${command} unit/test_${test}.c ${mutant})
		endif()
		target_include_directories(${command} PRIVATE ${PROJECT_SOURCE_DIR}/lib)
	endif()
	mews_run_test(unit/${test}-planted-${name} LABELS unit COMMAND ${command})
	set_tests_properties(unit/${test}-planted-${name} PROPERTIES WILL_FAIL TRUE)
endfunction()

mews_unit_mutant(claims unclaims-what-is-others lib/grow.c
	[=[		if (*error || claim.to < s->slab_blocks)
			unclaim_slab]=] [=[		unclaim_slab]=] DEFINE GROW_C)
mews_unit_mutant(claims trims-what-became-partial lib/shrink.c
	[=[(partial || blocks == s->slab_blocks) && ]=] "" DEFINE SHRINK_C)
mews_unit_mutant(claims misses-bare-blocks lib/grow.c
	[=[!atomic_load(&w->bare_blocks) && alone]=] [=[alone]=] DEFINE GROW_C)
mews_unit_mutant(claims looks-alone-before lib/grow.c
	[=[ && atomic_load(&s->begun) == begun)]=] [=[ && begun)]=] DEFINE GROW_C)
mews_unit_mutant(claims looks-alone-behind lib/grow.c
	[=[ && alone && ]=] [=[ && atomic_load(&s->growing) == 1 + 0 * alone && ]=] DEFINE GROW_C)
mews_unit_mutant(extents splits-by-the-slab lib/shrink.c
	[=[free_among(s, w, slab, from, to) * 256 >= (to - from)]=]
	[=[free_among(s, w, slab, 0, blocks) * 256 >= (uint64_t)blocks]=])
mews_unit_mutant(extents rest-on-other-pages lib/grow.c [=[(had | c->bytes) &]=] [=[had &]=])
mews_unit_mutant(extents copies-whole-blocks-only lib/grow.c
	[=[	if (at < end)
		copy_words]=] [=[	if (at + run->slabs->stride == end)
		copy_words]=])
mews_unit_mutant(process runs-in-a-frozen-pool lib/process.c
	[=[	if (__builtin_expect(frozen_for_me(control), 0))]=] [=[	if (__builtin_expect(frozen_for_me(control), 0) && !pass)]=])
mews_unit_mutant(cache sends-what-it-takes-itself lib/exchange.c
	[=[depth < before + full &&]=] [=[depth + before &&]=])
mews_unit_mutant(cache bulk-leaves-it-closed lib/pool.c
	[=[	done = fill_cache(control, &op, blocks, count);]=] [=[	done = 0, (void)fill_cache;]=])
mews_unit_mutant(extents takes-others-for-advised lib/grow.c [=[thp && c->fresh && ]=] [=[thp && ]=])
mews_unit_mutant(exchange crowd-has-no-patience lib/exchange.c
	[=[#define PATIENCE_CROWD 100]=] [=[#define PATIENCE_CROWD 2]=])
mews_unit_mutant(exchange crowd-waits-with-each-look lib/exchange.c
	[=[batch, !tries, error);]=] [=[batch, true, error);]=])
mews_unit_mutant(keeper walks-from-where-it-was-late lib/shrink.c [=[!at || !gave || reached]=] [=[true || reached]=])
mews_unit_mutant(keeper holds-as-short-as-ever lib/keeper.c [=[look->holds * 2, HOLD_MOST]=] [=[look->holds, HOLD_MOST]=])
mews_unit_mutant(keeper sleeps-on-what-it-collected lib/keeper.c
	[=[mews_slabs_ready(&control->slabs, i) != look->free[0])]=] [=[!look)]=])
mews_unit_mutant(slab takes-of-the-first-words-only lib/slab.c [=[while (words == WORDS && got < count)]=] [=[while (0)]=])
mews_unit_mutant(trim goes-on-where-another-was-late lib/shrink.c [=[at = trim->anew ? 0 : at;;]=] [=[;;]=])
