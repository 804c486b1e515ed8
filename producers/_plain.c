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
#include <string.h>

#if PY_BIG_ENDIAN
#error "vectors lie in little-endian order on the wire; the Python code converts them"
#endif

enum { MAX_LONG_BYTES = 10 };

typedef struct {
    PyObject_HEAD
    PyObject *prefix;    /* bytes: what every upsert of the collection starts with */
    PyObject *before_vector; /* bytes: no source text, and the vector's count */
    PyObject *fields;    /* frozenset of known metadata keys, or None */
    PyObject *dumps;     /* the JSON encoder, from a dict to bytes */
    Py_ssize_t dimension, max_id_bytes, max_metadata_bytes;
    int directed; /* cosine: a vector must have a direction */
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

/* The record, or NULL with an exception. ``vector`` holds 4 * dimension bytes. */
static PyObject *assemble(PlainEncoder *self, PyObject *event_id, PyObject *occurred_at_ms, Span key, Span metadata,
                          const void *vector)
{
    char longs[3][MAX_LONG_BYTES];
    Span parts[9];
    long long when = PyLong_AsLongLong(occurred_at_ms);
    if (when == -1 && PyErr_Occurred())
        return NULL;
    if (span_of(self->prefix, &parts[0]) < 0 || span_of(event_id, &parts[1]) < 0 ||
        span_of(self->before_vector, &parts[7]) < 0)
        return NULL;
    parts[2] = long_in(longs[0], when);
    parts[3] = long_in(longs[1], key.size);
    parts[4] = key;
    parts[5] = long_in(longs[2], metadata.size);
    parts[6] = metadata;
    parts[8] = (Span){vector, 4 * self->dimension};
    Py_ssize_t size = 1;
    for (int part = 0; part < 9; part++)
        size += parts[part].size;
    PyObject *record = PyBytes_FromStringAndSize(NULL, size);
    if (record == NULL)
        return NULL;
    char *out = PyBytes_AsString(record);
    for (int part = 0; part < 9; part++) {
        memcpy(out, parts[part].data, (size_t)parts[part].size);
        out += parts[part].size;
    }
    *out = 0; /* ends the Avro array */
    return record;
}

/* Whether ``vector`` is float32 [dimension] in one piece; then ``view`` is held. */
static int view_of(PlainEncoder *self, PyObject *vector, Py_buffer *view)
{
    if (PyObject_GetBuffer(vector, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        PyErr_Clear();
        return 0;
    }
    if (view->ndim == 1 && view->shape[0] == self->dimension && view->itemsize == 4 && view->format != NULL &&
        strcmp(view->format, "f") == 0)
        return 1;
    PyBuffer_Release(view);
    return 0;
}

/* Whether every element is surely finite, and the vector surely has a direction where it needs one. Four sums, so that
   the processor need not wait for one addition before the next. Squares near the edges of float32 are left to Python. */
static int is_plain_vector(const PlainEncoder *self, const float *x)
{
    double sums[4] = {0.0, 0.0, 0.0, 0.0};
    Py_ssize_t at = 0;
    for (; at + 4 <= self->dimension; at += 4)
        for (int lane = 0; lane < 4; lane++)
            sums[lane] += (double)x[at + lane] * x[at + lane];
    for (; at < self->dimension; at++)
        sums[0] += (double)x[at] * x[at];
    double square = sums[0] + sums[1] + sums[2] + sums[3];
    return square < 1e30 && (square > 1e-30 || !self->directed); /* false for NaN */
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

PyDoc_STRVAR(upsert_doc, "upsert(id, vector, metadata, event_id, occurred_at_ms, /)\n--\n\n"
                         "The key and the value of the record of a plain upsert; None where it is not plain.");

static PyObject *upsert(PlainEncoder *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "upsert takes id, vector, metadata, event_id, occurred_at_ms");
        return NULL;
    }
    Span key, text;
    Py_buffer view;
    if (!is_plain_key(self, args[0], &key) || !view_of(self, args[1], &view))
        Py_RETURN_NONE;
    PyObject *metadata = NULL, *record = NULL, *pair = NULL;
    if (is_plain_vector(self, view.buf) && (metadata = plain_metadata(self, args[2])) != NULL) {
        if (span_of(metadata, &text) == 0)
            record = assemble(self, args[3], args[4], key, text, view.buf);
        if (record != NULL)
            pair = Py_BuildValue("(y#N)", key.data, key.size, record);
    }
    else
        pair = Py_NewRef(Py_None);
    Py_XDECREF(metadata);
    PyBuffer_Release(&view);
    return pair;
}

PyDoc_STRVAR(record_doc, "record(key, vector, metadata, event_id, occurred_at_ms, /)\n--\n\n"
                         "The value of a record whose parts were checked before; ValueError for another vector.");

static PyObject *record(PlainEncoder *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 5) {
        PyErr_SetString(PyExc_TypeError, "record takes key, vector, metadata, event_id, occurred_at_ms");
        return NULL;
    }
    Span key, metadata;
    Py_buffer view;
    if (span_of(args[0], &key) < 0 || span_of(args[2], &metadata) < 0)
        return NULL;
    if (!view_of(self, args[1], &view)) {
        PyErr_Format(PyExc_ValueError, "the vector is not float32 [%zd] in one piece", self->dimension);
        return NULL;
    }
    PyObject *made = assemble(self, args[3], args[4], key, metadata, view.buf);
    PyBuffer_Release(&view);
    return made;
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
                (text = plain_metadata(self, PyList_GetItem(args[1], row))) != NULL &&
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

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"prefix", "before_vector", "fields", "dumps", "dimension", "max_id_bytes",
                            "max_metadata_bytes", "directed", NULL};
    PyObject *prefix, *before_vector, *fields, *dumps;
    Py_ssize_t dimension, max_id_bytes, max_metadata_bytes;
    int directed;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$SSOOnnnp", names, &prefix, &before_vector, &fields, &dumps,
                                     &dimension, &max_id_bytes, &max_metadata_bytes, &directed))
        return NULL;
    PlainEncoder *self = (PlainEncoder *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
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
    {"record", (PyCFunction)(void (*)(void))record, METH_FASTCALL, record_doc},
    {"parts", (PyCFunction)(void (*)(void))parts, METH_FASTCALL, parts_doc},
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
