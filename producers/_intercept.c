/* The plug-in of librdkafka: it notes what becomes of each record.

   The interceptor runs in the client's own threads, without the interpreter, for every record that was acknowledged or
   given up. A record is known by the counter in its event id, which is unique within a publisher.

   Source: librdkafka, rdkafka.h, "Plugins" and "Interceptors". */

#include "_native.h"
#include <stdlib.h>
#include <string.h>

enum { NONE = -1, INVALID_OFFSET = -1001, FIRST_ROOM = 1024 };

Shared *awaiting;

uint64_t counter_of(const void *event_id)
{
    const unsigned char *bytes = event_id;
    uint64_t counter = 0;
    for (int at = COUNTER_AT; at < EVENT_ID_BYTES; at++)
        counter = counter << 8 | bytes[at];
    return counter;
}

Shared *new_shared(const Kafka *kafka, size_t event_id_at, int32_t partitions)
{
    Shared *shared = calloc(1, sizeof *shared);
    if (shared == NULL)
        return NULL;
    shared->lock = PyThread_allocate_lock();
    shared->made_up = malloc((size_t)partitions * sizeof *shared->made_up);
    if (shared->lock == NULL || shared->made_up == NULL) {
        if (shared->lock != NULL)
            PyThread_free_lock(shared->lock);
        free(shared->made_up);
        free(shared);
        return NULL;
    }
    shared->kafka = *kafka;
    shared->owners = 1;
    shared->event_id_at = event_id_at;
    shared->partitions = partitions;
    for (int32_t partition = 0; partition < partitions; partition++)
        shared->made_up[partition] = NONE;
    return shared;
}

void free_reports(Report *reports, size_t count)
{
    for (size_t at = 0; at < count; at++) {
        free(reports[at].key);
        free(reports[at].text);
    }
    free(reports);
}

void let_go(Shared *shared)
{
    PyThread_acquire_lock(shared->lock, WAIT_LOCK);
    int owners = --shared->owners;
    PyThread_release_lock(shared->lock);
    if (owners > 0)
        return;
    free_reports(shared->reports, shared->count);
    PyThread_free_lock(shared->lock);
    free(shared->made_up);
    free(shared);
}

static char *copy_of(const void *data, size_t size)
{
    char *copy = malloc(size + 1);
    if (copy != NULL) {
        if (size > 0)
            memcpy(copy, data, size);
        copy[size] = 0;
    }
    return copy;
}

static Report *add_report(Shared *shared)
{
    if (shared->count == shared->room) {
        size_t room = shared->room ? 2 * shared->room : FIRST_ROOM;
        Report *reports = realloc(shared->reports, room * sizeof *reports);
        if (reports == NULL)
            return NULL;
        shared->reports = reports;
        shared->room = room;
    }
    return &shared->reports[shared->count++];
}

/* Where a broker says that a batch is a duplicate but not where it lies, librdkafka counts offsets up from -1: those that
   follow a negative one are made up as well. */
static int is_made_up(Shared *shared, int32_t partition, int64_t offset)
{
    int64_t *next = &shared->made_up[partition];
    const int made_up = offset < 0 || offset == *next;
    if (made_up)
        *next = offset + 1; /* a real one is never as low later: as many records as these lie before it */
    return made_up;
}

static int note(Shared *shared, const Message *message)
{
    const int placed = message->partition >= 0 && message->partition < shared->partitions;
    Report *report = add_report(shared);
    if (report == NULL)
        return -1;
    *report = (Report){.record = counter_of((const char *)message->value + shared->event_id_at),
                       .offset = message->offset,
                       .partition = message->partition,
                       .error = message->error};
    if (placed && !message->error) {
        report->success = !is_made_up(shared, message->partition, message->offset);
        if (report->success)
            return 0;
        report->offset = INVALID_OFFSET;
    }
    const char *text = message->error ? shared->kafka.error_text(message) : NULL;
    text = text == NULL ? "" : text;
    report->key_size = message->key_size;
    report->key = copy_of(message->key, message->key_size);
    report->text = copy_of(text, strlen(text));
    if (report->key != NULL && report->text != NULL)
        return 0;
    free(report->key);
    free(report->text);
    shared->count--;
    return -1;
}

static int on_acknowledgement(void *client, Message *message, void *opaque)
{
    Shared *shared = opaque;
    (void)client;
    if (message->value == NULL || message->size < shared->event_id_at + EVENT_ID_BYTES)
        return 0; /* no event */
    PyThread_acquire_lock(shared->lock, WAIT_LOCK);
    if (note(shared, message) < 0)
        shared->out_of_memory = 1;
    PyThread_release_lock(shared->lock);
    return 0;
}

static int on_new(void *client, const void *conf, void *opaque, char *text, size_t size)
{
    Shared *shared = opaque;
    (void)conf, (void)text, (void)size;
    int error = shared->kafka.add_on_acknowledgement(client, "vecferry", on_acknowledgement, shared);
    if (!error)
        shared->client = client;
    return error;
}

static int on_conf_destroy(void *opaque)
{
    let_go(opaque);
    return 0;
}

/* Called by librdkafka when a client's configuration names this library. */
Py_EXPORTED_SYMBOL int conf_init(void *conf, void **opaque, char *text, size_t size)
{
    Shared *shared = awaiting;
    (void)opaque, (void)text, (void)size;
    if (shared == NULL)
        return 0; /* somebody else's client */
    awaiting = NULL;
    int error = shared->kafka.add_on_conf_destroy(conf, "vecferry", on_conf_destroy, shared);
    if (error)
        return error;
    shared->owners++; /* nobody else has it yet */
    return shared->kafka.add_on_new(conf, "vecferry", on_new, shared);
}
