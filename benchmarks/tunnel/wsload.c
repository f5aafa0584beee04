// wsload: one small WebSocket yardstick: echo backend, load, handshake storm, idle tunnels.
//
//   wsload echo  PORT
//   wsload load  HOST PORT PATH --conns N --size BYTES [--inflight K | --rate R] --seconds S [--warm S]
//   wsload storm HOST PORT PATH --parallel P --seconds S [--warm S]
//   wsload idle  HOST PORT PATH --conns N --hold S
//
// Common to the clients:  --spread        a fresh source address out of 127.0.0.0/8 for each connection
//                         --timeout S     seconds a handshake may take (default 5)
//                         --pids a,b      processes whose CPU time is read at the window's two ends
//                         --mine a,b      other processes of this measurement (so that strangers can be told)
//                         --verify        compare each echoed byte, not the sequence number alone
// Each client prints one JSON line as its last. No dependencies: gcc -O2 -o wsload wsload.c
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

// ───────────────────────── small tools ─────────────────────────

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
  fprintf(stderr, "wsload: %s: %s\n", what, strerror(errno));
  exit(2);
}

static uint32_t rol(uint32_t x, int n) { return (x << n) | (x >> (32 - n)); }

static void sha1(const uint8_t *data, size_t n, uint8_t out[20]) {
  uint32_t h[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
  size_t blocks = (n + 8) / 64 + 1;
  for (size_t b = 0; b < blocks; b++) {
    uint8_t m[64];
    for (size_t i = 0; i < 64; i++) {
      size_t at = b * 64 + i;
      m[i] = at < n ? data[at] : at == n ? 0x80 : 0;
    }
    if (b == blocks - 1)
      for (int i = 0; i < 8; i++) m[56 + i] = (uint8_t)(((uint64_t)n * 8) >> (56 - 8 * i));
    uint32_t w[80];
    for (int i = 0; i < 16; i++)
      w[i] = (uint32_t)m[4 * i] << 24 | (uint32_t)m[4 * i + 1] << 16 | (uint32_t)m[4 * i + 2] << 8 | m[4 * i + 3];
    for (int i = 16; i < 80; i++) w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = h[0], bb = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 80; i++) {
      uint32_t f, k;
      if (i < 20) f = (bb & c) | (~bb & d), k = 0x5A827999;
      else if (i < 40) f = bb ^ c ^ d, k = 0x6ED9EBA1;
      else if (i < 60) f = (bb & c) | (bb & d) | (c & d), k = 0x8F1BBCDC;
      else f = bb ^ c ^ d, k = 0xCA62C1D6;
      uint32_t t = rol(a, 5) + f + e + k + w[i];
      e = d, d = c, c = rol(bb, 30), bb = a, a = t;
    }
    h[0] += a, h[1] += bb, h[2] += c, h[3] += d, h[4] += e;
  }
  for (int i = 0; i < 20; i++) out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void base64(const uint8_t *in, size_t n, char *out) {
  static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t o = 0;
  for (size_t i = 0; i < n; i += 3) {
    uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? in[i + 1] << 8 : 0) | (i + 2 < n ? in[i + 2] : 0);
    out[o++] = abc[v >> 18 & 63];
    out[o++] = abc[v >> 12 & 63];
    out[o++] = i + 1 < n ? abc[v >> 6 & 63] : '=';
    out[o++] = i + 2 < n ? abc[v & 63] : '=';
  }
  out[o] = 0;
}

static void accept_value(const char *key, size_t n, char out[32]) {
  static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  uint8_t text[160], sum[20];
  if (n > 100) n = 100;
  memcpy(text, key, n);
  memcpy(text + n, guid, 36);
  sha1(text, n + 36, sum);
  base64(sum, 20, out);
}

// The value of a header in a raw head; returns its length, or -1.
static int header_value(const char *head, size_t n, const char *name, const char **value) {
  size_t ln = strlen(name);
  const char *p = head, *end = head + n;
  while (p < end) {
    const char *eol = memchr(p, '\n', (size_t)(end - p));
    if (!eol) eol = end;
    if ((size_t)(eol - p) > ln && p[ln] == ':' && !strncasecmp(p, name, ln)) {
      const char *v = p + ln + 1, *e = eol;
      while (v < e && (*v == ' ' || *v == '\t')) v++;
      while (e > v && isspace((unsigned char)e[-1])) e--;
      *value = v;
      return (int)(e - v);
    }
    p = eol + 1;
  }
  return -1;
}

// Masks with a key that starts at payload offset 0.
static void mask_bytes(uint8_t *dst, const uint8_t *src, size_t n, const uint8_t key[4]) {
  uint32_t k32;
  memcpy(&k32, key, 4);
  uint64_t k = (uint64_t)k32 << 32 | k32, v;
  size_t i = 0;
  for (; i + 8 <= n; i += 8) {
    memcpy(&v, src + i, 8);
    v ^= k;
    memcpy(dst + i, &v, 8);
  }
  for (; i < n; i++) dst[i] = src[i] ^ key[i & 3];
}

