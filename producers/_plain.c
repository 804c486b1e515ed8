/* Plain upserts, checked and encoded in one pass.

   Most rows are plain: a text id, a float32 vector of the right shape in one piece, a flat metadata object. For these
   this module does in about a microsecond what producers/validation.py and schemas/codec.py do in several. For
   everything else it answers None, or raises nothing: the Python code then decides, and explains. So a rule is loosened
   or tightened there; here a row may only be left to it. Whoever has no compiler runs without this module.

   Bytes are those of schemas/codec.py (tests hold both to each other). Source of the number format: Apache Avro 1.12
   specification, "Binary Encoding". */

#define Py_LIMITED_API 0x030B0000 /* one build serves CPython 3.11 and newer */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if PY_BIG_ENDIAN
#error "vectors lie in little-endian order on the wire; the Python code converts them"
#endif

enum { MAX_LONG_BYTES = 10, EVENT_ID_BYTES = 16, RANDOM_BYTES = 8 };

typedef struct {
    PyObject_HEAD
    PyObject *prefix;    /* bytes: what every upsert of the collection starts with */
    PyObject *before_vector; /* bytes: no source text, and the vector's count */
    PyObject *fields;    /* frozenset of known metadata keys, or None */
    PyObject *dumps;     /* the JSON encoder, from a dict to bytes */
    Py_ssize_t dimension, max_id_bytes, max_metadata_bytes;
    int directed; /* cosine: a vector must have a direction */
    unsigned char event_id[EVENT_ID_BYTES]; /* of the next record: random, then a big-endian counter */
} PlainEncoder;

typedef struct {
    const char *data;
    Py_ssize_t size;
} Span;

static Span long_in(char *out, long long value)
{
    unsigned long long rest = ((unsigned long long)value << 1) ^ (value < 0 ? ~0ULL : 0ULL);
    char *at = out;
    for (; rest > 0x7F; rest >>= 7)
        *at++ = (char)((rest & 0x7F) | 0x80);
    *at++ = (char)rest;
    return (Span){out, at - out};
}

static int span_of(PyObject *bytes, Span *span)
{
    return PyBytes_AsStringAndSize(bytes, (char **)&span->data, &span->size);
}

/* Milliseconds since 1970 as an Avro long, or -1 with an exception. */
static int occurred_at(PyObject *unix_s, char *out, Span *span)
{
    double seconds = PyFloat_AsDouble(unix_s);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(fabs(seconds) < 1e14)) {
        PyErr_SetString(PyExc_ValueError, "unix_s is no time of day in seconds");
        return -1;
    }
    *span = long_in(out, (long long)(seconds * 1000));
    return 0;
}

/* Key and value of a record, or NULL with an exception. ``vector`` holds 4 * dimension bytes. */
static PyObject *assemble(PlainEncoder *self, Span key, const void *vector, Span metadata, Span occurred)
{
    char key_size[MAX_LONG_BYTES], metadata_size[MAX_LONG_BYTES];
    Span prefix, before_vector;
    if (span_of(self->prefix, &prefix) < 0 || span_of(self->before_vector, &before_vector) < 0)
        return NULL;
    const Span parts[] = {
        prefix,
        {(const char *)self->event_id, EVENT_ID_BYTES},
        occurred,
        long_in(key_size, key.size),
        key,
        long_in(metadata_size, metadata.size),
        metadata,
        before_vector,
        {vector, 4 * self->dimension},
        {"", 1}, /* the zero that ends the Avro array */
    };
    const int count = sizeof parts / sizeof *parts;
    Py_ssize_t size = 0;
    for (int part = 0; part < count; part++)
        size += parts[part].size;
    PyObject *value = PyBytes_FromStringAndSize(NULL, size);
    if (value == NULL)
        return NULL;
    char *out = PyBytes_AsString(value);
    for (int part = 0; part < count; part++) {
        memcpy(out, parts[part].data, (size_t)parts[part].size);
        out += parts[part].size;
    }
    for (int at = EVENT_ID_BYTES - 1; at >= RANDOM_BYTES && ++self->event_id[at] == 0; at--)
        ; /* carried to the next byte */
    return Py_BuildValue("(y#N)", key.data, key.size, value);
}

/* Whether ``vectors`` is float32 [dimension], or [n, dimension] where ``ndim`` is 2, in one piece; then ``view`` is
   held. */
