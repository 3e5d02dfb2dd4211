/* The floor of a fan-out: accept N connections, then write one WebSocket frame to each with one
 * send() per connection. No event loop, no protocol, no bookkeeping, so what it costs is the
 * kernel's share of a delivery, and the ratio to it is what a service adds.
 *
 *     sendloop N        prints {"ready":true,"port":P}
 *     stdin: {"times":T,"bytes":B}  sends T events of a B-byte string, as one buffer, to everybody
 *
 * T above one is the best a service can do with events that came back to back: one coalesced
 * write per connection. Ends with its standard input.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_EVENT = 60000, MAX_TIMES = 1000 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on_loopback(void) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&at, size) || listen(listener, 4096))
        fail("listen");
    if (getsockname(listener, (struct sockaddr *)&at, &size))
        fail("getsockname");
    printf("{\"ready\":true,\"port\":%d}\n", ntohs(at.sin_port));
    fflush(stdout);
    return listener;
}

/* The frame native socket.io sends for io.emit("tick", "xxx..."): an unmasked text frame. */
static size_t frame(char *out, int bytes) {
    size_t at = 0, length = (size_t)bytes + strlen("42[\"tick\",\"\"]");
    out[at++] = (char)0x81;
    if (length < 126) {
        out[at++] = (char)length;
    } else {
        out[at++] = 126;
        out[at++] = (char)(length >> 8);
        out[at++] = (char)(length & 255);
    }
    at += (size_t)sprintf(out + at, "42[\"tick\",\"");
    memset(out + at, 'x', (size_t)bytes);
    at += (size_t)bytes;
    out[at++] = '"';
    out[at++] = ']';
    return at;
}

static void send_all(int to, const char *bytes, size_t left) {
    while (left > 0) {
        ssize_t sent = send(to, bytes, left, MSG_NOSIGNAL);
        if (sent < 0)
            fail("send");
        bytes += sent;
        left -= (size_t)sent;
    }
}

int main(int argc, char **argv) {
    int count = argc == 2 ? atoi(argv[1]) : 0, one = 1, times, bytes;
    int *clients = calloc((size_t)count, sizeof *clients);
    if (count < 1 || !clients)
        fail("usage: sendloop N");
    int listener = listen_on_loopback();
    for (int i = 0; i < count; i++) {
        clients[i] = accept(listener, NULL, NULL);
        if (clients[i] < 0 || setsockopt(clients[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one))
            fail("accept");
    }
    while (scanf(" {\"times\": %d, \"bytes\": %d}", &times, &bytes) == 2) {
        if (times < 1 || times > MAX_TIMES || bytes < 0 || bytes > MAX_EVENT)
            fail("command");
        char *batch = malloc((size_t)times * ((size_t)bytes + 32));
        if (!batch)
            fail("malloc");
        size_t length = 0;
        for (int i = 0; i < times; i++)
            length += frame(batch + length, bytes);
        for (int i = 0; i < count; i++)
            send_all(clients[i], batch, length);
        free(batch);
    }
    return 0;
}