static size_t frame_head(uint8_t *out, int op, uint64_t n, int masked) {
  size_t o = 0;
  uint8_t m = masked ? 0x80 : 0;
  out[o++] = (uint8_t)(0x80 | op);
  if (n < 126) out[o++] = m | (uint8_t)n;
  else if (n < 65536) out[o++] = m | 126, out[o++] = (uint8_t)(n >> 8), out[o++] = (uint8_t)n;
  else {
    out[o++] = m | 127;
    for (int i = 0; i < 8; i++) out[o++] = (uint8_t)(n >> (56 - 8 * i));
  }
  return o;
}

static int ep;
static uint8_t rbuf[1 << 18]; // the one read buffer

static void nodelay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void watch(int fd, int op, uint32_t events, void *who) {
  struct epoll_event e = {.events = events, .data.ptr = who};
  if (epoll_ctl(ep, op, fd, &e) < 0) die("epoll_ctl");
}

// ───────────────────────── echo backend ─────────────────────────

static int listen_on(int port) {
  int ls = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  setsockopt(ls, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(ls, (void *)&a, sizeof a) < 0 || listen(ls, 4096) < 0) die("listen");
  watch(ls, EPOLL_CTL_ADD, EPOLLIN, NULL);
  socklen_t l = sizeof a;
  if (getsockname(ls, (void *)&a, &l) < 0) die("getsockname");
  printf("{\"event\":\"listening\",\"port\":%d}\n", ntohs(a.sin_port));
  fflush(stdout);
  return ls;
}

struct srv {
  int fd, ws, closing, paused;
  uint32_t ev;
  uint8_t *in, *out;
  size_t inn, incap, outn, outoff, outcap;
};

static uint8_t *obuf;
static size_t obn, obcap;

static void ob_room(size_t n) {
  if (obn + n <= obcap) return;
  while (obn + n > obcap) obcap = obcap ? obcap * 2 : 1 << 18;
  obuf = realloc(obuf, obcap);
  if (!obuf) die("memory");
}

static void srv_close(struct srv *s) {
  close(s->fd);
  free(s->in);
  free(s->out);
  free(s);
}

// 0: still there, -1: freed
static int srv_flush(struct srv *s) {
  size_t at = 0;
  if (s->outn == s->outoff && obn) {
    ssize_t w = write(s->fd, obuf, obn);
    if (w < 0 && errno != EAGAIN) return srv_close(s), -1;
    at = w > 0 ? (size_t)w : 0;
  }
  if (obn > at) { // keep the rest
    size_t rest = obn - at;
    if (s->outoff) memmove(s->out, s->out + s->outoff, s->outn - s->outoff), s->outn -= s->outoff, s->outoff = 0;
    if (s->outn + rest > s->outcap) {
      s->outcap = (s->outn + rest) * 2;
      s->out = realloc(s->out, s->outcap);
      if (!s->out) die("memory");
    }
    memcpy(s->out + s->outn, obuf + at, rest);
    s->outn += rest;
  }
  obn = 0;
  if (s->outn == s->outoff && s->closing) return srv_close(s), -1;
  s->paused = s->outn - s->outoff > (1u << 20);
  uint32_t want = (s->outn > s->outoff ? EPOLLOUT : 0) | (s->paused ? 0 : EPOLLIN);
  if (want != s->ev) watch(s->fd, EPOLL_CTL_MOD, s->ev = want, s);
  return 0;
}

static void ob_put(const void *p, size_t n) {
  ob_room(n);
  memcpy(obuf + obn, p, n);
  obn += n;
}

