# A room is a folder of sources: one static library that everything of a higher
# rank may use. Sources are globbed so that adding a file is one step.
set_property(GLOBAL PROPERTY RINGSCALE_ROOMS "")

function(ringscale_room path)
  cmake_parse_arguments(ROOM "" "" "PRIVATE" ${ARGN})
  string(REPLACE "/" "_" name ${path})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${path}/*.cc)
  get_property(rooms GLOBAL PROPERTY RINGSCALE_ROOMS)
  if(sources)
    add_library(${name} STATIC ${sources})
    # The libraries go in as system headers; every room sees the rooms before it.
    target_link_libraries(${name} PUBLIC ringscale_flags ${rooms} PRIVATE ${ROOM_PRIVATE})
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
