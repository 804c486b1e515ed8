/* The type PlainEncoder: what Python sees of _plain.c. */

#include "_native.h"
#include <string.h>

PyTypeObject *encoder_type;

/* Key and value of a record, or NULL with an exception. */
static PyObject *assemble(PlainEncoder *self, const Row *row)
{
    PyObject *value = PyBytes_FromStringAndSize(NULL, size_of_record(self, row));
    if (value == NULL)
        return NULL;
    write_record(self, row, PyBytes_AsString(value));
    return Py_BuildValue("(y#N)", row->key.data, row->key.size, value);
}

PyDoc_STRVAR(upsert_doc, "upsert(id, vector, metadata, unix_s, /)\n--\n\n"
                         "Key and value of the record of a plain upsert; None where it is not plain.");

static PyObject *upsert(PlainEncoder *self, PyObject *const *args, Py_ssize_t count)
{
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "upsert takes id, vector, metadata, unix_s");
        return NULL;
    }
    Row row;
    Held held;
    int plain = plain_row(self, args[0], args[1], args[2], args[3], &row, &held);
    if (plain < 0)
        return NULL;
    if (!plain)
        Py_RETURN_NONE;
    PyObject *record = assemble(self, &row);
    release_row(&held);
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

/* ``args`` are keys, vectors, metadata, unix_s, start, stop. 0, and the view is to be released; or -1 with an exception. */
int open_rows(PlainEncoder *self, PyObject *const *args, Py_ssize_t *start, Py_ssize_t *stop, Rows *rows)
{
    rows->keys = args[0];
    rows->texts = args[2];
    *start = PyLong_AsSsize_t(args[4]);
    *stop = PyErr_Occurred() ? -1 : PyLong_AsSsize_t(args[5]);
    if (PyErr_Occurred() || occurred_at(args[3], &rows->row) < 0)
        return -1;
    if (!PyList_Check(rows->keys) || !PyList_Check(rows->texts)) {
        PyErr_SetString(PyExc_TypeError, "keys and metadata are lists of bytes");
        return -1;
    }
    if (!view_of(self, args[1], 2, &rows->view)) {
        PyErr_Format(PyExc_ValueError, "vectors are not float32 [n, %zd] in one piece", self->dimension);
        return -1;
    }
    if (0 <= *start && *start <= *stop && *stop <= rows->view.shape[0] && *stop <= PyList_Size(rows->keys) &&
        *stop <= PyList_Size(rows->texts))
        return 0;
    PyBuffer_Release(&rows->view);
    PyErr_Format(PyExc_ValueError, "there are no rows %zd to %zd", *start, *stop);
    return -1;
}

/* The row, in ``rows->row``: 0, or -1 with an exception. */
int take_row(PlainEncoder *self, Rows *rows, Py_ssize_t at)
{
    rows->row.vector = (const char *)rows->view.buf + 4 * self->dimension * at;
    return span_of(PyList_GetItem(rows->keys, at), &rows->row.key) == 0 &&
                   span_of(PyList_GetItem(rows->texts, at), &rows->row.metadata) == 0
               ? 0
               : -1;
}

PyDoc_STRVAR(records_doc, "records(keys, vectors, metadata, unix_s, start, stop, /)\n--\n\n"
                          "Keys and values of the records of some rows, whose parts were checked before.");

static PyObject *records(PlainEncoder *self, PyObject *const *args, Py_ssize_t count)
{
    Rows rows;
    Py_ssize_t start, stop;
    if (count != 6)
        return PyErr_Format(PyExc_TypeError, "records takes keys, vectors, metadata, unix_s, start, stop");
    if (open_rows(self, args, &start, &stop, &rows) < 0)
        return NULL;
    PyObject *made = PyList_New(stop - start);
    for (Py_ssize_t at = start; made != NULL && at < stop; at++) {
        PyObject *record = take_row(self, &rows, at) == 0 ? assemble(self, &rows.row) : NULL;
        if (record == NULL)
            Py_CLEAR(made);
        else
            PyList_SetItem(made, at - start, record);
    }
    PyBuffer_Release(&rows.view);
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
    if (random.len != COUNTER_AT) {
        PyBuffer_Release(&random);
        return PyErr_Format(PyExc_ValueError, "random has %zd bytes, and %d are wanted", random.len, COUNTER_AT);
    }
    PlainEncoder *self = (PlainEncoder *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self != NULL) /* the rest is zero */
        memcpy(self->event_id, random.buf, COUNTER_AT);
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
    {"records", (PyCFunction)(void (*)(void))records, METH_FASTCALL, records_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot type_slots[] = {
    {Py_tp_doc, "Encodes plain upserts of one collection. Thread-safe."},
    {Py_tp_new, make},
    {Py_tp_dealloc, release},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec type_spec = {"vecferry.producers._native.PlainEncoder", sizeof(PlainEncoder), 0, Py_TPFLAGS_DEFAULT,
                                type_slots};

int add_encoder(PyObject *module) { return add_type(module, &type_spec, &encoder_type); }
