/* The fastest peer that the load tester can have: it acknowledges each event with its argument, and does
 * nothing else. The connections are open and have joined "/" already; see bench/tester/responder.py.
 *
 * Client frames must arrive whole, as small ones do on a loopback. A connection that sends anything but
 * such an event or a frame that needs no answer is closed, which the load tester reports. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 65536
#define SHORT 126
#define TEXT 0x81
#define CLOSE 0x88

typedef unsigned char byte;

/* The payload of the frame at `at`, unmasked in place, and its end; NULL if it is not whole. */
static byte *payload(byte *at, byte *limit, byte **end) {
    if (limit - at < 8) return NULL;
    size_t size = at[1] & 0x7f, head = 2;
    if (size > SHORT) return NULL;
    if (size == SHORT) {
        size = (size_t)at[2] << 8 | at[3];
        head = 4;
    }
    byte *mask = at + head, *data = mask + 4;
    if ((size_t)(limit - data) < size) return NULL;
    for (size_t i = 0; i < size; i++) data[i] ^= mask[i & 3];
    *end = data + size;
    return data;
}

/* Writes the frame `43ID[ARGUMENT]` for `42ID["NAME",ARGUMENT]`. Returns its length, or 0. */
static size_t answer(byte *out, const byte *data, const byte *end) {
    const byte *open = memchr(data, '[', end - data);
    const byte *comma = open == NULL ? NULL : memchr(open, ',', end - open);
    if (comma == NULL || open - data < 3 || memcmp(data, "42", 2) != 0) return 0;
    size_t id = open - data, rest = end - comma - 1, size = id + 1 + rest, head = 2;
    out[0] = TEXT;
    if (size < SHORT) {
        out[1] = size;
    } else {
        out[1] = SHORT;
        out[2] = size >> 8;
        out[3] = size;
        head = 4;
    }
    memcpy(out + head, data, id);
    out[head + 1] = '3';
    out[head + id] = '[';
    memcpy(out + head + id + 1, comma + 1, rest);
    return head + size;
}

/* Returns 0, or -1 if the connection is to be closed. */
static int serve(int fd) {
    static byte in[BUFFER], out[BUFFER];
    ssize_t got = recv(fd, in, BUFFER, 0);
    if (got <= 0) return -1;
    byte *at = in, *end, *limit = in + got;
    size_t filled = 0;
    while (at < limit) {
        byte *data = payload(at, limit, &end);
        if (data == NULL || at[0] == CLOSE) return -1;
        size_t size = at[0] == TEXT ? answer(out + filled, data, end) : 0;
        if (size == 0) return -1;
        filled += size;
        at = end;
    }
    return send(fd, out, filled, MSG_NOSIGNAL) == (ssize_t)filled ? 0 : -1;
}

/* Never returns. Connections may be added to the epoll descriptor meanwhile. */
void answer_all(int epoll) {
    struct epoll_event events[512];
    for (;;) {
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            if (serve(events[i].data.fd) != 0) close(events[i].data.fd);
        }
    }
}
