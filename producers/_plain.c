/* Plain upserts, checked and encoded in one pass.

   Most rows are plain: a text id, a float32 vector of the right shape in one piece, a flat metadata object. For these
   this code does in about a microsecond what producers/validation.py and schemas/codec.py do in several. Everything else
   is left to them: they decide, and explain. So a rule is loosened or tightened there; here a row may only be left to
   them. Whoever has no compiler runs without this module.

   Bytes are those of schemas/codec.py (tests hold both to each other). Source of the number format: Apache Avro 1.12
   specification, "Binary Encoding". */

#include "_native.h"
#include <math.h>
#include <string.h>

#if PY_BIG_ENDIAN
#error "vectors lie in little-endian order on the wire; the Python code converts them"
#endif

static Span long_in(char *out, long long value)
{
    unsigned long long rest = ((unsigned long long)value << 1) ^ (value < 0 ? ~0ULL : 0ULL);
    char *at = out;
    for (; rest > 0x7F; rest >>= 7)
        *at++ = (char)((rest & 0x7F) | 0x80);
    *at++ = (char)rest;
    return (Span){out, at - out};
}

int span_of(PyObject *bytes, Span *span)
{
    return PyBytes_AsStringAndSize(bytes, (char **)&span->data, &span->size);
}

/* Milliseconds since 1970 as an Avro long, or -1 with an exception. */
int occurred_at(PyObject *unix_s, Row *row)
{
    double seconds = PyFloat_AsDouble(unix_s);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(fabs(seconds) < 1e14)) {
        PyErr_SetString(PyExc_ValueError, "unix_s is no time of day in seconds");
        return -1;
    }
    row->occurred = long_in(row->time, (long long)(seconds * 1000));
    return 0;
}

/* Whether ``vectors`` is float32 [dimension], or [n, dimension] where ``ndim`` is 2, in one piece; then ``view`` is
   held. */
int view_of(PlainEncoder *self, PyObject *vectors, int ndim, Py_buffer *view)
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

int is_plain_key(const PlainEncoder *self, PyObject *id, Span *key)
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
PyObject *plain_metadata(const PlainEncoder *self, PyObject *metadata)
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

/* 1: ``row`` is filled, and points into ``held`` and the arguments; 0: Python must decide; -1: an exception. */
int plain_row(PlainEncoder *self, PyObject *id, PyObject *vector, PyObject *metadata, PyObject *unix_s, Row *row,
              Held *held)
{
    if (occurred_at(unix_s, row) < 0)
        return -1;
    if (!is_plain_key(self, id, &row->key) || !view_of(self, vector, 1, &held->view))
        return 0;
    row->vector = held->view.buf;
    held->text = is_plain_vector(self, held->view.buf) ? plain_metadata(self, metadata) : NULL;
    if (held->text != NULL && span_of(held->text, &row->metadata) == 0)
        return 1;
    release_row(held);
    return PyErr_Occurred() ? -1 : 0;
}

void release_row(Held *held)
{
    Py_XDECREF(held->text);
    PyBuffer_Release(&held->view);
}

/* In front of the vector: prefix, event id, time, key, metadata, and the sizes of these two. */
Py_ssize_t size_of_record(PlainEncoder *self, const Row *row)
{
    char size[MAX_LONG_BYTES];
    return PyBytes_Size(self->prefix) + EVENT_ID_BYTES + row->occurred.size + long_in(size, row->key.size).size +
           row->key.size + long_in(size, row->metadata.size).size + row->metadata.size +
           PyBytes_Size(self->before_vector) + 4 * self->dimension + 1;
}

static char *put(char *out, Span span)
{
    memcpy(out, span.data, (size_t)span.size);
    return out + span.size;
}

/* ``out`` has room for ``size_of_record`` bytes. Takes an event id. */
void write_record(PlainEncoder *self, const Row *row, char *out)
{
    char size[MAX_LONG_BYTES];
    out = put(out, (Span){PyBytes_AsString(self->prefix), PyBytes_Size(self->prefix)});
    out = put(out, (Span){(const char *)self->event_id, EVENT_ID_BYTES});
    out = put(out, row->occurred);
    out = put(out, long_in(size, row->key.size));
    out = put(out, row->key);
    out = put(out, long_in(size, row->metadata.size));
    out = put(out, row->metadata);
    out = put(out, (Span){PyBytes_AsString(self->before_vector), PyBytes_Size(self->before_vector)});
    out = put(out, (Span){row->vector, 4 * self->dimension});
    *out = 0; /* ends the Avro array */
    for (int at = EVENT_ID_BYTES - 1; at >= COUNTER_AT && ++self->event_id[at] == 0; at--)
        ; /* carried to the next byte */
}
