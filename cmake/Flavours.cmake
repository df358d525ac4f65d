# Compiler flags of the presets. Warnings are errors in our code; headers of
# libraries come in as system headers.
add_library(ringscale_flags INTERFACE)
target_include_directories(ringscale_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(ringscale_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion
  -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough -Werror
  -fno-omit-frame-pointer)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # g++ 12 reports overlaps and over-reads inside libstdc++'s own string code.
  target_compile_options(ringscale_flags INTERFACE -Wno-restrict -Wno-stringop-overflow
    -Wno-stringop-overread -Wno-array-bounds -Wno-maybe-uninitialized -Wno-missing-field-initializers)
else()
  target_compile_options(ringscale_flags INTERFACE -Wno-missing-field-initializers
    -Wno-missing-designated-field-initializers)
endif()

set(RINGSCALE_FLAVOUR "dev" CACHE STRING "dev, release, asan or tsan")
set(RINGSCALE_FUZZ OFF)
# Asserts stay on in every flavour: a broken invariant must stop, not spread.
string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELWITHDEBINFO "${CMAKE_CXX_FLAGS_RELWITHDEBINFO}")
string(REPLACE "-DNDEBUG" "" CMAKE_C_FLAGS_RELWITHDEBINFO "${CMAKE_C_FLAGS_RELWITHDEBINFO}")
if(RINGSCALE_FLAVOUR STREQUAL "dev")
  set(CMAKE_CXX_FLAGS_DEBUG "-Og -g1")
elseif(RINGSCALE_FLAVOUR STREQUAL "release")
  set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
elseif(RINGSCALE_FLAVOUR STREQUAL "asan")
  set(RINGSCALE_FUZZ ON)
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
  # Not vptr: that check opens a pipe, and accuses correct code when descriptors
  # have run out, which tests make happen.
  add_compile_options(-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize=vptr
    -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
elseif(RINGSCALE_FLAVOUR STREQUAL "tsan")
  set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
  add_compile_options(-fsanitize=thread)
  add_link_options(-fsanitize=thread)
else()
  message(FATAL_ERROR "RINGSCALE_FLAVOUR must be dev, release, asan or tsan, not '${RINGSCALE_FLAVOUR}'")
endif()

find_program(RINGSCALE_CCACHE ccache)
if(RINGSCALE_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${RINGSCALE_CCACHE})
endif()
find_program(RINGSCALE_MOLD mold)
if(RINGSCALE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()
