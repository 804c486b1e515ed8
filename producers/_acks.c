/* What a published record, or a batch of them, waits for: called by the Kafka client with its delivery reports.

   A hundred thousand of these live at once. Python's own objects are looked through for garbage again and again, these
   are not: whatever they refer to does not refer back, but for the dict of what is pending and for waiters, and both let
   go of them with the last report. producers/acks.py holds the same in Python, for where nothing could be compiled, and
   says what each member means; tests hold both to each other. What is wrong with a report is left to Python. */

#define Py_LIMITED_API 0x030B0000 /* one build serves CPython 3.11 and newer */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>

typedef struct {
    PyObject_HEAD
    PyObject *book, *waiters;
    char done;
} Base;

typedef struct {
    Base base;
    PyObject *id, *error;
    long long partition, offset;
} Ack;

typedef struct {
    Base base;
    PyObject *first_id;
    PyObject *offsets; /* dict: partition -> highest offset */
    Py_ssize_t sent, acknowledged, failures;
} BatchAck;

static PyObject *name_partition, *name_offset, *name_partitions, *name_pending, *name_wake, *name_unplaced, *name_fail;

/* The number that ``owner.name()`` (``owner.name`` where ``call`` is 0) says; -1 for what is no number. */
static int number_of(PyObject *owner, PyObject *name, int call, long long *number)
{
    PyObject *found = call ? PyObject_CallMethodObjArgs(owner, name, NULL) : PyObject_GetAttr(owner, name);
    if (found == NULL)
        return -1;
    *number = PyLong_CheckExact(found) ? PyLong_AsLongLong(found) : -1;
    Py_DECREF(found);
    if (*number == -1 && PyErr_Occurred())
        PyErr_Clear(); /* beyond 64 bits */
    return 0;
}

/* Reads a report of ``self``. 1: it lies where it should; 0: ``_unplaced`` was told that it does not; -1: an exception. */
static int take_report(Base *self, PyObject *args, PyObject *kwargs, long long *partition, long long *offset)
{
    PyObject *error, *message;
    long long partitions;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "a delivery report has no arguments by name");
        return -1;
    }
    if (!PyArg_UnpackTuple(args, "report", 2, 2, &error, &message) ||
        number_of(message, name_partition, 1, partition) < 0 || number_of(message, name_offset, 1, offset) < 0 ||
        number_of(self->book, name_partitions, 0, &partitions) < 0)
        return -1;
    if (error == Py_None && *offset >= 0 && *partition >= 0 && *partition < partitions)
        return 1;
    PyObject *done = PyObject_CallMethodObjArgs((PyObject *)self, name_unplaced, error, message, NULL);
    Py_XDECREF(done);
    return done == NULL ? -1 : 0;
}

/* The result is known. None, or NULL with an exception. */
static PyObject *finish(Base *self)
{
    self->done = 1;
    PyObject *pending = PyObject_GetAttr(self->book, name_pending);
    if (pending == NULL)
        return NULL;
    int status = PyDict_DelItem(pending, (PyObject *)self);
    Py_DECREF(pending);
    if (status < 0) {
        if (!PyErr_ExceptionMatches(PyExc_KeyError))
            return NULL;
        PyErr_Clear();
    }
    if (self->waiters != NULL && self->waiters != Py_None)
        return PyObject_CallMethodObjArgs((PyObject *)self, name_wake, NULL);
    Py_RETURN_NONE;
}

static PyObject *ack_report(Ack *self, PyObject *args, PyObject *kwargs)
{
    long long partition, offset;
    int taken = take_report(&self->base, args, kwargs, &partition, &offset);
    if (taken < 0)
        return NULL;
    self->partition = partition;
    self->offset = offset;
    return finish(&self->base);
}

static int keep_highest(PyObject *offsets, long long partition, long long offset)
{
    PyObject *key = PyLong_FromLongLong(partition), *value = NULL;
    int status = -1;
    if (key != NULL) {
        PyObject *held = PyDict_GetItemWithError(offsets, key);
        if (held == NULL && PyErr_Occurred())
            status = -1;
        else if (held != NULL && PyLong_AsLongLong(held) >= offset)
            status = 0;
        else if ((value = PyLong_FromLongLong(offset)) != NULL)
            status = PyDict_SetItem(offsets, key, value);
    }
    Py_XDECREF(value);
    Py_XDECREF(key);
    return status;
}

static PyObject *finish_if_complete(BatchAck *self, PyObject *Py_UNUSED(nothing))
{
    if (self->acknowledged != self->sent || self->base.done)
        Py_RETURN_NONE;
    if (self->failures > 0) { /* before anybody is woken, who would ask for the result */
        PyObject *noted = PyObject_CallMethodObjArgs(self->base.book, name_fail, self, NULL);
        if (noted == NULL)
            return NULL;
        Py_DECREF(noted);
    }
    return finish(&self->base);
}

