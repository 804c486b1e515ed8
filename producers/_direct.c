/* Records to the Kafka client and acknowledgements from it, without a Python object for each.

   The Python client makes a message of every delivery report and calls its owner, which is a good part of what publishing
   costs. This module is a plug-in (_intercept.c) of the client that Python made: records go to its ``rd_kafka_produce``,
   and whoever polls the client takes in afterwards what the plug-in noted (``drain``, in _answers.c). Addresses come from
   sending.py, so nothing is linked. */

#include "_native.h"
#include <stdlib.h>

enum { ANY_PARTITION = -1, COPY = 2 };

PyDoc_STRVAR(attach_doc, "attach(make, /)\n--\n\n"
                         "What ``make()`` returns, a client whose configuration names this library. One at a time.");

static PyObject *attach(Direct *self, PyObject *make)
{
    awaiting = self->shared;
    PyObject *client = PyObject_CallNoArgs(make);
    awaiting = NULL;
    if (client != NULL && self->shared->client == NULL) {
        Py_CLEAR(client);
        PyErr_SetString(PyExc_ValueError, "the client did not take the plug-in");
    }
    return client;
}

PyDoc_STRVAR(open_doc, "open(topic, /)\n--\n\nName the topic; after ``attach``. Ended by ``close``.");

static PyObject *open_topic(Direct *self, PyObject *name)
{
    const char *text = PyUnicode_AsUTF8AndSize(name, NULL);
    if (text == NULL)
        return NULL;
    if (self->shared->client != NULL && self->book != NULL && self->topic == NULL)
        self->topic = self->shared->kafka.topic_new(self->shared->client, text, NULL);
    if (self->topic == NULL)
        return PyErr_Format(PyExc_ValueError, "the client did not take the topic %s", text);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(close_doc, "close()\n--\n\nLet go of the topic; before the client is closed. Idempotent.");

static PyObject *close_topic(Direct *self, PyObject *Py_UNUSED(nothing))
{
    void *topic = self->topic;
    self->topic = self->shared->client = NULL;
    if (topic != NULL)
        self->shared->kafka.topic_destroy(topic);
    Py_CLEAR(self->book); /* it leads back to who has this, which the collector of garbage would not see */
    Py_RETURN_NONE;
}

/* Makes ``delivery`` pending for the record and hands it over. 0, or the client's error, after which it is not pending; or
   -1 with an exception. Between both no other thread of Python runs. */
static int hand_over(Direct *self, PyObject *delivery, const char *value, Py_ssize_t size, Span key)
{
    const Kafka *kafka = &self->shared->kafka;
    const int closed = -197; /* RD_KAFKA_RESP_ERR__DESTROY */
    const uint64_t record = counter_of(value + self->shared->event_id_at);
    int error = 0;
    if (add_pending(&self->pending, record, delivery) < 0) { /* before it can be reported */
        PyErr_NoMemory();
        return -1;
    }
    if (self->topic == NULL)
        error = closed;
    else if (kafka->produce(self->topic, ANY_PARTITION, COPY, (void *)value, (size_t)size, key.data, (size_t)key.size,
                            NULL))
        error = kafka->last_error();
    if (error)
        Py_XDECREF(take_pending(&self->pending, record));
    else if (PyObject_TypeCheck(delivery, batch_type))
        ((BatchAck *)delivery)->taken++; /* here, where nobody can be interrupted in between */
    return error;
}

PyDoc_STRVAR(send_doc, "send(key, value, delivery, /)\n--\n\n"
                       "Hand a record to the client; ``delivery``, an Ack or BatchAck, is pending until ``drain``.\n"
                       "Raises what ``refuse`` makes of the client's error; then it is not pending for this record.");

static PyObject *send_record(Direct *self, PyObject *const *args, Py_ssize_t count)
{
    Span key, value;
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "send takes key, value and delivery");
    if (span_of(args[0], &key) < 0 || span_of(args[1], &value) < 0)
        return NULL;
    if ((size_t)value.size < self->shared->event_id_at + EVENT_ID_BYTES ||
        !(PyObject_TypeCheck(args[2], ack_type) || PyObject_TypeCheck(args[2], batch_type)))
        return PyErr_Format(PyExc_ValueError, "send takes an event, and a delivery of this module");
    int error = hand_over(self, args[2], value.data, value.size, key);
    if (error == 0)
        Py_RETURN_NONE;
    if (!PyErr_Occurred())
        Py_XDECREF(PyObject_CallFunction(self->refuse, "i", error));
    return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_SystemError, "the client's error %d was not raised", error);
}