// Takes what it can of p[0..n), returns how many bytes it took.
static size_t srv_take(struct srv *s, uint8_t *p, size_t n) {
  size_t used = 0;
  if (!s->ws) {
    uint8_t *end = memmem(p, n, "\r\n\r\n", 4);
    if (!end) {
      if (n > 65536) s->closing = 1;
      return 0;
    }
    size_t hl = (size_t)(end - p) + 4;
    const char *head = (const char *)p, *v;
    int k = header_value(head, hl, "sec-websocket-key", &v);
    if (!strncmp(head, "GET /healthz", 12)) {
      static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nok\n";
      ob_put(ok, sizeof ok - 1);
      if (header_value(head, hl, "connection", &v) == 5 && !strncasecmp(v, "close", 5)) s->closing = 1;
    } else if (k > 0) {
      char acc[32], text[200];
      accept_value(v, (size_t)k, acc);
      int l = snprintf(text, sizeof text,
                       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: %s\r\n\r\n", acc);
      ob_put(text, (size_t)l);
      s->ws = 1;
    } else {
      static const char no[] = "HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
      ob_put(no, sizeof no - 1);
      s->closing = 1;
    }
    used = hl;
    if (!s->ws) return used;
  }
  while (n - used >= 2 && !s->closing) {
    uint8_t *f = p + used;
    size_t have = n - used, hl = 2;
    uint64_t len = f[1] & 127;
    if (len == 126) {
      if (have < 4) break;
      len = (uint64_t)f[2] << 8 | f[3], hl = 4;
    } else if (len == 127) {
      if (have < 10) break;
      len = 0, hl = 10;
      for (int i = 0; i < 8; i++) len = len << 8 | f[2 + i];
    }
    if (!(f[1] & 0x80) || len > (1u << 28)) { s->closing = 1; break; } // a client must mask
    if (have < hl + 4 + len) break;
    int op = f[0] & 15;
    if (op != 10) {
      ob_room(len + 14);
      size_t h = frame_head(obuf + obn, op == 9 ? 10 : op, len, 0);
      obuf[obn] = (uint8_t)((f[0] & 0xf0) | (op == 9 ? 10 : op)); // FIN and RSV as they came
      obn += h;
      mask_bytes(obuf + obn, f + hl + 4, len, f + hl);
      obn += len;
      if (op == 8) s->closing = 1;
    }
    used += hl + 4 + len;
  }
  return used;
}

static void srv_event(struct srv *s, uint32_t events) {
  if (events & EPOLLOUT && s->outn > s->outoff) {
    ssize_t w = write(s->fd, s->out + s->outoff, s->outn - s->outoff);
    if (w < 0 && errno != EAGAIN) { srv_close(s); return; }
    if (w > 0) s->outoff += (size_t)w;
    if (s->outoff == s->outn) s->outoff = s->outn = 0;
    if (srv_flush(s) < 0) return;
  }
  if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)) || s->paused) return;
  ssize_t r;
  if (s->inn) { // a part is waiting: append to it
    size_t room = 1 << 17;
    if (s->incap < s->inn + room) {
      s->incap = s->inn + room * 2;
      s->in = realloc(s->in, s->incap);
      if (!s->in) die("memory");
    }
    r = read(s->fd, s->in + s->inn, s->incap - s->inn);
  } else
    r = read(s->fd, rbuf, sizeof rbuf);
  if (r < 0 && errno == EAGAIN) return;
  if (r <= 0) { srv_close(s); return; }
  uint8_t *p = s->inn ? s->in : rbuf;
  size_t n = s->inn + (size_t)r, used = 0, step;
  do {
    step = srv_take(s, p + used, n - used);
    used += step;
  } while (step && used < n && !s->closing);
  size_t rest = s->closing ? 0 : n - used;
  if (rest) {
    if (p == rbuf) {
      if (s->incap < rest) {
        s->incap = rest + (1 << 12);
        s->in = realloc(s->in, s->incap);
        if (!s->in) die("memory");
      }
      memcpy(s->in, p + used, rest);
    } else if (used)
      memmove(s->in, p + used, rest);
  } else if (s->incap > (1u << 20))
    free(s->in), s->in = NULL, s->incap = 0;
  s->inn = rest;
  srv_flush(s);
}

static int echo_main(int port) {
  int ls = listen_on(port);
  struct epoll_event evs[512];
  for (;;) {
    int n = epoll_wait(ep, evs, 512, -1);
    for (int i = 0; i < n; i++) {
      if (evs[i].data.ptr) { srv_event(evs[i].data.ptr, evs[i].events); continue; }
      for (int k = 0; k < 64; k++) {
        int fd = accept4(ls, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) break;
        nodelay(fd);
        struct srv *s = calloc(1, sizeof *s);
        if (!s) die("memory");
        s->fd = fd;
        watch(fd, EPOLL_CTL_ADD, s->ev = EPOLLIN, s);
      }
    }
  }
  return 0;
}

// ───────────────────────── latency histogram ─────────────────────────

#define SUB 64 // sub-buckets of each power of two: error below 1.6 %
static uint64_t hist[64 * SUB], hist_n, hist_max;

static void hist_add(uint64_t ns) {
  if (ns > hist_max) hist_max = ns;
  hist_n++;
  if (ns < SUB) { hist[ns]++; return; }
  int e = 63 - __builtin_clzll(ns);
  hist[(e - 5) * SUB + ((ns >> (e - 6)) & (SUB - 1))]++;
}

static double hist_us(double q) {
  uint64_t want = (uint64_t)(q * (double)hist_n), seen = 0;
  for (size_t i = 0; i < 64 * SUB; i++) {
    seen += hist[i];
    if (seen > want) {
      if (i < SUB) return (double)i / 1e3;
      int e = (int)(i / SUB) + 5;
      double lo = (double)((1ull << e) + ((uint64_t)(i % SUB) << (e - 6)));
      return (lo + (double)(1ull << (e - 6)) / 2) / 1e3;
    }
  }
  return (double)hist_max / 1e3;
}

static void hist_clear(void) { memset(hist, 0, sizeof hist); hist_n = hist_max = 0; }

// ───────────────────────── CPU time of processes ─────────────────────────

struct pids { int n, id[64]; };
struct cpu { double sched_s, wait_s, stat_s, user_s; };

static struct pids parse_pids(const char *s) {
  struct pids p = {0};
  while (s && *s && p.n < 64) {
    p.id[p.n++] = atoi(s);
    s = strchr(s, ',');
    if (s) s++;
  }
  return p;
}

static struct cpu read_cpu(const struct pids *p) {
  struct cpu c = {0, 0, 0, 0};
  char path[96], line[1024];
  for (int i = 0; i < p->n; i++) {
    snprintf(path, sizeof path, "/proc/%d/stat", p->id[i]);
    FILE *f = fopen(path, "r");
    if (!f) continue;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = 0;
    char *q = strrchr(line, ')');
    unsigned long u = 0, s = 0;
    if (q && sscanf(q + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &u, &s) == 2)
      c.stat_s += (double)(u + s) / (double)sysconf(_SC_CLK_TCK), c.user_s += (double)u / (double)sysconf(_SC_CLK_TCK);
    snprintf(path, sizeof path, "/proc/%d/task", p->id[i]);
    DIR *d = opendir(path);
    if (!d) continue;
    struct dirent *e;
    while ((e = readdir(d))) {
      if (e->d_name[0] == '.') continue;
      snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", p->id[i], e->d_name);
      f = fopen(path, "r");
      if (!f) continue;
      unsigned long long ns = 0, waited = 0; // on a core; ready, but waiting for one
      if (fscanf(f, "%llu %llu", &ns, &waited) == 2) c.sched_s += (double)ns / 1e9, c.wait_s += (double)waited / 1e9;
      fclose(f);
    }
    closedir(d);
  }
  return c;
}

