# The instruction set and the threads, both chosen once, at import.

cdef int chosen_isa = 0


def isas():
    """Names of the compiled instruction sets, the plainest first, each with whether this CPU supports it."""
    return {fastnn_isa_name(i).decode(): bool(fastnn_isa_supported(i)) for i in range(fastnn_isa_count())}


def get_isa():
    """Name of the instruction set in use."""
    return fastnn_isa_name(chosen_isa).decode()


def set_isa(str name):
    """Use the compiled instruction set `name` from the next call on (for tests; users set FASTNN_ISA)."""
    global chosen_isa
    known = isas()
    if not known.get(name):
        usable = ", ".join(isa for isa, supported in known.items() if supported)
        raise ValueError(f"Instruction set {name!r} is not available on this CPU. Available: {usable}. "
                         "Unset FASTNN_ISA to let fastnn choose.")
    chosen_isa = list(known).index(name)


def get_threads():
    """Threads that fastnn may use, the caller's own included."""
    return fastnn_threads()


def set_threads(threads, str name="The number of threads"):
    """Use up to `threads` threads, 1 to 256; results do not depend on it."""
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or not 1 <= threads <= FASTNN_MAX_THREADS:
        raise ValueError(f"{name} must be an integer from 1 to {FASTNN_MAX_THREADS}, received {threads!r}.")
    fastnn_set_threads(threads)


cdef choose():
    """FASTNN_ISA and FASTNN_NUM_THREADS, or what the machine offers: of its threads no more than OMP_NUM_THREADS, by
    which joblib shares the processors among its worker processes."""
    global chosen_isa
    chosen_isa = fastnn_isa_best()
    if os.environ.get("FASTNN_ISA"):
        set_isa(os.environ["FASTNN_ISA"])
    threads = os.environ.get("FASTNN_NUM_THREADS")
    if not threads:
        fair = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        most = int(fair) if fair.isascii() and fair.isdigit() else 0
        fastnn_set_threads(min(fastnn_default_threads(), most or FASTNN_MAX_THREADS))
    elif threads.isascii() and threads.isdigit():
        set_threads(int(threads), "FASTNN_NUM_THREADS")
    else:
        raise ValueError(f"FASTNN_NUM_THREADS must be a whole number, received {threads!r}. Unset it to use "
                         "every processor that this process may run on.")


choose()


cdef inline const fastnn_kernels *kernels_of(int dtype) noexcept nogil:
    return fastnn_table(chosen_isa, dtype)


cdef inline isize item_size(int dtype) noexcept nogil:
    return 4 if dtype == FLOAT32 else 8


cdef inline const fastnn_elementwise *elementwise_of(int element) noexcept nogil:
    return fastnn_elementwise_table(chosen_isa, element)
