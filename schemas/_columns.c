/* Lists of texts, taken in one pass: what snapshot blocks cost most of their time for, and events some of it.

   Every function does what its Python counterpart does, for the plain case alone, and answers None or False
   for whatever is not plain: the Python code then decides, and explains. So each rule stands once, in Python; here
   nothing may be accepted that it refuses (tests hold both to each other). Whoever has no compiler runs without this
   module.

   Sources: Apache Avro 1.12 specification, "Binary Encoding", for arrays of strings; Austin Appleby's MurmurHash2 (public
   domain) as in Kafka's Utils.murmur2 for partitions; PostgreSQL 18, array_recv in arrayfuncs.c, for sized texts. */

#define Py_LIMITED_API 0x030B0000 /* one build serves CPython 3.11 and newer */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { MAX_LONG_BYTES = 10 };

static size_t put_size(unsigned char *out, uint64_t size)
{
    unsigned char *at = out;
    uint64_t rest = size << 1;
    for (; rest > 0x7F; rest >>= 7)
        *at++ = (unsigned char)(rest | 0x80);
    *at++ = (unsigned char)rest;
    return (size_t)(at - out);
}

/* The Avro long at *at, which moves behind it, if it is no more than ``most``; -1 for every other. */
static Py_ssize_t take_size(const unsigned char *data, Py_ssize_t size, Py_ssize_t *at, Py_ssize_t most)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 63 && *at < size; shift += 7) {
        unsigned char byte = data[(*at)++];
        value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return value & 1 || value >> 1 > (uint64_t)most ? -1 : (Py_ssize_t)(value >> 1);
    }
    return -1;
}

PyDoc_STRVAR(read_strings_doc, "read_strings(data, at): the texts of an Avro array in one block, and where it ends.");

static PyObject *read_strings(PyObject *module, PyObject *args)
{
    PyObject *bytes;
    Py_ssize_t at, size;
    char *start;
    (void)module;
    if (!PyArg_ParseTuple(args, "Sn", &bytes, &at) || PyBytes_AsStringAndSize(bytes, &start, &size) < 0)
        return NULL;
    const unsigned char *data = (const unsigned char *)start;
    if (at < 0 || at > size)
        Py_RETURN_NONE;
    Py_ssize_t count = take_size(data, size, &at, size);
    if (count <= 0 || count > size - at) /* each text takes a byte at least: memory in proportion to the data */
        Py_RETURN_NONE;
    PyObject *texts = PyList_New(count);
    for (Py_ssize_t i = 0; texts != NULL && i < count; i++) {
        Py_ssize_t length = take_size(data, size, &at, size);
        if (length < 0 || length > size - at) {
            Py_DECREF(texts);
            Py_RETURN_NONE;
        }
        PyObject *text = PyBytes_FromStringAndSize(start + at, length);
        if (text == NULL || PyList_SetItem(texts, i, text) < 0)
            Py_CLEAR(texts);
        at += length;
    }
    if (texts == NULL)
        return NULL;
    if (at >= size || data[at] != 0) { /* another block, or cut off */
        Py_DECREF(texts);
        Py_RETURN_NONE;
    }
    return Py_BuildValue("Nn", texts, at + 1);
}

PyDoc_STRVAR(encode_strings_doc, "encode_strings(texts): a list of bytes as an Avro array in one block.");

static PyObject *encode_strings(PyObject *module, PyObject *texts)
{
    (void)module;
    Py_ssize_t count = PyList_Check(texts) ? PyList_Size(texts) : 0;
    if (count == 0)
        Py_RETURN_NONE;
    unsigned char scratch[MAX_LONG_BYTES];
    size_t total = put_size(scratch, (uint64_t)count) + 1;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *text = PyList_GetItem(texts, i);
        if (!PyBytes_Check(text))
            Py_RETURN_NONE;
        Py_ssize_t size = PyBytes_Size(text);
        total += put_size(scratch, (uint64_t)size) + (size_t)size;
    }
    PyObject *made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)total);
    if (made == NULL)
        return NULL;
    unsigned char *out = (unsigned char *)PyBytes_AsString(made);
    out += put_size(out, (uint64_t)count);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *text = PyList_GetItem(texts, i);
        size_t size = (size_t)PyBytes_Size(text);
        out += put_size(out, size);
        memcpy(out, PyBytes_AsString(text), size);
        out += size;
    }
    *out = 0;
    return made;
}

