# Installation: command and manual pages, header, libraries, pkg-config file, CMake package.
include(CMakePackageConfigHelpers)

install(FILES runtime/onnxtrain.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS ${OT_INSTALL}
  EXPORT OnnxTrain
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT OnnxTrain NAMESPACE OnnxTrain:: FILE OnnxTrainTargets.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/OnnxTrain)

configure_package_config_file(cmake/OnnxTrainConfig.cmake.in OnnxTrainConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/OnnxTrain)
write_basic_package_version_file(OnnxTrainConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/OnnxTrainConfig.cmake
  ${CMAKE_BINARY_DIR}/OnnxTrainConfigVersion.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/OnnxTrain)

# GNUInstallDirs may be absolute; the .pc file needs full paths either way.
foreach(dir LIBDIR INCLUDEDIR)
  if(IS_ABSOLUTE "${CMAKE_INSTALL_${dir}}")
    set(PC_${dir} "${CMAKE_INSTALL_${dir}}")
  else()
    set(PC_${dir} "\${prefix}/${CMAKE_INSTALL_${dir}}")
  endif()
endforeach()
configure_file(cmake/onnxtrain.pc.in onnxtrain.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/onnxtrain.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# The command prints its own manual pages, from the tables that its parser uses.
install(TARGETS onnx-train RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(page onnx-train inspect train eval predict export init prune bench check env)
  if(page STREQUAL onnx-train)
    set(file man/onnx-train.1)
    set(topic)
  else()
    set(file man/onnx-train-${page}.1)
    set(topic ${page})
  endif()
  add_custom_command(OUTPUT ${file}
    COMMAND ${CMAKE_COMMAND} -E make_directory man
    COMMAND onnx-train help ${topic} man=1 > ${file}
    DEPENDS onnx-train)
  list(APPEND OT_MAN ${CMAKE_BINARY_DIR}/${file})
endforeach()
add_custom_target(ot_man ALL DEPENDS ${OT_MAN})
install(FILES ${OT_MAN} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
