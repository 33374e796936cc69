# An optimizer's rule with its numbers, and the steps that take whole gradients: by their norms, or outside a network.

cdef object RULE_NAMES = {"sgd": SGD, "momentum": MOMENTUM, "nesterov": NESTEROV, "rmsprop": RMSPROP,
                          "adagrad": ADAGRAD, "adam": ADAM, "nadam": ADAM, "amsgrad": AMSGRAD}
cdef object RULE_SLOTS = {SGD: 0, MOMENTUM: 1, NESTEROV: 1, RMSPROP: 1, ADAGRAD: 1, ADAM: 2, AMSGRAD: 3}

cdef enum:
    SIZE_CHUNK = 4096           # elements of a chunk of a norm (N6)
    SIZE_CHUNKS = 1024          # chunks whose sums wait together to be added
    UPDATE_GRAIN = 16384        # elements of a block of an update

cdef const double NOTHING = 1e-20       # what Nadam's product is when 1 minus it is 1


cdef class Rule:
    """An optimizer's formula and numbers; the slots belong to the parameters.  step: steps taken so far.

    schedule: a function of the number of the step, from 0, that gives its learning rate instead of learning_rate.
    weight_decay, clipnorm, global_clipnorm and clipvalue as in Keras; 0 for none.
    """
    cdef fastnn_rule numbers
    cdef public isize step
    cdef object schedule
    cdef double weight_decay, clipnorm, global_clipnorm
    cdef bint nadam
    cdef double product         # Nadam's, of the steps up to product_step
    cdef isize product_step

    def __init__(self, str name, double learning_rate, double momentum=0, double rho=0, double beta_1=0,
                 double beta_2=0, double epsilon=0, isize step=0, schedule=None, double weight_decay=0,
                 double clipnorm=0, double global_clipnorm=0, double clipvalue=0):
        self.numbers.kind, self.step, self.schedule = RULE_NAMES[name], step, schedule
        self.numbers.learning_rate, self.numbers.momentum, self.numbers.rho = learning_rate, momentum, rho
        self.numbers.beta_1, self.numbers.beta_2, self.numbers.epsilon = beta_1, beta_2, epsilon
        self.numbers.scale, self.numbers.clipvalue = 1, clipvalue
        self.weight_decay, self.clipnorm, self.global_clipnorm = weight_decay, clipnorm, global_clipnorm
        self.nadam, self.product = name == "nadam", 1

    @property
    def whole(self):
        """Whether a step needs the whole gradients first, where they are kept: for their norms, or not to be fused."""
        return self.clipnorm > 0 or self.global_clipnorm > 0 or self.numbers.kind == AMSGRAD

    cdef int fill(self, fastnn_rule *rule, isize step) except -1:
        """The numbers of the given step, from 1: the bias corrections of Adam and Nadam go into the rates."""
        rule[0] = self.numbers
        if self.schedule is not None:
            rule.learning_rate = self.schedule(step - 1)
            if not isfinite(rule.learning_rate) or rule.learning_rate < 0:
                raise ValueError(f"The learning rate must be a finite number, 0 or more, but the schedule gave "
                                 f"{rule.learning_rate} for step {step - 1}.")
        rule.decay = self.weight_decay * rule.learning_rate
        if self.nadam:
            self.fill_nadam(rule, step)
        elif rule.kind == ADAM or rule.kind == AMSGRAD:
            rule.learning_rate *= root(1 - power(rule.beta_2, step)) / (1 - power(rule.beta_1, step))
        return 0

    cdef void fill_nadam(self, fastnn_rule *rule, isize step) noexcept:
        """u_t = beta_1 (1 - 0.5 0.96^t), U_t = u_1 ... u_t: the step is
        rate (u_{t+1} m / (1 - U_{t+1}) + (1 - u_t) g / (1 - U_t)) / (sqrt(v / (1 - beta_2^t)) + epsilon)."""
        cdef double correction = root(1 - power(rule.beta_2, step)), rate = rule.learning_rate * correction
        cdef double u = self.nadam_u(step), next_u = self.nadam_u(step + 1)
        if step < self.product_step:
            self.product_step, self.product = 0, 1
        while self.product_step < step and self.product > NOTHING:
            self.product_step += 1
            self.product *= self.nadam_u(self.product_step)
        rule.learning_rate = rate * next_u / (1 - self.product * next_u)
        rule.momentum = rate * (1 - u) / (1 - self.product)
        rule.epsilon *= correction

    cdef double nadam_u(self, isize step) noexcept:
        return self.numbers.beta_1 * (1 - 0.5 * power(0.96, step))

    cdef double scale_of(self, double square, double square_of_all) noexcept nogil:
        """What a gradient is multiplied by, from the sums of squares of it and of all gradients."""
        if self.clipnorm > 0:
            return self.clipnorm / max(root(square), self.clipnorm)
        if self.global_clipnorm > 0:
            return self.global_clipnorm / max(root(square_of_all), self.global_clipnorm) + 0 * square_of_all
        return 1

    def update(self, np.ndarray weight, list slots, np.ndarray gradient, isize step):
        """Weight, and slots in place, take the given step (from 1) with the gradient of their shape."""
        cdef int dtype = real_dtype(weight)
        if dtype < 0 or len(slots) != RULE_SLOTS[self.numbers.kind]:
            raise ValueError(f"The rule takes float32 or float64 weights and {RULE_SLOTS[self.numbers.kind]} slots, "
                             f"received {weight.dtype} and {len(slots)}.")
        check_gradient("weight, slots and gradient", gradient, [weight, *slots])
        cdef fastnn_parameter parameter = as_parameter(weight, slots)
        cdef fastnn_rule rule
        cdef const void *data = np.PyArray_DATA(gradient)
        cdef isize n = np.PyArray_SIZE(weight)
        self.fill(&rule, step)
        with nogil:
            take_step(dtype, &rule, &parameter, data, n)

    def prepare(self, np.ndarray weight, np.ndarray gradient, bint lasting, double total, isize step):
        """What comes before the given step, in place: the gradient is clipped, the weight decays unless it is lasting.
        total: the sum of squares of all gradients."""
        check_gradient("weight and gradient", gradient, [weight])
        cdef int dtype = real_dtype(gradient)
        cdef fastnn_parameter parameter = as_parameter(weight, [])
        cdef fastnn_rule rule
        cdef void *data = np.PyArray_DATA(gradient)
        cdef isize n = np.PyArray_SIZE(gradient)
        parameter.lasting = lasting
        self.fill(&rule, step)
        rule.scale = self.scale_of(square_sum(dtype, data, n), total)
        kernels_of(dtype).prepare(&rule, &parameter, data, n)


