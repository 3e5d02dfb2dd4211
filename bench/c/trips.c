/* Acked round trips over connections that are open already: each client asks, waits for exactly the
 * answer it expects, and asks again, until the time is up. In C, because on two cores the generator
 * runs at the expense of what it measures: in Python a trip costs it as much as the servers' own.
 *
 * Called from Python with the descriptors of a fleet; see bench/fastloop.py for the meaning of each
 * argument. Returns the number of latencies, or one of the negative codes below. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define KINDS 10
#define LARGEST 4096

enum { SILENT = -1, LOST = -2, WRONG = -3, SYSTEM = -4 };

typedef struct {
    int fd;
    int length;
    int64_t sent_at;
    uint64_t count;
    char got[LARGEST];
} client;

typedef struct {
    const char *asks;
    int ask;
    const char *answers;
    int answer;
} talk;

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int ask(client *one, const talk *t) {
    one->sent_at = now_ns();
    one->length = 0;
    ssize_t sent = send(one->fd, t->asks + (one->count % KINDS) * t->ask, t->ask, MSG_NOSIGNAL);
    return sent == t->ask ? 0 : LOST;
}

/* 1: the answer is complete and right; 0: there is more to come. */
static int take(client *one, const talk *t) {
    ssize_t count = recv(one->fd, one->got + one->length, LARGEST - one->length, 0);
    if (count <= 0) return LOST;
    one->length += count;
    if (one->length < t->answer) return 0;
    const char *expected = t->answers + (one->count % KINDS) * t->answer;
    return one->length == t->answer && memcmp(one->got, expected, t->answer) == 0 ? 1 : WRONG;
}

static int64_t run(int epoll, client *clients, int count, const talk *t, int64_t window, int64_t patience,
                   int64_t *latencies, int64_t most, int64_t *elapsed) {
    struct epoll_event events[256];
    int64_t began = now_ns(), done = 0;
    int under_way = count;
    for (int i = 0; i < count; i++) {
        if (ask(&clients[i], t) < 0) return LOST;
    }
    while (under_way > 0) {
        int ready = epoll_wait(epoll, events, 256, (int)(patience / 1000000));
        if (ready <= 0) return SILENT;
        for (int i = 0; i < ready; i++) {
            client *one = events[i].data.ptr;
            int state = take(one, t);
            if (state < 0) return state;
            if (state == 0) continue;
            int64_t now = now_ns();
            latencies[done++] = now - one->sent_at;
            one->count++;
            /* Room is kept for those under way. */
            if (now - began < window && done + under_way <= most) {
                if (ask(one, t) < 0) return LOST;
            } else {
                under_way--;
            }
        }
    }
    *elapsed = now_ns() - began;
    return done;
}

int64_t round_trips(const int *fds, int count, const char *asks, int ask_bytes, const char *answers,
                    int answer_bytes, int64_t window, int64_t patience, int64_t *latencies, int64_t most,
                    int64_t *elapsed) {
    talk t = {asks, ask_bytes, answers, answer_bytes};
    if (answer_bytes > LARGEST || most < count) return SYSTEM;
    client *clients = calloc(count, sizeof(client));
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int64_t result = clients != NULL && epoll >= 0 ? 0 : SYSTEM;
    for (int i = 0; result == 0 && i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};
        clients[i].fd = fds[i];
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &event) != 0) result = SYSTEM;
    }
    if (result == 0) result = run(epoll, clients, count, &t, window, patience, latencies, most, elapsed);
    if (epoll >= 0) close(epoll);
    free(clients);
    return result;
}
