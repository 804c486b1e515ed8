/* The state of a delivery. A hundred thousand of these live at once, and Python's own objects are looked through for
   garbage again and again; these are not: whatever they refer to does not refer back, but for what is pending and for
   waiters, and both let go of them with the last report. producers/acks.py holds the same in Python, for where
   nothing could be compiled, and says what each member means; what else happens to them is in delivery.py. */

#include "_native.h"
#include <stddef.h>
#include <structmember.h>

PyTypeObject *ack_type, *batch_type;

static Base *allocate(PyTypeObject *type, PyObject *book)
{
    Base *self = (Base *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL)
        return NULL;
    self->book = Py_NewRef(book); /* the rest is zero */
    if (PyType_GetFlags(type) & Py_TPFLAGS_HAVE_GC) /* as of every class that is made in Python */
        PyObject_GC_UnTrack(self);
    return self;
}

Ack *new_ack(PyTypeObject *type, PyObject *book, PyObject *id)
{
    Ack *self = (Ack *)allocate(type, book);
    if (self != NULL)
        self->id = Py_NewRef(id);
    return self;
}

static int arguments(PyObject *args, PyObject *kwargs, PyObject **book, PyObject **id)
{
    if (kwargs == NULL || PyDict_Size(kwargs) == 0)
        return PyArg_UnpackTuple(args, "ack", 2, 2, book, id);
    PyErr_SetString(PyExc_TypeError, "there are no arguments by name");
    return 0;
}

static PyObject *ack_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *book, *id;
    return arguments(args, kwargs, &book, &id) ? (PyObject *)new_ack(type, book, id) : NULL;
}

static PyObject *batch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *book, *first_id;
    BatchAck *self = arguments(args, kwargs, &book, &first_id) ? (BatchAck *)allocate(type, book) : NULL;
    if (self == NULL)
        return NULL;
    self->first_id = Py_NewRef(first_id);
    self->offsets = PyDict_New();
    if (self->offsets == NULL)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static void release(Base *self)
{
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    Py_XDECREF(self->book);
    Py_XDECREF(self->waiters);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static void ack_release(Ack *self)
{
    Py_XDECREF(self->id);
    Py_XDECREF(self->error);
    release(&self->base);
}

static void batch_release(BatchAck *self)
{
    Py_XDECREF(self->first_id);
    Py_XDECREF(self->offsets);
    release(&self->base);
}

static int keep_highest(PyObject *offsets, int32_t partition, int64_t offset)
{
    PyObject *key = PyLong_FromLong(partition), *value = PyLong_FromLongLong(offset);
    PyObject *held = key == NULL || value == NULL ? NULL : PyDict_GetItemWithError(offsets, key);
    int status = PyErr_Occurred() ? -1 : 0;
    if (status == 0 && (held == NULL || PyLong_AsLongLong(held) < offset))
        status = PyDict_SetItem(offsets, key, value);
    Py_XDECREF(value);
    Py_XDECREF(key);
    return status;
}

/* The record of ``delivery``, or one of them, lies where ``report`` says. Runs no Python: TO_BE_TOLD where waiters are to be
   woken or a batch that failed is complete; FAILED with an exception. */
enum Success succeed(PyObject *delivery, const Report *report)
{
    Base *base = (Base *)delivery;
    if (PyObject_TypeCheck(delivery, batch_type)) {
        BatchAck *batch = (BatchAck *)delivery;
        if (keep_highest(batch->offsets, report->partition, report->offset) < 0)
            return FAILED;
        batch->acknowledged++;
        if (batch->acknowledged != batch->sent)
            return SILENT;
        if (batch->failures > 0)
            return TO_BE_TOLD;
    }
    else {
        ((Ack *)delivery)->partition = report->partition;
        ((Ack *)delivery)->offset = report->offset;
    }
    base->done = 1; /* before waiters are looked for */
    return base->waiters == NULL || base->waiters == Py_None ? SILENT : TO_BE_TOLD;
}

#define BASE_MEMBERS                                                                                                   \
    {"_book", T_OBJECT, offsetof(Base, book), READONLY, NULL}, {"_done", T_BOOL, offsetof(Base, done), 0, NULL},       \
    {                                                                                                                  \
        "_waiters", T_OBJECT, offsetof(Base, waiters), 0, NULL                                                         \
    }

static PyMemberDef ack_members[] = {
    BASE_MEMBERS,
    {"id", T_OBJECT, offsetof(Ack, id), READONLY, NULL},
    {"_error", T_OBJECT, offsetof(Ack, error), 0, NULL},
    {"_partition", T_INT, offsetof(Ack, partition), 0, NULL},
    {"_offset", T_LONGLONG, offsetof(Ack, offset), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMemberDef batch_members[] = {
    BASE_MEMBERS,
    {"first_id", T_OBJECT, offsetof(BatchAck, first_id), READONLY, NULL},
    {"_offsets", T_OBJECT, offsetof(BatchAck, offsets), READONLY, NULL},
    {"taken", T_PYSSIZET, offsetof(BatchAck, taken), 0, NULL},
    {"_sent", T_PYSSIZET, offsetof(BatchAck, sent), 0, NULL},
    {"_acknowledged", T_PYSSIZET, offsetof(BatchAck, acknowledged), 0, NULL},
    {"_failures", T_PYSSIZET, offsetof(BatchAck, failures), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot ack_slots[] = {
    {Py_tp_doc, "Of one record; see acks.py."}, {Py_tp_new, ack_new}, {Py_tp_dealloc, ack_release},
    {Py_tp_members, ack_members},               {0, NULL},
};

static PyType_Slot batch_slots[] = {
    {Py_tp_doc, "Of a batch; see acks.py."}, {Py_tp_new, batch_new}, {Py_tp_dealloc, batch_release},
    {Py_tp_members, batch_members},          {0, NULL},
};

static PyType_Spec ack_spec = {"vecferry.producers._native.Ack", sizeof(Ack), 0,
                               Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, ack_slots};
static PyType_Spec batch_spec = {"vecferry.producers._native.BatchAck", sizeof(BatchAck), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, batch_slots};

int add_acks(PyObject *module)
{
    return add_type(module, &ack_spec, &ack_type) < 0 ? -1 : add_type(module, &batch_spec, &batch_type);
}