cdef int check_gradient(str names, np.ndarray gradient, list others) except -1:
    cdef int dtype = real_dtype(gradient)
    for x in [gradient, *others]:
        if (dtype < 0 or (<object>x).shape != (<object>gradient).shape or real_dtype(x) != dtype
                or not np.PyArray_ISCARRAY_RO(x)):
            raise ValueError(f"{names} must be C-contiguous arrays of one shape and dtype.")
        if x is not gradient and (not x.flags.writeable or numpy.may_share_memory(x, gradient)):
            raise ValueError(f"{names} must be arrays of their own, and all but the gradient writable.")
    return 0


cdef double power(double base, isize exponent) noexcept nogil:
    """base ** exponent by squaring: products only, so the same everywhere (N7)."""
    cdef double result = 1
    while exponent > 0:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


cdef fastnn_parameter as_parameter(np.ndarray weight, list slots):
    cdef fastnn_parameter parameter
    cdef int i
    memset(&parameter, 0, sizeof(parameter))
    parameter.weight = np.PyArray_DATA(weight)
    for i in range(len(slots)):
        parameter.slot[i] = np.PyArray_DATA(slots[i])
    return parameter


# sum|x| and sum(x^2): of chunks on all threads, added in float64 in their order (N6).

cdef struct Sizes:
    const fastnn_kernels *kernels
    const char *x
    isize n, item
    double[SIZE_CHUNKS][2] chunk