// Busy and stolen seconds of the whole machine.
static void machine(double *busy, double *steal) {
  unsigned long long u, n, s, id, io, irq, sirq, st;
  *busy = *steal = 0;
  FILE *f = fopen("/proc/stat", "r");
  if (!f) return;
  if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &u, &n, &s, &id, &io, &irq, &sirq, &st) == 8) {
    double hz = (double)sysconf(_SC_CLK_TCK);
    *busy = (double)(u + n + s + irq + sirq) / hz;
    *steal = (double)st / hz;
  }
  fclose(f);
}

static double self_s(void) {
  struct rusage r;
  getrusage(RUSAGE_SELF, &r);
  return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

struct snap { uint64_t t; struct cpu gw, mine; double self, busy, steal; };
static struct pids pids_gw, pids_mine;

static struct snap snapshot(void) {
  struct snap s;
  s.gw = read_cpu(&pids_gw);
  s.t = now_ns();
  s.mine = read_cpu(&pids_mine);
  s.self = self_s();
  machine(&s.busy, &s.steal);
  return s;
}

// ───────────────────────── client ─────────────────────────

enum { FREE, CONNECTING, SHAKING, OPEN, DEAD };
enum { F_REFUSED, F_RESET, F_EOF, F_STATUS, F_ACCEPT, F_TIMEOUT, F_LOCAL, F_KINDS };
static const char *f_name[F_KINDS] = {"refused", "reset", "eof", "status", "accept", "timeout", "local"};

struct cli {
  int fd;
  uint8_t st;
  uint32_t ev;
  uint64_t t0;                  // when the connection was begun
  char *hb;                     // handshake answer
  uint32_t hbn;
  uint8_t hdr[24];              // frame head, mask, masked sequence number
  uint32_t hlen, queued;
  uint64_t off, total;          // of the frame that is being written
  uint64_t seq_out, seq_in;
  uint64_t *ts;                 // when each message in flight was due
  uint32_t thead, tcount;
  uint8_t rh[14], rhn, op, fin; // parser of what comes back
  uint64_t left, pos;
  uint8_t first[8], ping[128];
};

static struct {
  const char *host, *path;
  int port, conns, inflight, parallel, spread, verify;
  size_t size;
  double seconds, warm, rate, hold, timeout;
} o = {.conns = 1, .inflight = 1, .parallel = 16, .size = 64, .seconds = 3, .hold = 5, .timeout = 5};

static struct cli *cs;
static struct sockaddr_in target;
static uint8_t *tail, *plain;        // masked payload after its first 8 bytes; the plain pattern
static const uint8_t mkey[4] = {0x9a, 0x3c, 0x51, 0xe7};
static char request[1024], want_accept[32];
static int request_n;
static uint32_t ring_cap;
static uint64_t opened, open_now, closed_early, sent_all, echo_all, wrong, skipped, fails[F_KINDS], last_status;
static uint64_t w_msgs, w_bytes, shakes, source_no;
static int measuring, sending, storming, closing_all;
static uint64_t last_echo;

static void prepare(void) {
  uint8_t key[16];
  char key64[32];
  srand((unsigned)now_ns());
  for (int i = 0; i < 16; i++) key[i] = (uint8_t)rand();
  base64(key, 16, key64);
  accept_value(key64, strlen(key64), want_accept);
  request_n = snprintf(request, sizeof request,
                       "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
                       o.path, o.host, o.port, key64);
  plain = malloc(o.size + 8);
  tail = malloc(o.size + 8);
  if (!plain || !tail) die("memory");
  for (size_t i = 0; i < o.size; i++) plain[i] = (uint8_t)(i * 131 + (i >> 8) * 7 + 5);
  mask_bytes(tail, plain, o.size, mkey);
  target.sin_family = AF_INET;
  target.sin_port = htons((uint16_t)o.port);
  if (inet_pton(AF_INET, o.host, &target.sin_addr) != 1) { fprintf(stderr, "wsload: HOST must be an IPv4 address\n"); exit(2); }
}

static void cli_drop(struct cli *c, int why) {
  if (c->st == CONNECTING || c->st == SHAKING) fails[why]++;
  else if (c->st == OPEN) {
    open_now--;
    if (!closing_all) closed_early++;
  }
  if (c->fd >= 0) close(c->fd);
  free(c->hb);
  c->hb = NULL;
  c->fd = -1;
  c->st = DEAD;
}

static void cli_interest(struct cli *c, uint32_t want) {
  if (want != c->ev) watch(c->fd, EPOLL_CTL_MOD, c->ev = want, c);
}

static void cli_open(struct cli *c) {
  uint64_t *ts = c->ts;
  memset(c, 0, sizeof *c);
  c->ts = ts;
  c->st = CONNECTING;
  c->t0 = now_ns();
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (c->fd < 0) { cli_drop(c, F_LOCAL); return; }
  nodelay(c->fd);
  if (o.spread) {
    int one = 1;
    uint64_t i = source_no++;
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(127u << 24 | (uint32_t)(1 + i / 62500 % 126) << 16 | (uint32_t)(i / 250 % 250) << 8 | (uint32_t)(1 + i % 250));
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(c->fd, (void *)&a, sizeof a) < 0) { cli_drop(c, F_LOCAL); return; }
  }
  if (connect(c->fd, (void *)&target, sizeof target) < 0 && errno != EINPROGRESS) {
    cli_drop(c, errno == ECONNREFUSED ? F_REFUSED : errno == ECONNRESET ? F_RESET : F_LOCAL);
    return;
  }
  watch(c->fd, EPOLL_CTL_ADD, c->ev = EPOLLOUT, c);
}

