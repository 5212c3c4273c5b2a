# Shell completions, written by the built command itself (foretoken completion SHELL), installed where each shell looks.
function(foretoken_completion shell folder file)
  set(written ${PROJECT_BINARY_DIR}/completions/${file})
  add_custom_command(OUTPUT ${written}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${PROJECT_BINARY_DIR}/completions
    COMMAND $<TARGET_FILE:foretoken> completion ${shell} > ${written}
    DEPENDS foretoken
    COMMENT "Writing the ${shell} completion"
    VERBATIM)
  set_property(GLOBAL APPEND PROPERTY FORETOKEN_COMPLETIONS ${written})
  install(FILES ${written} DESTINATION share/${folder})
endfunction()

foretoken_completion(bash bash-completion/completions foretoken)
foretoken_completion(zsh zsh/site-functions _foretoken)
foretoken_completion(fish fish/vendor_completions.d foretoken.fish)
get_property(completions GLOBAL PROPERTY FORETOKEN_COMPLETIONS)
add_custom_target(foretoken_completions ALL DEPENDS ${completions})
