/* What the files of the module _native share. */

#ifndef VECFERRY_NATIVE_H
#define VECFERRY_NATIVE_H

#define Py_LIMITED_API 0x030B0000 /* one build serves CPython 3.11 and newer */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

enum { EVENT_ID_BYTES = 16, COUNTER_AT = 8 }; /* random, then a big-endian counter */

int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **place);
int add_acks(PyObject *module);
int add_direct(PyObject *module);
int add_encoder(PyObject *module);

/* -- _acks.c: what a published record, or a batch of them, waits for -- */

typedef struct {
    PyObject_HEAD
    PyObject *book, *waiters;
    char done;
} Base;

typedef struct {
    Base base;
    PyObject *id, *error;
    int partition;
    long long offset;
} Ack;

typedef struct {
    Base base;
    PyObject *first_id;
    PyObject *offsets; /* dict: partition -> highest offset */
    Py_ssize_t taken, sent, acknowledged, failures;
} BatchAck;

extern PyTypeObject *ack_type, *batch_type; /* made by add_acks */

Ack *new_ack(PyTypeObject *type, PyObject *book, PyObject *id);

/* -- _intercept.c: what the threads of the Kafka client note -- */

typedef struct { /* rd_kafka_message_t */
    int error;
    void *topic;
    int32_t partition;
    void *value;
    size_t size;
    void *key;
    size_t key_size;
    int64_t offset;
    void *private;
} Message;

typedef int OnNew(void *client, const void *conf, void *opaque, char *text, size_t size);
typedef int OnAcknowledgement(void *client, Message *message, void *opaque);
typedef int OnConfDestroy(void *opaque);

typedef struct { /* functions of librdkafka; the names in the order of their addresses are in sending.py */
    int (*add_on_new)(void *conf, const char *name, OnNew *, void *opaque);
    int (*add_on_conf_destroy)(void *conf, const char *name, OnConfDestroy *, void *opaque);
    int (*add_on_acknowledgement)(void *client, const char *name, OnAcknowledgement *, void *opaque);
    const char *(*error_text)(const Message *);
    void *(*topic_new)(void *client, const char *name, void *conf);
    void (*topic_destroy)(void *topic);
    int (*produce)(void *topic, int32_t partition, int flags, void *value, size_t size, const void *key, size_t key_size,
                   void *opaque);
    int (*last_error)(void);
} Kafka;

typedef struct {
    uint64_t record; /* the counter in its event id */
    int64_t offset;
    int32_t partition, error;
    char success;
    char *key, *text; /* of what is no success; ``key`` is of ``key_size`` bytes, ``text`` ends with a zero */
    size_t key_size;
} Report;

typedef struct { /* lives until Python and the client's configuration have both let go of it */
    PyThread_type_lock lock;
    int owners;
    Kafka kafka;
    void *client;
    Report *reports;
    size_t count, room;
    int out_of_memory; /* a report was lost */
    size_t event_id_at;
    int32_t partitions;
    int64_t *made_up; /* by partition: the next offset that is none */
} Shared;

enum Success { FAILED = -1, SILENT, TO_BE_TOLD };

enum Success succeed(PyObject *delivery, const Report *report); /* of _acks.c */

extern Shared *awaiting; /* whose client is being made: under the interpreter's lock and one of sending.py */

Shared *new_shared(const Kafka *kafka, size_t event_id_at, int32_t partitions);
void let_go(Shared *shared);
void free_reports(Report *reports, size_t count);
uint64_t counter_of(const void *event_id);

/* -- _pending.c: which delivery a record belongs to; under the interpreter's lock -- */

typedef struct {
    uint64_t record, order; /* the latter: how many were added before */
    PyObject *delivery;     /* NULL where the slot is empty */
} Slot;

typedef struct {
    Slot *slots;
    size_t mask, used;
    uint64_t added;
} Pending;

int add_pending(Pending *pending, uint64_t record, PyObject *delivery);
PyObject *get_pending(const Pending *pending, uint64_t record);
PyObject *take_pending(Pending *pending, uint64_t record);
PyObject *last_pending(const Pending *pending, uint64_t before);
PyObject *list_pending(const Pending *pending);
void release_pending(Pending *pending);

/* -- _plain.c: rows that need no Python to be checked and encoded -- */

enum { MAX_LONG_BYTES = 10 };

typedef struct {
    PyObject_HEAD
    PyObject *prefix;        /* bytes: what every upsert of the collection starts with */
    PyObject *before_vector; /* bytes: no source text, and the vector's count */
    PyObject *fields;        /* frozenset of known metadata keys, or None */
    PyObject *dumps;         /* the JSON encoder, from a dict to bytes */
    Py_ssize_t dimension, max_id_bytes, max_metadata_bytes;
    int directed; /* cosine: a vector must have a direction */
    unsigned char event_id[EVENT_ID_BYTES]; /* of the next record */
} PlainEncoder;

typedef struct {
    const char *data;
    Py_ssize_t size;
} Span;

typedef struct { /* what a record is made of */
    Span key, metadata, occurred;
    const void *vector; /* 4 * dimension bytes */
    char time[MAX_LONG_BYTES];
} Row;

typedef struct { /* what a row points into */
    Py_buffer view;
    PyObject *text;
} Held;

typedef struct { /* rows whose parts were checked before */
    PyObject *keys, *texts; /* lists of bytes */
    Py_buffer view;         /* held */
    Row row;                /* the one that ``take_row`` was asked for */
} Rows;

extern PyTypeObject *encoder_type; /* made by add_encoder */

int span_of(PyObject *bytes, Span *span);
int occurred_at(PyObject *unix_s, Row *row);
int is_plain_key(const PlainEncoder *self, PyObject *id, Span *key);
int view_of(PlainEncoder *self, PyObject *vectors, int ndim, Py_buffer *view);
PyObject *plain_metadata(const PlainEncoder *self, PyObject *metadata);
int plain_row(PlainEncoder *self, PyObject *id, PyObject *vector, PyObject *metadata, PyObject *unix_s, Row *row,
              Held *held);
void release_row(Held *held);
Py_ssize_t size_of_record(PlainEncoder *self, const Row *row);
void write_record(PlainEncoder *self, const Row *row, char *out);
int open_rows(PlainEncoder *self, PyObject *const *args, Py_ssize_t *start, Py_ssize_t *stop, Rows *rows);
int take_row(PlainEncoder *self, Rows *rows, Py_ssize_t at);

/* -- _direct.c, and of it _answers.c: records to the client, and what it says of them -- */

typedef struct {
    PyObject_HEAD
    Shared *shared;
    void *topic;
    Pending pending;  /* Acks and BatchAcks */
    PyObject *untold; /* list; those before ``next`` were told */
    Py_ssize_t next;
    PyObject *refuse;       /* raises what an error code of the client means */
    PyObject *encoder;      /* PlainEncoder, or None */
    PyObject *book;         /* of the deliveries that are made here */
    PyTypeObject *delivery; /* their class, a kind of Ack */
    char *value;            /* of the row that is being sent: the client copies it */
    Py_ssize_t room;
} Direct;

PyObject *all_pending(Direct *self, PyObject *nothing);
PyObject *mark(Direct *self, PyObject *nothing);
PyObject *last(Direct *self, PyObject *mark);
PyObject *drain(Direct *self, PyObject *nothing);
PyObject *first_untold(Direct *self, PyObject *nothing);
PyObject *told(Direct *self, PyObject *record);
extern const char pending_doc[], mark_doc[], last_doc[], drain_doc[], untold_doc[], told_doc[];

#endif