// Writes what is begun and begins what is queued. 0: fine, -1: dropped.
static int cli_flush(struct cli *c) {
  for (;;) {
    if (c->off == c->total) {
      if (!c->queued) break;
      c->queued--;
      size_t h = frame_head(c->hdr, 2, o.size, 1);
      memcpy(c->hdr + h, mkey, 4);
      h += 4;
      if (o.size >= 8) {
        uint8_t seq[8];
        memcpy(seq, &c->seq_out, 8);
        mask_bytes(c->hdr + h, seq, 8, mkey);
        h += 8;
      }
      c->seq_out++;
      c->hlen = (uint32_t)h;
      c->off = 0;
      c->total = h + o.size - (o.size >= 8 ? 8 : 0);
      sent_all++;
    }
    struct iovec v[2];
    int n = 0;
    uint8_t *body = tail + (o.size >= 8 ? 8 : 0);
    if (c->off < c->hlen) {
      v[n++] = (struct iovec){c->hdr + c->off, c->hlen - c->off};
      v[n++] = (struct iovec){body, c->total - c->hlen};
    } else
      v[n++] = (struct iovec){body + (c->off - c->hlen), c->total - c->off};
    ssize_t w = writev(c->fd, v, n);
    if (w < 0) {
      if (errno != EAGAIN) { cli_drop(c, F_RESET); return -1; }
      cli_interest(c, EPOLLIN | EPOLLOUT);
      return 0;
    }
    c->off += (uint64_t)w;
    if (c->off < c->total) { cli_interest(c, EPOLLIN | EPOLLOUT); return 0; }
  }
  cli_interest(c, EPOLLIN);
  return 0;
}

static int cli_send(struct cli *c, uint64_t due) {
  if (c->tcount == ring_cap) { skipped++; return 0; }
  c->ts[(c->thead + c->tcount++) % ring_cap] = due;
  c->queued++;
  return cli_flush(c);
}

static void message_done(struct cli *c, uint64_t now) {
  uint64_t seq;
  if (c->pos != o.size) wrong++;
  else if (o.size >= 8) {
    memcpy(&seq, c->first, 8);
    if (seq != c->seq_in) wrong++;
  }
  c->seq_in++;
  c->pos = 0;
  echo_all++;
  last_echo = now;
  if (!c->tcount) { wrong++; return; } // an echo of nothing
  uint64_t t = c->ts[c->thead];
  c->thead = (c->thead + 1) % ring_cap;
  c->tcount--;
  if (measuring) {
    w_msgs++;
    w_bytes += o.size;
    hist_add(now > t ? now - t : 0);
  }
}

static uint32_t take_bytes(struct cli *c, uint8_t *p, size_t n, uint64_t now) {
  uint32_t done = 0;
  while (n) {
    if (!c->left) { // in a frame's head
      c->rh[c->rhn++] = *p++;
      n--;
      if (c->rhn < 2) continue;
      int l7 = c->rh[1] & 127, need = l7 == 126 ? 4 : l7 == 127 ? 10 : 2;
      if (c->rhn < need) continue;
      uint64_t len = (uint64_t)l7;
      if (need > 2) {
        len = 0;
        for (int i = 2; i < need; i++) len = len << 8 | c->rh[i];
      }
      if (c->rh[1] & 0x80) wrong++; // a server must not mask
      c->fin = c->rh[0] >> 7;
      c->op = c->rh[0] & 15;
      c->rhn = 0;
      c->left = len;
      if (len) continue;
    } else {
      size_t take = n < c->left ? n : (size_t)c->left;
      if (c->op < 8) {
        if (c->pos < 8) {
          size_t k = 8 - c->pos < take ? 8 - (size_t)c->pos : take;
          memcpy(c->first + c->pos, p, k);
        }
        if (o.verify && c->pos + take <= o.size) {
          size_t skip = c->pos >= 8 || o.size < 8 ? 0 : 8 - (size_t)c->pos;
          if (take > skip && memcmp(p + skip, plain + c->pos + skip, take - skip)) wrong++;
        }
        c->pos += take;
      } else if (c->op == 9 && c->left <= sizeof c->ping)
        memcpy(c->ping, p, take < sizeof c->ping ? take : sizeof c->ping);
      p += take;
      n -= take;
      c->left -= take;
      if (c->left) continue;
    }
    if (c->op == 8) { closed_early += !closing_all; return UINT32_MAX; }
    if (c->op == 9 && c->off == c->total) { // an empty pong is enough of an answer
      uint8_t pong[6] = {0x8a, 0x80, 1, 2, 3, 4};
      if (write(c->fd, pong, 6) < 0) { /* noticed at the next read */ }
    }
    if (c->op < 8 && c->fin) message_done(c, now), done++;
  }
  return done;
}

