# A room is a folder of sources: one static library that everything of a higher
# rank may use. Sources are globbed so that adding a file is one step.
set_property(GLOBAL PROPERTY RINGSCALE_ROOMS "")

# An include that points the wrong way stops every build that compiles a room.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(globs "")
foreach(folder core relay control storage tools bench tests)
  list(APPEND globs ${CMAKE_SOURCE_DIR}/${folder}/*.h ${CMAKE_SOURCE_DIR}/${folder}/*.cc)
endforeach()
file(GLOB_RECURSE ranked_sources CONFIGURE_DEPENDS ${globs})
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/ranks.stamp
  COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check/ranks.py
  COMMAND ${CMAKE_COMMAND} -E touch ${CMAKE_BINARY_DIR}/ranks.stamp
  DEPENDS ${CMAKE_SOURCE_DIR}/tools/check/ranks.py ${ranked_sources}
  COMMENT "Checking ranks" VERBATIM)
add_custom_target(ranks ALL DEPENDS ${CMAKE_BINARY_DIR}/ranks.stamp)

function(ringscale_room path)
  cmake_parse_arguments(ROOM "" "" "PRIVATE" ${ARGN})
  string(REPLACE "/" "_" name ${path})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${path}/*.cc)
  get_property(rooms GLOBAL PROPERTY RINGSCALE_ROOMS)
  if(sources)
    add_library(${name} STATIC ${sources})
    # The libraries go in as system headers; every room sees the rooms before it.
    target_link_libraries(${name} PUBLIC ringscale_flags ${rooms} PRIVATE ${ROOM_PRIVATE})
    add_dependencies(${name} ranks)
    set_property(GLOBAL PROPERTY RINGSCALE_ROOMS ${name} ${rooms})
  endif()
endfunction()

function(ringscale_program name)
  cmake_parse_arguments(PROGRAM "" "" "SOURCES;LIBS" ${ARGN})
  foreach(source ${PROGRAM_SOURCES})
    if(NOT EXISTS ${CMAKE_SOURCE_DIR}/${source})
      return()
    endif()
  endforeach()
  get_property(rooms GLOBAL PROPERTY RINGSCALE_ROOMS)
  add_executable(${name} ${PROGRAM_SOURCES})
  target_link_libraries(${name} PRIVATE ringscale_flags ${rooms} ${PROGRAM_LIBS})
endfunction()
