# SPDX-License-Identifier: MIT
#
# Models of what orders memory, run on relacy (Debian's relacy-dev, C++): see README.md here. They are
# built on what will run them, and once.
if(MEWS_SANITIZE OR CMAKE_CROSSCOMPILING)
	return()
endif()
find_path(MEWS_RELACY relacy/relacy.hpp)
if(NOT MEWS_RELACY)
	mews_run_test(models/all LABELS models COMMAND sh -c
		"echo skip: relacy-dev is not installed, no model is run; exit 77")
	return()
endif()
enable_language(CXX)

set(make ${CMAKE_CURRENT_SOURCE_DIR}/models/make)
execute_process(COMMAND ${make} --list OUTPUT_VARIABLE models OUTPUT_STRIP_TRAILING_WHITESPACE)
execute_process(COMMAND ${make} --sources OUTPUT_VARIABLE sources OUTPUT_STRIP_TRAILING_WHITESPACE)
list(TRANSFORM sources PREPEND ${PROJECT_SOURCE_DIR}/)
file(GLOB drivers CONFIGURE_DEPENDS models/*.h)
add_custom_command(OUTPUT models.cc COMMAND ${make} ${CMAKE_CURRENT_BINARY_DIR}/models.cc
	DEPENDS ${make} ${CMAKE_CURRENT_SOURCE_DIR}/models/table.py ${drivers} ${sources} VERBATIM)
# Built by a test and not with all the rest: a change of lib/ that they have to follow is a test that
# fails.
add_executable(models EXCLUDE_FROM_ALL ${CMAKE_CURRENT_BINARY_DIR}/models.cc)
target_compile_options(models PRIVATE -O1 -Wall -Wextra -Werror
	-Wno-unused-function -Wno-unused-parameter -Wno-missing-field-initializers) # it was C
mews_run_test(models/build LABELS models TIMEOUT 600 COST 30
	COMMAND ${CMAKE_COMMAND} --build ${PROJECT_BINARY_DIR} --target models)
set_tests_properties(models/build PROPERTIES FIXTURES_SETUP models)

foreach(model ${models})
	mews_run_test(models/${model} LABELS models COMMAND models ${model})
	mews_run_test(models/${model}-long LABELS models long TIMEOUT 1800 COST 100 COMMAND models ${model} 100)
	set_tests_properties(models/${model} models/${model}-long PROPERTIES FIXTURES_REQUIRED models)
endforeach()