static void on_open(struct cli *c, uint64_t now) {
  c->st = OPEN;
  opened++;
  open_now++;
  if (storming) {
    if (measuring) shakes++, hist_add(now - c->t0);
    open_now--;
    close(c->fd);
    c->fd = -1;
    c->st = FREE;
  }
}

static void cli_event(struct cli *c, uint32_t events) {
  if (c->fd < 0) return;
  if (c->st == CONNECTING) {
    int err = 0;
    socklen_t l = sizeof err;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &l);
    if (err) { cli_drop(c, err == ECONNREFUSED ? F_REFUSED : err == ECONNRESET ? F_RESET : F_LOCAL); return; }
    if (write(c->fd, request, (size_t)request_n) != request_n) { cli_drop(c, F_RESET); return; }
    c->st = SHAKING;
    cli_interest(c, EPOLLIN);
    return;
  }
  if (events & EPOLLOUT && c->st == OPEN && cli_flush(c) < 0) return;
  if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP))) return;
  ssize_t r = read(c->fd, rbuf, sizeof rbuf);
  if (r < 0 && errno == EAGAIN) return;
  if (r <= 0) { cli_drop(c, r == 0 ? F_EOF : F_RESET); return; }
  uint8_t *p = rbuf;
  size_t n = (size_t)r;
  uint64_t now = now_ns();
  if (c->st == SHAKING) {
    if (!c->hb && !(c->hb = malloc(8192))) die("memory");
    size_t before = c->hbn, take = n < 8191 - c->hbn ? n : 8191 - c->hbn;
    memcpy(c->hb + c->hbn, p, take);
    c->hbn += (uint32_t)take;
    char *end = memmem(c->hb, c->hbn, "\r\n\r\n", 4);
    if (!end) { if (c->hbn >= 8191) cli_drop(c, F_STATUS); return; }
    size_t hl = (size_t)(end - c->hb) + 4;
    const char *v;
    if (strncmp(c->hb, "HTTP/1.1 101", 12)) {
      last_status = c->hbn > 12 ? strtoul(c->hb + 9, NULL, 10) : 0;
      cli_drop(c, F_STATUS);
      return;
    }
    int l = header_value(c->hb, hl, "sec-websocket-accept", &v);
    if (l != (int)strlen(want_accept) || strncmp(v, want_accept, (size_t)l)) { cli_drop(c, F_ACCEPT); return; }
    free(c->hb);
    c->hb = NULL;
    on_open(c, now);
    if (c->st != OPEN) return;
    p += hl - before;
    n -= hl - before;
    if (!n) return;
  }
  uint32_t done = take_bytes(c, p, n, now);
  if (done == UINT32_MAX) { closed_early -= !closing_all; cli_drop(c, F_EOF); return; }
  if (sending && !o.rate)
    while (done--)
      if (cli_send(c, now) < 0) return;
}

static void spin(int timeout_ms) {
  struct epoll_event evs[512];
  int n = epoll_wait(ep, evs, 512, timeout_ms);
  for (int i = 0; i < n; i++)
    if (evs[i].data.ptr) cli_event(evs[i].data.ptr, evs[i].events);
}

static void sweep(int n) {
  uint64_t now = now_ns();
  for (int i = 0; i < n; i++)
    if ((cs[i].st == CONNECTING || cs[i].st == SHAKING) && now - cs[i].t0 > o.timeout * 1e9) cli_drop(&cs[i], F_TIMEOUT);
}

// Opens all connections, at most `parallel` handshakes at a time.
static void open_all(int parallel) {
  int next = 0;
  uint64_t swept = now_ns();
  for (;;) {
    uint64_t bad = 0;
    for (int k = 0; k < F_KINDS; k++) bad += fails[k];
    while (next < o.conns && (uint64_t)next - opened - bad < (uint64_t)parallel) {
      cli_open(&cs[next++]);
      if (cs[next - 1].st == DEAD) bad++;
    }
    if (next == o.conns && opened + bad >= (uint64_t)o.conns) return;
    spin(20);
    if (now_ns() - swept > 200000000ull) sweep(next), swept = now_ns();
  }
}

static void print_fails(void) {
  uint64_t all = 0;
  for (int k = 0; k < F_KINDS; k++) all += fails[k];
  printf(",\"failed\":%llu,\"fails\":{", (unsigned long long)all);
  for (int k = 0, some = 0; k < F_KINDS; k++)
    if (fails[k]) printf("%s\"%s\":%llu", some++ ? "," : "", f_name[k], (unsigned long long)fails[k]);
  printf("}");
  if (last_status) printf(",\"last_status\":%llu", (unsigned long long)last_status);
}

