"""Build the extension: the kernels once per instruction set and element type, the rest once."""
import os
import platform
import shutil

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

COMMON = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fwrapv", "-fvisibility=hidden", "-pthread",
          "-fno-asynchronous-unwind-tables"]
X86 = {
    "baseline": ["-Os"],         # for CPUs of before 2013: 120 KB less than -O2, 5 to 15 % slower
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
}
ISAS = {"x86_64": X86, "amd64": X86, "aarch64": {"baseline": ["-Os"], "neon": []},
        "arm64": {"baseline": ["-Os"], "neon": []}}
INTEGERS = {"int32_t": "float", "int64_t": "double", "uint8_t": "float"}     # and a real as wide, if there is one
NO_COMPILER = """
fastnn is compiled on installation and found no working C compiler (GCC or Clang).
Install one and try again:
  Debian, Ubuntu:  sudo apt install build-essential
  Fedora:          sudo dnf install gcc
  macOS:           xcode-select --install
The compiler said: {}
"""


def sources(isa):
    """The files that are compiled for an instruction set, with their macros."""
    kernels = [(f"src/kernels_{isa}.c", [("REAL", real)]) for real in ("float", "double", *INTEGERS)]
    integers = [("src/integer_reductions.c", [("ISA", isa), ("ELEMENT", element), ("REAL", real)])
                for element, real in INTEGERS.items()
                if isa != "avx512" or element == "int64_t"]     # it takes the others of avx2: as fast, and 60 KB less
    return kernels + integers


class BuildKernels(build_ext):
    def build_extension(self, ext):
        isas = ISAS.get(platform.machine().lower(), {"baseline": ["-Os"]})
        try:
            ext.extra_objects = [
                built
                for isa, flags in isas.items()
                for source, macros in sources(isa)
                for built in self.compiler.compile(
                    [source], output_dir=os.path.join(self.build_temp, *dict(macros).values()), depends=ext.depends,
                    macros=macros, extra_postargs=COMMON + flags)
            ]
            super().build_extension(ext)
        except CompileError as error:
            if shutil.which(self.compiler.compiler[0]):
                raise
            raise SystemExit(NO_COMPILER.format(error)) from error


HEADERS = ["fastnn.h", "simd.h", "loops.h", "kernels.inc", "elementwise.inc", "arithmetic.inc", "integers.inc",
           "reduce.inc", "matmul.inc", "products.inc", "dense.inc", "sparse_dense.inc", "losses.inc", "optimizers.inc",
           "reductions.inc", "columns.inc", "activations.inc", "normalization.inc"]
core = Extension(
    "fastnn._core",
    ["src/_core.pyx", "src/dispatch.c", "src/threads.c", "src/random.c", "src/bytes.c"],
    depends=["src/" + name for name in HEADERS],
    include_dirs=[numpy.get_include()],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
    extra_compile_args=[*COMMON, "-O2", "-fno-align-functions", "-fno-align-loops", "-fno-align-jumps"],
    extra_link_args=["-pthread", "-Wl,-s"] if platform.system() == "Linux" else ["-pthread"],
)
setup(ext_modules=cythonize([core], include_path=["src"], build_dir="build"), cmdclass={"build_ext": BuildKernels})
