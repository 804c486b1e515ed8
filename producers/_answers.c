/* What became of records, from what the plug-in noted (_intercept.c) to the deliveries, and what still waits. A plain success
   is taken in here; anything else is handed to Python, which decides and explains. */

#include "_native.h"

/* What Python has to tell the delivery of a record. */
static int leave(Direct *self, PyObject *delivery, const Report *report)
{
    PyObject *told = report->success ? Py_BuildValue("(KOO)", (unsigned long long)report->record, delivery, Py_None)
                                     : Py_BuildValue("(KO(iyiLy#))", (unsigned long long)report->record, delivery,
                                                     report->error, report->text, report->partition,
                                                     (long long)report->offset, report->key,
                                                     (Py_ssize_t)report->key_size);
    int status = told == NULL ? -1 : PyList_Append(self->untold, told);
    Py_XDECREF(told);
    return status;
}

/* A record about which Python has to do something stays pending until ``told``. */
static int deliver(Direct *self, const Report *report)
{
    PyObject *delivery = get_pending(&self->pending, report->record);
    if (delivery == NULL)
        return 0; /* the client did not take it, and said so at once */
    Py_INCREF(delivery);
    enum Success success = report->success ? succeed(delivery, report) : TO_BE_TOLD;
    int status = success == TO_BE_TOLD ? leave(self, delivery, report) : success == FAILED ? -1 : 0;
    if (success == SILENT)
        Py_XDECREF(take_pending(&self->pending, report->record));
    Py_DECREF(delivery);
    return status;
}

const char pending_doc[] = PyDoc_STR(
    "pending()\n--\n\nWhat is on its way: a list of (number of records before it, delivery).");

PyObject *all_pending(Direct *self, PyObject *Py_UNUSED(nothing)) { return list_pending(&self->pending); }

const char mark_doc[] = PyDoc_STR(
    "mark()\n--\n\nA number that parts what was handed over before from what comes later.");

PyObject *mark(Direct *self, PyObject *Py_UNUSED(nothing))
{
    return PyLong_FromUnsignedLongLong(self->pending.added);
}

const char last_doc[] = PyDoc_STR(
    "last(mark, /)\n--\n\n"
    "What waits for the last record before ``mark`` that has no result yet; or None.");

PyObject *last(Direct *self, PyObject *mark)
{
    unsigned long long before = PyLong_AsUnsignedLongLong(mark);
    if (PyErr_Occurred())
        return NULL;
    PyObject *delivery = last_pending(&self->pending, before);
    return Py_NewRef(delivery == NULL ? Py_None : delivery);
}

const char drain_doc[] = PyDoc_STR(
    "drain()\n--\n\n"
    "Take in what the client said; runs no Python. False if some of it was lost for want of memory.");

PyObject *drain(Direct *self, PyObject *Py_UNUSED(nothing))
{
    Shared *shared = self->shared;
    PyThread_acquire_lock(shared->lock, WAIT_LOCK);
    Report *reports = shared->reports;
    size_t count = shared->count;
    int lost = shared->out_of_memory;
    shared->reports = NULL;
    shared->count = shared->room = 0;
    shared->out_of_memory = 0;
    PyThread_release_lock(shared->lock);
    for (size_t at = 0; at < count; at++)
        if (deliver(self, &reports[at]) < 0) {
            PyErr_Clear();
            lost = 1;
        }
    free_reports(reports, count);
    return PyBool_FromLong(!lost);
}

const char untold_doc[] = PyDoc_STR(
    "untold()\n--\n\n"
    "The first of what deliveries have to be told: counter of the record, delivery, and either None\n"
    "(it is done, or complete) or error code or 0, its text, partition, offset, key. Else None.");

PyObject *first_untold(Direct *self, PyObject *Py_UNUSED(nothing))
{
    return Py_NewRef(self->next < PyList_Size(self->untold) ? PyList_GetItem(self->untold, self->next) : Py_None);
}

const char told_doc[] = PyDoc_STR(
    "told(record, /)\n--\n\nWhat ``untold`` returned was told: the record is not pending any more.");

PyObject *told(Direct *self, PyObject *record)
{
    unsigned long long counter = PyLong_AsUnsignedLongLong(record);
    if (PyErr_Occurred() || PyList_SetItem(self->untold, self->next, Py_NewRef(Py_None)) < 0)
        return NULL;
    Py_XDECREF(take_pending(&self->pending, counter));
    if (++self->next == PyList_Size(self->untold)) {
        self->next = 0;
        if (PyList_SetSlice(self->untold, 0, PyList_Size(self->untold), NULL) < 0)
            return NULL;
    }
    Py_RETURN_NONE;
}