static void print_window(const struct snap *a, const struct snap *b) {
  double wall = (double)(b->t - a->t) / 1e9, gw = b->gw.sched_s - a->gw.sched_s, st = b->gw.stat_s - a->gw.stat_s;
  double ours = gw + (b->mine.sched_s - a->mine.sched_s) + (b->self - a->self);
  printf(",\"seconds\":%.3f,\"gw_cpu_s\":%.4f,\"gw_cpu_stat_s\":%.2f,\"gw_user_s\":%.2f,\"gw_wait_s\":%.4f,\"gw_util\":%.3f,\"echo_cpu_s\":%.3f,\"load_cpu_s\":%.3f,"
         "\"foreign_cpu_s\":%.3f,\"steal_s\":%.3f",
         wall, gw, st, b->gw.user_s - a->gw.user_s, b->gw.wait_s - a->gw.wait_s, wall > 0 ? gw / wall : 0, b->mine.sched_s - a->mine.sched_s, b->self - a->self, b->busy - a->busy - ours, b->steal - a->steal);
}

static void print_latency(void) {
  printf(",\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"max_us\":%.1f", hist_us(.5), hist_us(.9), hist_us(.99), hist_us(.999),
         (double)hist_max / 1e3);
}

static void begin_window(struct snap *s) {
  hist_clear();
  w_msgs = w_bytes = shakes = 0;
  measuring = 1;
  *s = snapshot();
}

static int load_main(void) {
  prepare();
  ring_cap = o.rate ? 1024 : (uint32_t)o.inflight;
  cs = calloc((size_t)o.conns, sizeof *cs);
  for (int i = 0; i < o.conns; i++)
    if (!(cs[i].ts = calloc(ring_cap, 8))) die("memory");
  open_all(64);
  int stalled = 0;
  struct snap a = {0}, b = {0};
  if (open_now) {
    sending = 1;
    uint64_t start = now_ns(), from = start + (uint64_t)(o.warm * 1e9), to = from + (uint64_t)(o.seconds * 1e9), now;
    last_echo = start;
    int tfd = -1;
    if (o.rate) {
      tfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
      watch(tfd, EPOLL_CTL_ADD, EPOLLIN | EPOLLET, NULL);
    } else
      for (int i = 0; i < o.conns; i++)
        for (int k = 0; k < o.inflight && cs[i].st == OPEN; k++) cli_send(&cs[i], now_ns());
    double step = o.rate ? 1e9 / o.rate : 0;
    uint64_t sent_no = 0, turn = 0, due = start;
    while ((now = now_ns()) < to && open_now) {
      if (!measuring && now >= from) begin_window(&a);
      if (now - last_echo > (uint64_t)(o.timeout * 1e9)) { stalled = 1; break; }
      if (o.rate) {
        while (due <= now) {
          struct cli *c = NULL;
          for (int k = 0; k < o.conns && (!c || c->st != OPEN); k++) c = &cs[turn++ % (uint64_t)o.conns];
          if (c->st == OPEN) cli_send(c, due);
          due = start + (uint64_t)((double)++sent_no * step);
        }
        struct itimerspec it = {.it_value = {(time_t)(due / 1000000000ull), (long)(due % 1000000000ull)}};
        timerfd_settime(tfd, TFD_TIMER_ABSTIME, &it, NULL);
      }
      spin(20);
    }
    if (!measuring) begin_window(&a);
    b = snapshot();
    measuring = sending = 0;
    for (now = now_ns(); echo_all < sent_all && open_now && now_ns() - now < 2000000000ull;) spin(20); // let the last ones come home
  }
  double wall = b.t > a.t ? (double)(b.t - a.t) / 1e9 : 1;
  printf("{\"mode\":\"load\",\"conns\":%d,\"size\":%zu,\"opened\":%llu", o.conns, o.size, (unsigned long long)opened);
  print_fails();
  printf(",\"closed_early\":%llu,\"sent\":%llu,\"echoed\":%llu,\"lost\":%lld,\"wrong\":%llu,\"skipped\":%llu,\"stalled\":%s",
         (unsigned long long)closed_early, (unsigned long long)sent_all, (unsigned long long)echo_all, (long long)(sent_all - echo_all),
         (unsigned long long)wrong, (unsigned long long)skipped, stalled ? "true" : "false");
  printf(",\"round_trips\":%llu,\"per_s\":%.1f,\"gb_per_s\":%.4f", (unsigned long long)w_msgs, (double)w_msgs / wall, 2 * (double)w_bytes / wall / 1e9);
  print_window(&a, &b);
  print_latency();
  printf("}\n");
  return !(opened == (uint64_t)o.conns && !closed_early && sent_all == echo_all && !wrong && !stalled);
}

