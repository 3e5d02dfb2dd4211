/* Publishes at a steady rate: the clients in turn send an event with the time to the rooms in turn, and each
 * delivery is noted with the time of its publish and its own. In C for the same reason as trips.c.
 *
 * Called from Python; see bench/fastloop.py for the arguments. Returns 0 or one of the negative codes below. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define DIGITS 19
#define LARGEST 120
#define READ 16384

enum { SILENT = -1, LOST = -2, WRONG = -3, SYSTEM = -4 };

typedef struct {
    int fd;
    int length;
    char got[LARGEST];
} client;

typedef struct {
    const char *asks;
    int rooms, ask;
    const char *head;
    int heading;
    int64_t *stamped, *heard;
} talk;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* A masked text frame: the beginning for this room, the time, and the end. */
static int publish(int fd, const talk *t, int room) {
    static const unsigned char mask[4] = {0x5a, 0xc3, 0x17, 0x9e};
    unsigned char frame[6 + LARGEST];
    int size = t->ask + DIGITS + 2;
    memcpy(frame + 6, t->asks + room * t->ask, t->ask);
    snprintf((char *)frame + 6 + t->ask, DIGITS + 3, "%019lld\"]", (long long)now_ns());
    frame[0] = 0x81;
    frame[1] = 0x80 | size;
    memcpy(frame + 2, mask, 4);
    for (int i = 0; i < size; i++) frame[6 + i] ^= mask[i % 4];
    return send(fd, frame, 6 + size, MSG_NOSIGNAL) == 6 + size ? 0 : LOST;
}

/* Note all whole frames of one read. Returns how many, and keeps a part of one. */
static int64_t take(client *one, const talk *t, int64_t done, int64_t total) {
    char data[LARGEST + READ];
    int frame = t->heading + DIGITS + 2, at = 0;
    memcpy(data, one->got, one->length);
    ssize_t count = recv(one->fd, data + one->length, READ, 0);
    if (count <= 0) return LOST;
    int64_t now = now_ns(), first = done;
    int end = one->length + count;
    for (; end - at >= frame; at += frame) {
        if (memcmp(data + at, t->head, t->heading) != 0 || done == total) return WRONG;
        t->stamped[done] = strtoll(data + at + t->heading, NULL, 10);
        t->heard[done++] = now;
    }
    one->length = end - at;
    memcpy(one->got, data + at, one->length);
    return done - first;
}

static int run(int epoll, client *clients, int count, const talk *t, int64_t publishes, int64_t rate,
               int64_t total, int64_t patience) {
    struct epoll_event events[256];
    int64_t began = now_ns(), last = began, sent = 0, done = 0;
    while (done < total) {
        int64_t now = now_ns();
        for (; sent < publishes && now - began >= sent * 1000000000LL / rate; sent++)
            if (publish(clients[sent % count].fd, t, sent % t->rooms) < 0) return LOST;
        int ready = epoll_wait(epoll, events, 256, 1);
        for (int i = 0; i < ready; i++) {
            int64_t found = take(events[i].data.ptr, t, done, total);
            if (found < 0) return (int)found;
            done += found;
        }
        if (ready > 0) last = now;
        if (now - last > patience) return SILENT;
    }
    return 0;
}

int publish_all(const int *fds, int count, const char *asks, int rooms, int ask, const char *head, int heading,
                int64_t publishes, int64_t rate, int64_t total, int64_t patience, int64_t *stamped,
                int64_t *heard) {
    talk t = {asks, rooms, ask, head, heading, stamped, heard};
    if (ask + DIGITS + 2 > LARGEST || heading + DIGITS + 2 > LARGEST) return SYSTEM;
    client *clients = calloc(count, sizeof(client));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int result = clients != NULL && epoll >= 0 ? 0 : SYSTEM;
    for (int i = 0; result == 0 && i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        clients[i].fd = fds[i];
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) != 0) result = SYSTEM;
    }
    if (result == 0) result = run(epoll, clients, count, &t, publishes, rate, total, patience);
    if (epoll >= 0) close(epoll);
    free(clients);
    return result;
}