static int is_utf8(const char *data, Py_ssize_t size)
{
    PyObject *text = PyUnicode_DecodeUTF8(data, size, "strict");
    if (text == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(text);
    return 1;
}

PyDoc_STRVAR(are_plain_doc,
             "are_plain(texts, brackets): whether each of a list of bytes is UTF-8 without NUL, with at most so many\n"
             "opening brackets, of lists and objects together.");

static PyObject *are_plain(PyObject *module, PyObject *args)
{
    PyObject *texts;
    Py_ssize_t brackets;
    (void)module;
    if (!PyArg_ParseTuple(args, "On", &texts, &brackets))
        return NULL;
    if (!PyList_Check(texts))
        Py_RETURN_FALSE;
    for (Py_ssize_t i = 0; i < PyList_Size(texts); i++) {
        PyObject *text = PyList_GetItem(texts, i);
        if (!PyBytes_Check(text))
            Py_RETURN_FALSE;
        const unsigned char *data = (const unsigned char *)PyBytes_AsString(text);
        Py_ssize_t size = PyBytes_Size(text), opened = 0;
        unsigned char seen = 0, nul = 0;
        for (Py_ssize_t at = 0; at < size; at++) {
            seen |= data[at];
            nul |= data[at] == 0;
            opened += (data[at] == '{') | (data[at] == '[');
        }
        int valid = seen < 0x80 ? 1 : is_utf8((const char *)data, size);
        if (valid < 0)
            return NULL;
        if (!valid || nul || opened > brackets)
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

static uint32_t murmur2(const unsigned char *key, Py_ssize_t size)
{
    const uint32_t m = 0x5BD1E995u;
    uint32_t h = 0x9747B28Cu ^ (uint32_t)size;
    for (; size >= 4; key += 4, size -= 4) {
        uint32_t k = (key[0] | (uint32_t)key[1] << 8 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 24) * m;
        h = h * m ^ (k ^ k >> 24) * m;
    }
    if (size > 0) {
        for (Py_ssize_t at = 0; at < size; at++)
            h ^= (uint32_t)key[at] << 8 * at;
        h *= m;
    }
    h = (h ^ h >> 13) * m;
    return h ^ h >> 15;
}

PyDoc_STRVAR(partitions_doc, "partitions(ids, count): of each of a list of str, as int32 in a bytearray.");

static PyObject *partitions(PyObject *module, PyObject *args)
{
    PyObject *ids;
    int count;
    (void)module;
    if (!PyArg_ParseTuple(args, "Oi", &ids, &count))
        return NULL;
    if (!PyList_Check(ids) || count < 1)
        Py_RETURN_NONE;
    PyObject *made = PyByteArray_FromStringAndSize(NULL, 4 * PyList_Size(ids));
    if (made == NULL)
        return NULL;
    char *out = PyByteArray_AsString(made);
    for (Py_ssize_t i = 0; i < PyList_Size(ids); i++) {
        PyObject *id = PyList_GetItem(ids, i);
        Py_ssize_t size;
        const char *key = PyUnicode_Check(id) ? PyUnicode_AsUTF8AndSize(id, &size) : NULL;
        if (key == NULL) { /* a lone surrogate, or no text */
            PyErr_Clear();
            Py_DECREF(made);
            Py_RETURN_NONE;
        }
        int32_t partition = (int32_t)((murmur2((const unsigned char *)key, size) & 0x7FFFFFFFu) % (uint32_t)count);
        memcpy(out + 4 * i, &partition, 4);
    }
    return made;
}

PyDoc_STRVAR(tails_doc,
             "tails(texts, size, taken): the size bytes before the last one of each of a list of bytes, joined; zeros\n"
             "instead where the byte of taken is 0.");

static PyObject *tails(PyObject *module, PyObject *args)
{
    PyObject *texts, *taken;
    Py_ssize_t size;
    (void)module;
    if (!PyArg_ParseTuple(args, "OnS", &texts, &size, &taken))
        return NULL;
    Py_ssize_t count = PyList_Check(texts) ? PyList_Size(texts) : -1;
    if (size < 1 || count != PyBytes_Size(taken) || count > PY_SSIZE_T_MAX / size)
        Py_RETURN_NONE;
    PyObject *made = PyByteArray_FromStringAndSize(NULL, count * size);
    if (made == NULL)
        return NULL;
    char *out = PyByteArray_AsString(made), *flags = PyBytes_AsString(taken);
    for (Py_ssize_t i = 0; i < count; i++, out += size) {
        PyObject *text = PyList_GetItem(texts, i);
        if (!flags[i]) {
            memset(out, 0, (size_t)size);
        } else if (PyBytes_Check(text) && PyBytes_Size(text) > size) {
            memcpy(out, PyBytes_AsString(text) + PyBytes_Size(text) - 1 - size, (size_t)size);
        } else {
            Py_DECREF(made);
            Py_RETURN_NONE;
        }
    }
    return made;
}

/* The UTF-8 of a bytes or a str, or NULL where it is neither, or longer than an int32 can say. */
static const char *text_of(PyObject *texts, int64_t row, Py_ssize_t *size)
{
    PyObject *text = row >= 0 && row < PyList_Size(texts) ? PyList_GetItem(texts, (Py_ssize_t)row) : NULL;
    const char *data = NULL;
    if (text != NULL && PyBytes_Check(text)) {
        data = PyBytes_AsString(text);
        *size = PyBytes_Size(text);
    } else if (text != NULL && PyUnicode_Check(text)) {
        data = PyUnicode_AsUTF8AndSize(text, size);
        if (data == NULL) /* a lone surrogate */
            PyErr_Clear();
    }
    return data != NULL && *size <= INT32_MAX ? data : NULL;
}

PyDoc_STRVAR(sized_texts_doc,
             "sized_texts(texts, order): texts of a list of bytes or str, in the order of the int64 in the bytes order,\n"
             "each behind its size as a big-endian int32: the elements of an array in PostgreSQL's binary format.");

static PyObject *sized_texts(PyObject *module, PyObject *args)
{
    PyObject *texts, *order;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!S", &PyList_Type, &texts, &order))
        return NULL;
    Py_ssize_t count = PyBytes_Size(order) / (Py_ssize_t)sizeof(int64_t), total = 0, size;
    const char *rows = PyBytes_AsString(order), *text;
    int64_t row;
    for (Py_ssize_t i = 0; i < count; i++, total += 4 + size) {
        memcpy(&row, rows + i * (Py_ssize_t)sizeof row, sizeof row);
        if (text_of(texts, row, &size) == NULL)
            Py_RETURN_NONE;
    }
    PyObject *made = PyBytes_FromStringAndSize(NULL, total);
    char *out = made == NULL ? NULL : PyBytes_AsString(made);
    for (Py_ssize_t i = 0; made != NULL && i < count; i++, out += size) {
        memcpy(&row, rows + i * (Py_ssize_t)sizeof row, sizeof row);
        text = text_of(texts, row, &size);
        for (int shift = 24; shift >= 0; shift -= 8)
            *out++ = (char)(size >> shift);
        memcpy(out, text, (size_t)size);
    }
    return made;
}

static PyMethodDef functions[] = {
    {"read_strings", read_strings, METH_VARARGS, read_strings_doc},
    {"encode_strings", encode_strings, METH_O, encode_strings_doc},
    {"are_plain", are_plain, METH_VARARGS, are_plain_doc},
    {"partitions", partitions, METH_VARARGS, partitions_doc},
    {"tails", tails, METH_VARARGS, tails_doc},
    {"sized_texts", sized_texts, METH_VARARGS, sized_texts_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_columns", .m_methods = functions,
                                        .m_doc = "Lists of texts in one pass.", .m_slots = slots};

PyMODINIT_FUNC PyInit__columns(void) { return PyModuleDef_Init(&definition); }