static int storm_main(void) {
  prepare();
  storming = 1;
  cs = calloc((size_t)o.parallel, sizeof *cs);
  for (int i = 0; i < o.parallel; i++) cs[i].fd = -1;
  struct snap a = {0}, b;
  uint64_t start = now_ns(), from = start + (uint64_t)(o.warm * 1e9), to = from + (uint64_t)(o.seconds * 1e9), now, swept = start, open0 = 0;
  while ((now = now_ns()) < to) {
    if (!measuring && now >= from) {
      begin_window(&a);
      memset(fails, 0, sizeof fails);
      open0 = opened;
    }
    for (int i = 0; i < o.parallel; i++)
      if (cs[i].st == FREE || cs[i].st == DEAD) cli_open(&cs[i]);
    spin(20);
    if (now - swept > 200000000ull) sweep(o.parallel), swept = now;
  }
  measuring = 0;
  double wall = (double)(now_ns() - a.t) / 1e9;
  uint64_t done;
  for (uint64_t until = now_ns() + 300000000ull; now_ns() < until;) spin(20); // its clearing up counts too
  b = snapshot();
  for (int i = 0; i < o.parallel; i++)
    if (cs[i].st == CONNECTING || cs[i].st == SHAKING) fails[F_TIMEOUT]++;
  done = opened - open0;
  printf("{\"mode\":\"storm\",\"parallel\":%d,\"opened\":%llu,\"handshakes\":%llu,\"per_s\":%.1f", o.parallel, (unsigned long long)opened,
         (unsigned long long)done, (double)shakes / wall);
  print_fails();
  print_window(&a, &b);
  print_latency();
  printf("}\n");
  return 0;
}

static int idle_main(void) {
  prepare();
  ring_cap = 1;
  cs = calloc((size_t)o.conns, sizeof *cs);
  for (int i = 0; i < o.conns; i++)
    if (!(cs[i].ts = calloc(ring_cap, 8))) die("memory");
  uint64_t t0 = now_ns();
  open_all(o.parallel);
  double open_s = (double)(now_ns() - t0) / 1e9;
  uint64_t at_open = open_now;
  printf("{\"event\":\"open\",\"opened\":%llu,\"open_s\":%.2f}\n", (unsigned long long)opened, open_s);
  fflush(stdout);
  struct snap a = snapshot(), b;
  for (uint64_t until = now_ns() + (uint64_t)(o.hold * 1e9); now_ns() < until;) spin(50);
  b = snapshot();
  uint64_t after = open_now;
  measuring = 1;
  last_echo = now_ns();
  for (int i = 0; i < o.conns; i++) { // is each one alive? one message through each
    if (cs[i].st == OPEN) cli_send(&cs[i], now_ns());
    while (sent_all - echo_all > 128 && now_ns() - last_echo < (uint64_t)(o.timeout * 1e9)) spin(20);
  }
  for (last_echo = now_ns(); echo_all < sent_all && now_ns() - last_echo < (uint64_t)(o.timeout * 1e9);) spin(20);
  closing_all = 1;
  printf("{\"mode\":\"idle\",\"conns\":%d,\"opened\":%llu,\"open_s\":%.2f,\"open_at_hold\":%llu,\"open_after_hold\":%llu,\"alive\":%llu,\"wrong\":%llu",
         o.conns, (unsigned long long)opened, open_s, (unsigned long long)at_open, (unsigned long long)after, (unsigned long long)w_msgs,
         (unsigned long long)wrong);
  print_fails();
  print_window(&a, &b);
  printf("}\n");
  return !(w_msgs == (uint64_t)o.conns && !wrong);
}

static int usage(void) {
  fprintf(stderr, "usage: wsload echo PORT (0: any free one)\n"
                  "       wsload load|storm|idle HOST PORT PATH [--conns N] [--size B] [--inflight K | --rate R] [--parallel P]\n"
                  "              [--seconds S] [--warm S] [--hold S] [--timeout S] [--spread] [--verify] [--pids a,b] [--mine a,b]\n");
  return 2;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  struct rlimit rl;
  if (!getrlimit(RLIMIT_NOFILE, &rl)) rl.rlim_cur = rl.rlim_max, setrlimit(RLIMIT_NOFILE, &rl);
  ep = epoll_create1(EPOLL_CLOEXEC);
  if (argc == 3 && !strcmp(argv[1], "echo")) return echo_main(atoi(argv[2]));
  if (argc < 5) return usage();
  o.host = argv[2], o.port = atoi(argv[3]), o.path = argv[4];
  for (int i = 5; i < argc; i++) {
    const char *k = argv[i], *v = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(k, "--spread")) { o.spread = 1; continue; }
    if (!strcmp(k, "--verify")) { o.verify = 1; continue; }
    i++;
    if (!strcmp(k, "--conns")) o.conns = atoi(v);
    else if (!strcmp(k, "--size")) o.size = strtoull(v, NULL, 10);
    else if (!strcmp(k, "--inflight")) o.inflight = atoi(v);
    else if (!strcmp(k, "--parallel")) o.parallel = atoi(v);
    else if (!strcmp(k, "--rate")) o.rate = atof(v);
    else if (!strcmp(k, "--seconds")) o.seconds = atof(v);
    else if (!strcmp(k, "--warm")) o.warm = atof(v);
    else if (!strcmp(k, "--hold")) o.hold = atof(v);
    else if (!strcmp(k, "--timeout")) o.timeout = atof(v);
    else if (!strcmp(k, "--pids")) pids_gw = parse_pids(v);
    else if (!strcmp(k, "--mine")) pids_mine = parse_pids(v);
    else return usage();
  }
  if (o.conns < 1 || o.inflight < 1 || o.parallel < 1 || o.size > (1u << 28)) return usage();
  if (!strcmp(argv[1], "load")) return load_main();
  if (!strcmp(argv[1], "storm")) return storm_main();
  if (!strcmp(argv[1], "idle")) return idle_main();
  return usage();
}