static int view_of(PlainEncoder *self, PyObject *vectors, int ndim, Py_buffer *view)
{
    if (PyObject_GetBuffer(vectors, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        PyErr_Clear();
        return 0;
    }
    if (view->ndim == ndim && view->shape[ndim - 1] == self->dimension && view->itemsize == 4 &&
        view->format != NULL && strcmp(view->format, "f") == 0 && (uintptr_t)view->buf % sizeof(int32_t) == 0)
        return 1;
    PyBuffer_Release(view);
    return 0;
}

/* Whether all elements are finite and, where a direction is needed, one is not zero: so that a sum of their squares stays
   well inside float32. Looks at exponents, which costs a third of adding squares. What lies beyond is left to Python. */
static int is_plain_vector(const PlainEncoder *self, const int32_t *bits)
{
    const int32_t large = (127 + 40) << 23, small = (127 - 40) << 23; /* 2^40 and 2^-40 as float32 */
    int32_t any_large = 0, any_above_small = 0;
    for (Py_ssize_t at = 0; at < self->dimension; at++) {
        int32_t magnitude = bits[at] & 0x7FFFFFFF;
        any_large |= magnitude > large; /* infinity and NaN are the largest */
        any_above_small |= magnitude > small;
    }
    return !any_large && (any_above_small || !self->directed);
}

static int is_plain_key(const PlainEncoder *self, PyObject *id, Span *key)
{
    if (!PyUnicode_CheckExact(id))
        return 0;
    key->data = PyUnicode_AsUTF8AndSize(id, &key->size);
    if (key->data == NULL) {
        PyErr_Clear();
        return 0;
    }
    return key->size > 0 && key->size <= self->max_id_bytes && memchr(key->data, 0, (size_t)key->size) == NULL;
}

static int is_plain_item(const PlainEncoder *self, PyObject *name, PyObject *value)
{
    /* Exact types run no code of the application, so the dict cannot change while it is looked through. */
    if (!PyUnicode_CheckExact(name) || (self->fields != Py_None && PySet_Contains(self->fields, name) != 1))
        return 0;
    if (PyFloat_CheckExact(value))
        return isfinite(PyFloat_AsDouble(value)); /* dumps would write null */
    return value == Py_None || PyUnicode_CheckExact(value) || PyLong_CheckExact(value) || PyBool_Check(value);
}

static int has_escaped_nul(Span text)
{
    const char *at = text.data, *end = text.data + text.size;
    while ((at = memchr(at, '\\', (size_t)(end - at))) != NULL) {
        if (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0)
            return 1;
        at++;
    }
    return 0;
}

/* ``metadata`` as JSON bytes; NULL without an exception where Python must decide. */
static PyObject *plain_metadata(const PlainEncoder *self, PyObject *metadata)
{
    if (metadata == Py_None)
        return PyBytes_FromStringAndSize("{}", 2);
    if (!PyDict_CheckExact(metadata))
        return NULL;
    PyObject *name, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(metadata, &at, &name, &value))
        if (!is_plain_item(self, name, value))
            return NULL;
    PyObject *text = PyObject_CallFunctionObjArgs(self->dumps, metadata, NULL);
    Span span;
    if (text != NULL && span_of(text, &span) == 0 && span.size <= self->max_metadata_bytes && !has_escaped_nul(span))
        return text;
    PyErr_Clear();
    Py_XDECREF(text);
    return NULL;
}

PyDoc_STRVAR(upsert_doc, "upsert(id, vector, metadata, unix_s, /)\n--\n\n"
                         "Key and value of the record of a plain upsert; None where it is not plain.");

static PyObject *upsert(PlainEncoder *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "upsert takes id, vector, metadata, unix_s");
        return NULL;
    }
    Span key, text, occurred;
    Py_buffer view;
    char time[MAX_LONG_BYTES];
    if (occurred_at(args[3], time, &occurred) < 0)
        return NULL;
    if (!is_plain_key(self, args[0], &key) || !view_of(self, args[1], 1, &view))
        Py_RETURN_NONE;
    PyObject *metadata = is_plain_vector(self, view.buf) ? plain_metadata(self, args[2]) : NULL;
    PyObject *record;
    if (metadata == NULL)
        record = Py_NewRef(Py_None);
    else
        record = span_of(metadata, &text) < 0 ? NULL : assemble(self, key, view.buf, text, occurred);
    Py_XDECREF(metadata);
    PyBuffer_Release(&view);
    return record;
}

/* The encoder cuts its text out of a kilobyte. Kept by the thousand, such pieces make malloc slow: a text of its own. */
static PyObject *of_own(PyObject *text)
{
    Span span;
    PyObject *copy = span_of(text, &span) == 0 ? PyBytes_FromStringAndSize(span.data, span.size) : NULL;
    Py_DECREF(text);
    return copy;
}

PyDoc_STRVAR(parts_doc, "parts(ids, metadata, /)\n--\n\n"
                        "The keys and the JSON texts of n rows, from two lists of n; None where a row is not plain.");