/* Room for a value of ``size`` bytes, or -1 with an exception. */
static int reserve(Direct *self, Py_ssize_t size)
{
    if (size <= self->room)
        return 0;
    char *value = realloc(self->value, (size_t)size);
    if (value == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->value = value;
    self->room = size;
    return 0;
}

PyDoc_STRVAR(upsert_doc, "upsert(id, vector, metadata, unix_s, /)\n--\n\n"
                         "The delivery of a plain row, which is on its way; None, and nothing sent, where Python must\n"
                         "decide: the row is not plain, or the client did not take it.");

static PyObject *upsert(Direct *self, PyObject *const *args, Py_ssize_t count)
{
    Row row;
    Held held;
    if (count != 4)
        return PyErr_Format(PyExc_TypeError, "upsert takes id, vector, metadata and unix_s");
    if (self->encoder == Py_None)
        Py_RETURN_NONE;
    PlainEncoder *encoder = (PlainEncoder *)self->encoder;
    int plain = plain_row(encoder, args[0], args[1], args[2], args[3], &row, &held);
    if (plain < 0)
        return NULL;
    if (!plain)
        Py_RETURN_NONE;
    PyObject *book = self->book; /* another thread may close this where Python runs: above, and where memory is got */
    if (book == NULL) {
        release_row(&held);
        Py_RETURN_NONE;
    }
    Py_INCREF(book);
    Py_ssize_t size = size_of_record(encoder, &row);
    PyObject *delivery = (PyObject *)new_ack(self->delivery, book, args[0]);
    Py_DECREF(book);
    int error = -1;
    if (delivery != NULL && reserve(self, size) == 0) {
        write_record(encoder, &row, self->value);
        error = hand_over(self, delivery, self->value, size, row.key);
    }
    release_row(&held);
    if (error == 0)
        return delivery;
    Py_XDECREF(delivery);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* 0, or nothing was sent: the client's error, or -1 with an exception. */
static int send_row(Direct *self, PyObject *batch, Rows *rows, Py_ssize_t at)
{
    PlainEncoder *encoder = (PlainEncoder *)self->encoder;
    if (take_row(encoder, rows, at) < 0)
        return -1;
    Py_ssize_t size = size_of_record(encoder, &rows->row);
    if (reserve(self, size) < 0)
        return -1;
    write_record(encoder, &rows->row, self->value);
    return hand_over(self, batch, self->value, size, rows->row.key);
}

PyDoc_STRVAR(send_rows_doc, "send_rows(batch, keys, vectors, metadata, unix_s, start, stop, /)\n--\n\n"
                            "Hand over what ``PlainEncoder.records`` makes of these: how many the client took. From the\n"
                            "first on that it did not take, rows are left to Python.");

static PyObject *send_rows(Direct *self, PyObject *const *args, Py_ssize_t count)
{
    Rows rows;
    Py_ssize_t start, stop;
    if (count != 7 || !PyObject_TypeCheck(args[0], batch_type) || self->encoder == Py_None)
        return PyErr_Format(PyExc_TypeError, "send_rows takes a batch and rows, and needs an encoder");
    if (open_rows((PlainEncoder *)self->encoder, args + 1, &start, &stop, &rows) < 0)
        return NULL;
    Py_ssize_t at = start;
    while (at < stop && send_row(self, args[0], &rows, at) == 0)
        at++;
    PyBuffer_Release(&rows.view);
    PyErr_Clear(); /* how many were taken counts; what was wrong shows again */
    return PyLong_FromSsize_t(at - start);
}

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"functions", "event_id_at", "partitions", "refuse", "book", "delivery", "encoder", NULL};
    unsigned long long at[8];
    Py_ssize_t event_id_at;
    int partitions;
    PyObject *refuse, *book, *delivery, *encoder;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "$(KKKKKKKK)niOOO!O", names, &at[0], &at[1], &at[2], &at[3], &at[4],
                                     &at[5], &at[6], &at[7], &event_id_at, &partitions, &refuse,
                                     &book, &PyType_Type, &delivery, &encoder))
        return NULL;
    if (event_id_at < 0 || partitions < 1 || !PyType_IsSubtype((PyTypeObject *)delivery, ack_type) ||
        (encoder != Py_None && !PyObject_TypeCheck(encoder, encoder_type)))
        return PyErr_Format(PyExc_ValueError, "these are no arguments of a Direct");
    const Kafka kafka = {(void *)at[0], (void *)at[1], (void *)at[2], (void *)at[3],
                         (void *)at[4], (void *)at[5], (void *)at[6], (void *)at[7]};
    Direct *self = (Direct *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL)
        return NULL;
    self->refuse = Py_NewRef(refuse);
    self->encoder = Py_NewRef(encoder);
    self->book = Py_NewRef(book);
    self->delivery = (PyTypeObject *)Py_NewRef(delivery);
    self->shared = new_shared(&kafka, (size_t)event_id_at, partitions);
    self->untold = PyList_New(0);
    if (self->shared == NULL || self->untold == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void release(Direct *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->shared != NULL)
        let_go(self->shared);
    release_pending(&self->pending);
    Py_XDECREF(self->untold);
    free(self->value);
    Py_XDECREF(self->refuse);
    Py_XDECREF(self->encoder);
    Py_XDECREF(self->book);
    Py_XDECREF((PyObject *)self->delivery);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"attach", (PyCFunction)(void (*)(void))attach, METH_O, attach_doc},
    {"open", (PyCFunction)(void (*)(void))open_topic, METH_O, open_doc},
    {"close", (PyCFunction)(void (*)(void))close_topic, METH_NOARGS, close_doc},
    {"upsert", (PyCFunction)(void (*)(void))upsert, METH_FASTCALL, upsert_doc},
    {"send_rows", (PyCFunction)(void (*)(void))send_rows, METH_FASTCALL, send_rows_doc},
    {"send", (PyCFunction)(void (*)(void))send_record, METH_FASTCALL, send_doc},
    {"mark", (PyCFunction)(void (*)(void))mark, METH_NOARGS, mark_doc},
    {"last", (PyCFunction)(void (*)(void))last, METH_O, last_doc},
    {"pending", (PyCFunction)(void (*)(void))all_pending, METH_NOARGS, pending_doc},
    {"untold", (PyCFunction)(void (*)(void))first_untold, METH_NOARGS, untold_doc},
    {"told", (PyCFunction)(void (*)(void))told, METH_O, told_doc},
    {"drain", (PyCFunction)(void (*)(void))drain, METH_NOARGS, drain_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot type_slots[] = {
    {Py_tp_doc, "A topic of one Kafka client. Thread-safe, but for ``drain``."},
    {Py_tp_new, make},
    {Py_tp_dealloc, release},
    {Py_tp_methods, methods},
    {0, NULL},
};

static PyType_Spec type_spec = {"vecferry.producers._native.Direct", sizeof(Direct), 0, Py_TPFLAGS_DEFAULT, type_slots};

int add_direct(PyObject *module)
{
    PyTypeObject *type;
    return add_type(module, &type_spec, &type);
}