cdef void size_of_chunk(void *context, isize block, int worker) noexcept nogil:
    cdef Sizes *job = <Sizes *>context
    cdef isize first = block * SIZE_CHUNK
    job.chunk[block][0] = job.chunk[block][1] = 0
    job.kernels.sizes(job.x + first * job.item, job.chunk[block], min(SIZE_CHUNK, job.n - first))


cdef void sizes_of(int dtype, const void *x, isize n, double *absolute, double *square) noexcept nogil:
    cdef Sizes job
    cdef isize chunks, i
    job.kernels, job.x, job.n, job.item = kernels_of(dtype), <const char *>x, n, item_size(dtype)
    absolute[0] = square[0] = 0
    while job.n > 0:
        chunks = min(SIZE_CHUNKS, (job.n + SIZE_CHUNK - 1) // SIZE_CHUNK)
        run_blocks(size_of_chunk, &job, chunks, job.n)
        for i in range(chunks):
            absolute[0] += job.chunk[i][0]
            square[0] += job.chunk[i][1]
        job.x, job.n = job.x + chunks * SIZE_CHUNK * job.item, job.n - chunks * SIZE_CHUNK


def sizes(x):
    """sum|x| and sum(x^2) of an array of any shape."""
    cdef np.ndarray array = as_real("sizes", "x", x)
    cdef double absolute, square
    sizes_of(real_dtype(array), np.PyArray_DATA(array), np.PyArray_SIZE(array), &absolute, &square)
    return absolute, square


cdef double square_sum(int dtype, const void *x, isize n) noexcept nogil:
    cdef double absolute, square
    sizes_of(dtype, x, n, &absolute, &square)
    return square


cdef void take_step(int dtype, const fastnn_rule *rule, const fastnn_parameter *parameter, const void *gradient,
                    isize n) noexcept nogil:
    """A step of n elements.  That of AMSGRAD is three: Adam's, which leaves the weight; v_hat = max(v_hat, v); and
    Adam's with v_hat for v, which leaves its slots (Reddi, Kale and Kumar 2018)."""
    cdef const fastnn_kernels *kernels = kernels_of(dtype)
    cdef fastnn_rule moments = rule[0], move = rule[0]
    cdef fastnn_parameter held = parameter[0]
    cdef fastnn_rows most = fastnn_rows(held.slot[2], held.slot[1], held.slot[2], 1, n, n, n, n, 1, 1)
    if rule.kind != AMSGRAD:
        kernels.update(rule, parameter, gradient, n)
        return
    moments.kind = move.kind = ADAM
    moments.learning_rate = 0
    move.beta_1 = move.beta_2 = move.scale = 1
    move.clipvalue = move.decay = 0
    held.slot[1], held.l1, held.l2 = held.slot[2], 0, 0
    kernels.update(&moments, parameter, gradient, n)
    elementwise_of(dtype).binary[MAXIMUM](&most)
    kernels.update(&move, &held, gradient, n)


cdef struct Updating:
    int dtype
    const fastnn_rule *rule
    const fastnn_parameter *parameter
    const char *gradient
    isize n


cdef void update_some(void *context, isize block, int worker) noexcept nogil:
    cdef Updating *job = <Updating *>context
    cdef isize first = block * UPDATE_GRAIN, at = first * item_size(job.dtype)
    cdef fastnn_parameter parameter = moved(job.parameter, at)
    take_step(job.dtype, job.rule, &parameter, job.gradient + at, min(UPDATE_GRAIN, job.n - first))