static PyObject *parts(PlainEncoder *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyList_Check(args[0]) || !PyList_Check(args[1]) ||
        PyList_Size(args[0]) != PyList_Size(args[1])) {
        PyErr_SetString(PyExc_TypeError, "parts takes a list of ids and a list of as many metadata objects");
        return NULL;
    }
    Py_ssize_t rows = PyList_Size(args[0]);
    PyObject *keys = PyList_New(rows), *texts = PyList_New(rows);
    int plain = keys != NULL && texts != NULL;
    for (Py_ssize_t row = 0; plain && row < rows; row++) {
        Span key;
        PyObject *text = NULL, *key_bytes = NULL;
        plain = is_plain_key(self, PyList_GetItem(args[0], row), &key) &&
                (text = plain_metadata(self, PyList_GetItem(args[1], row))) != NULL && (text = of_own(text)) != NULL &&
                (key_bytes = PyBytes_FromStringAndSize(key.data, key.size)) != NULL;
        if (plain) {
            PyList_SetItem(keys, row, key_bytes);
            PyList_SetItem(texts, row, text);
        }
        else
            Py_XDECREF(text);
    }
    PyObject *pair = plain ? PyTuple_Pack(2, keys, texts) : PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
    Py_XDECREF(keys);
    Py_XDECREF(texts);
    return pair;
}

PyDoc_STRVAR(records_doc, "records(keys, vectors, metadata, unix_s, start, stop, /)\n--\n\n"
                          "Keys and values of the records of some rows, whose parts were checked before.");

static PyObject *records(PlainEncoder *self, PyObject *args)
{
    PyObject *keys, *vectors, *texts, *unix_s;
    Py_ssize_t start, stop;
    Span key, text, occurred;
    Py_buffer view;
    char time[MAX_LONG_BYTES];
    if (!PyArg_ParseTuple(args, "O!OO!Onn", &PyList_Type, &keys, &vectors, &PyList_Type, &texts, &unix_s, &start,
                          &stop) ||
        occurred_at(unix_s, time, &occurred) < 0)
        return NULL;
    if (!view_of(self, vectors, 2, &view))
        return PyErr_Format(PyExc_ValueError, "vectors are not float32 [n, %zd] in one piece", self->dimension);
    if (!(0 <= start && start <= stop && stop <= view.shape[0] && stop <= PyList_Size(keys) &&
          stop <= PyList_Size(texts))) {
        PyBuffer_Release(&view);
        return PyErr_Format(PyExc_ValueError, "there are no rows %zd to %zd", start, stop);
    }
    PyObject *made = PyList_New(stop - start);
    for (Py_ssize_t row = start; made != NULL && row < stop; row++) {
        const char *vector = (const char *)view.buf + 4 * self->dimension * row;
        PyObject *record = NULL;
        if (span_of(PyList_GetItem(keys, row), &key) == 0 && span_of(PyList_GetItem(texts, row), &text) == 0)
            record = assemble(self, key, vector, text, occurred);
        if (record == NULL)
            Py_CLEAR(made);
        else
            PyList_SetItem(made, row - start, record);
    }
    PyBuffer_Release(&view);
    return made;
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"prefix", "before_vector", "fields", "dumps", "dimension", "max_id_bytes",
                            "max_metadata_bytes", "directed", "random", NULL};
    PyObject *prefix, *before_vector, *fields, *dumps;
    Py_ssize_t dimension, max_id_bytes, max_metadata_bytes;
    int directed;
    Py_buffer random;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$SSOOnnnpy*", names, &prefix, &before_vector, &fields, &dumps,
                                     &dimension, &max_id_bytes, &max_metadata_bytes, &directed, &random))
        return NULL;
    if (random.len != RANDOM_BYTES) {
        PyBuffer_Release(&random);
        return PyErr_Format(PyExc_ValueError, "random has %zd bytes, and %d are wanted", random.len, RANDOM_BYTES);
    }
    PlainEncoder *self = (PlainEncoder *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) /* the rest is zero */
        memcpy(self->event_id, random.buf, RANDOM_BYTES);
    PyBuffer_Release(&random);
    if (self == NULL)
        return NULL;
    self->prefix = Py_NewRef(prefix);
    self->before_vector = Py_NewRef(before_vector);
    self->fields = Py_NewRef(fields);
    self->dumps = Py_NewRef(dumps);
    self->dimension = dimension;
    self->max_id_bytes = max_id_bytes;
    self->max_metadata_bytes = max_metadata_bytes;
    self->directed = directed;
    return (PyObject *)self;
}

static void release(PlainEncoder *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(self->prefix);
    Py_XDECREF(self->before_vector);
    Py_XDECREF(self->fields);
    Py_XDECREF(self->dumps);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"upsert", (PyCFunction)(void (*)(void))upsert, METH_FASTCALL, upsert_doc},
    {"parts", (PyCFunction)(void (*)(void))parts, METH_FASTCALL, parts_doc},
    {"records", (PyCFunction)(void (*)(void))records, METH_VARARGS, records_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot type_slots[] = {
    {Py_tp_doc, "Encodes plain upserts of one collection. Thread-safe."},
    {Py_tp_new, make},
    {Py_tp_dealloc, release},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec type_spec = {"vecferry.producers._plain.PlainEncoder", sizeof(PlainEncoder), 0, Py_TPFLAGS_DEFAULT,
                                type_slots};

static int fill(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &type_spec, NULL);
    int status = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
    Py_XDECREF(type);
    return status;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_plain", .m_doc = "Plain upserts in one pass.", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__plain(void) { return PyModuleDef_Init(&definition); }
