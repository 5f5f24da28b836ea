# Writes a C++ file that holds other files as bytes. Run as a script: cmake -DOUT=... -DFOLDER=... -DFILES="a;b" -P this.
set(arrays "")
set(table "")
set(index 0)
foreach(name ${FILES})
  file(READ ${FOLDER}/${name} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n"
         bytes "${bytes}")
  string(APPEND arrays "constexpr unsigned char kFile${index}[] = {\n${bytes}};\n")
  string(APPEND table
         "      {\"${name}\", {reinterpret_cast<const char*>(kFile${index}), sizeof kFile${index}}},\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUT} "// Made by cmake/embed_files.cmake from ${FOLDER}.
#include \"serve/web_files.h\"

namespace elrea {
namespace {
${arrays}
}  // namespace

const std::vector<WebFile>& WebFiles() {
  static const std::vector<WebFile> files = {
${table}  };
  return files;
}

}  // namespace elrea
")
