# Installation: header, libraries, pkg-config file, CMake package, man pages, the guide.
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
