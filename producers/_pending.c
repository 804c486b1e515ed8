/* Which delivery a record belongs to, for records on their way: a hash table with open addressing.

   Counters come one after the other, so 64 in a row are kept side by side, in the order in which they are asked for again;
   where such a piece lies is scattered, so that pieces of two encoders do not pile up. */

#include "_native.h"
#include <stdlib.h>

enum { FIRST_SLOTS = 1024, MANY_SLOTS = 16 * 1024, PIECE = 64 };

static size_t home_of(const Pending *pending, uint64_t record)
{
    uint64_t piece = record / PIECE * 0x9E3779B97F4A7C15ULL; /* the golden ratio: Knuth, TAOCP vol. 3, 6.4 */
    return (size_t)((piece >> 16) * PIECE + record % PIECE) & pending->mask;
}

static size_t find(const Pending *pending, uint64_t record)
{
    size_t at = home_of(pending, record);
    while (pending->slots[at].delivery != NULL && pending->slots[at].record != record)
        at = (at + 1) & pending->mask;
    return at;
}

static int grow(Pending *pending)
{
    size_t count = pending->slots == NULL ? FIRST_SLOTS : 2 * (pending->mask + 1);
    Pending grown = {calloc(count, sizeof(Slot)), count - 1, pending->used, pending->added};
    if (grown.slots == NULL)
        return -1;
    for (size_t at = 0; pending->slots != NULL && at <= pending->mask; at++)
        if (pending->slots[at].delivery != NULL)
            grown.slots[find(&grown, pending->slots[at].record)] = pending->slots[at];
    free(pending->slots);
    *pending = grown;
    return 0;
}

/* 0, or -1 where there is no memory for it. */
int add_pending(Pending *pending, uint64_t record, PyObject *delivery)
{
    if ((pending->slots == NULL || 2 * pending->used > pending->mask) && grow(pending) < 0)
        return -1;
    pending->slots[find(pending, record)] = (Slot){record, pending->added++, Py_NewRef(delivery)};
    pending->used++;
    return 0;
}

/* The delivery of ``record``, borrowed; NULL where none is pending. */
PyObject *get_pending(const Pending *pending, uint64_t record)
{
    return pending->slots == NULL ? NULL : pending->slots[find(pending, record)].delivery;
}

/* The delivery of ``record``, now the caller's; NULL where none is pending. */
PyObject *take_pending(Pending *pending, uint64_t record)
{
    if (pending->slots == NULL)
        return NULL;
    size_t hole = find(pending, record);
    PyObject *delivery = pending->slots[hole].delivery;
    if (delivery == NULL)
        return NULL;
    pending->used--;
    for (size_t at = (hole + 1) & pending->mask; pending->slots[at].delivery != NULL; at = (at + 1) & pending->mask) {
        size_t home = home_of(pending, pending->slots[at].record);
        if (((at - home) & pending->mask) >= ((at - hole) & pending->mask)) { /* it would not be found behind the hole */
            pending->slots[hole] = pending->slots[at];
            hole = at;
        }
    }
    pending->slots[hole].delivery = NULL;
    if (pending->used == 0 && pending->mask >= MANY_SLOTS) { /* or who looks for the last would look through all */
        free(pending->slots);
        pending->slots = NULL;
    }
    return delivery;
}

/* The delivery of the last of the first ``before`` that were added that is not done, borrowed; NULL where there is none. */
PyObject *last_pending(const Pending *pending, uint64_t before)
{
    const Slot *last = NULL;
    for (size_t at = 0, found = 0; found < pending->used; at++) {
        const Slot *slot = &pending->slots[at];
        found += slot->delivery != NULL;
        if (slot->delivery != NULL && slot->order < before && (last == NULL || slot->order > last->order) &&
            !((Base *)slot->delivery)->done)
            last = slot;
    }
    return last == NULL ? NULL : last->delivery;
}

/* A list of (order, delivery). Making it may run other threads, so it is made of a copy. */
PyObject *list_pending(const Pending *pending)
{
    const size_t count = pending->used;
    Slot *copy = malloc((count + 1) * sizeof *copy);
    if (copy == NULL)
        return PyErr_NoMemory();
    for (size_t at = 0, found = 0; found < count; at++)
        if (pending->slots[at].delivery != NULL) {
            copy[found] = pending->slots[at];
            Py_INCREF(copy[found++].delivery);
        }
    PyObject *all = PyList_New(0);
    for (size_t at = 0; at < count; at++) {
        PyObject *pair = all == NULL ? NULL : Py_BuildValue("(KO)", (unsigned long long)copy[at].order, copy[at].delivery);
        if (pair == NULL || PyList_Append(all, pair) < 0)
            Py_CLEAR(all);
        Py_XDECREF(pair);
        Py_DECREF(copy[at].delivery);
    }
    free(copy);
    return all;
}

void release_pending(Pending *pending)
{
    for (size_t at = 0; pending->slots != NULL && at <= pending->mask; at++)
        Py_XDECREF(pending->slots[at].delivery);
    free(pending->slots);
}