static PyObject *batch_report(BatchAck *self, PyObject *args, PyObject *kwargs)
{
    long long partition, offset;
    int taken = take_report(&self->base, args, kwargs, &partition, &offset);
    if (taken < 0 || (taken == 1 && keep_highest(self->offsets, partition, offset) < 0))
        return NULL;
    self->failures += !taken;
    self->acknowledged++;
    return finish_if_complete(self, NULL);
}

static PyObject *allocate(PyTypeObject *type, PyObject *args, PyObject *kwargs, PyObject **id)
{
    PyObject *book;
    if (kwargs != NULL && PyDict_Size(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "there are no arguments by name");
        return NULL;
    }
    if (!PyArg_UnpackTuple(args, "ack", 2, 2, &book, id))
        return NULL;
    Base *self = (Base *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL)
        return NULL;
    self->book = Py_NewRef(book); /* the rest is zero */
    if (PyType_GetFlags(type) & Py_TPFLAGS_HAVE_GC) /* as of every class that is made in Python */
        PyObject_GC_UnTrack(self);
    return (PyObject *)self;
}

static PyObject *ack_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *id;
    Ack *self = (Ack *)allocate(type, args, kwargs, &id);
    if (self != NULL)
        self->id = Py_NewRef(id);
    return (PyObject *)self;
}

static PyObject *batch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *first_id;
    BatchAck *self = (BatchAck *)allocate(type, args, kwargs, &first_id);
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

#define BASE_MEMBERS                                                                                                   \
    {"_book", T_OBJECT, offsetof(Base, book), READONLY, NULL}, {"_done", T_BOOL, offsetof(Base, done), 0, NULL},       \
    {                                                                                                                  \
        "_waiters", T_OBJECT, offsetof(Base, waiters), 0, NULL                                                         \
    }

static PyMemberDef ack_members[] = {
    BASE_MEMBERS,
    {"id", T_OBJECT, offsetof(Ack, id), READONLY, NULL},
    {"_error", T_OBJECT, offsetof(Ack, error), 0, NULL},
    {"_partition", T_LONGLONG, offsetof(Ack, partition), READONLY, NULL},
    {"_offset", T_LONGLONG, offsetof(Ack, offset), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMemberDef batch_members[] = {
    BASE_MEMBERS,
    {"first_id", T_OBJECT, offsetof(BatchAck, first_id), READONLY, NULL},
    {"_offsets", T_OBJECT, offsetof(BatchAck, offsets), READONLY, NULL},
    {"_sent", T_PYSSIZET, offsetof(BatchAck, sent), 0, NULL},
    {"_failures", T_PYSSIZET, offsetof(BatchAck, failures), READONLY, NULL},
    {"_acknowledged", T_PYSSIZET, offsetof(BatchAck, acknowledged), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef ack_methods[] = {
    {"_finish", (PyCFunction)(void (*)(void))finish, METH_NOARGS, "The result is known."},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef batch_methods[] = {
    {"_finish_if_complete", (PyCFunction)(void (*)(void))finish_if_complete, METH_NOARGS, "Finish after the last."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ack_slots[] = {
    {Py_tp_doc, "Of one record; see acks.py."}, {Py_tp_new, ack_new},         {Py_tp_call, ack_report},
    {Py_tp_dealloc, ack_release},               {Py_tp_members, ack_members}, {Py_tp_methods, ack_methods},
    {0, NULL},
};

static PyType_Slot batch_slots[] = {
    {Py_tp_doc, "Of a batch; see acks.py."}, {Py_tp_new, batch_new},         {Py_tp_call, batch_report},
    {Py_tp_dealloc, batch_release},          {Py_tp_members, batch_members}, {Py_tp_methods, batch_methods},
    {0, NULL},
};

static PyType_Spec specs[] = {
    {"vecferry.producers._acks.Ack", sizeof(Ack), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, ack_slots},
    {"vecferry.producers._acks.BatchAck", sizeof(BatchAck), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, batch_slots},
};

static int fill(PyObject *module)
{
    struct {
        PyObject **place;
        const char *text;
    } names[] = {
        {&name_partition, "partition"}, {&name_offset, "offset"}, {&name_partitions, "partitions"},
        {&name_pending, "pending"},     {&name_wake, "_wake"},    {&name_unplaced, "_unplaced"},
        {&name_fail, "fail"},
    };
    for (size_t at = 0; at < sizeof names / sizeof *names; at++)
        if (*names[at].place == NULL && (*names[at].place = PyUnicode_InternFromString(names[at].text)) == NULL)
            return -1;
    for (size_t at = 0; at < sizeof specs / sizeof *specs; at++) {
        PyObject *type = PyType_FromModuleAndSpec(module, &specs[at], NULL);
        int status = type == NULL ? -1 : PyModule_AddType(module, (PyTypeObject *)type);
        Py_XDECREF(type);
        if (status < 0)
            return -1;
    }
    return 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_acks", .m_doc = "Delivery reports.", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__acks(void) { return PyModuleDef_Init(&definition); }
