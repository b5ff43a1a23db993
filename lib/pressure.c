/* SPDX-License-Identifier: MIT */
/*
 * Memory pressure (layer 5): see pressure.h. Invariant: a source that is not there is left out; nothing
 * here fails for lack of one.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "../numa/kernel.h"
#include "../numa/limits.h"
#include "pressure.h"

#define HOLD_NS INT64_C(2000000000)
#define AGAIN_NS INT64_C(1000000000)    /* between two calls of the callbacks at one level */
#define WATCHFUL_NS INT64_C(10000000000)
#define CALLBACKS 16
#define HIGH 512                        /* descriptors from here on */
#define TRIGGER "some 200000 2000000"   /* stalled for 0.2 s within 2: what systemd asks for as well */

enum source { WAKE, STALL, EVENTS, SOURCES };

static struct pollfd source[SOURCES] = { { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };
static struct { dev_t device; ino_t number; } file[SOURCES]; /* that these are */
static _Atomic uint64_t wake_end;       /* WAKE's other end: inode : 32, descriptor plus 1 : 32 */
static _Atomic uint32_t busy;           /* a thread looks, or sleeps on the sources */
static _Atomic bool named;              /* mews_pressure_watch has said what to watch */
static char watch[PATH_MAX], trigger[256];
static size_t trigger_length;
static bool opened, stalled;            /* stalled: a trigger fired since the last look */
static struct mews_limits limits = { .memory = MEWS_UNLIMITED, .memory_high = MEWS_UNLIMITED };
static struct mews_pressure_state state;
static int64_t told;
static int64_t watchful;                /* until then the program may be closing descriptors still */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
	void (*tell)(void *context, enum mews_pressure level, uint64_t bytes);
	void *context;
} callback[CALLBACKS];
static _Atomic uint32_t callbacks;

/* The level that use alone asks for; one that holds already asks for five points less. */
static enum mews_pressure level_of_use(const struct mews_pressure_signs *signs,
				       enum mews_pressure held)
{
	static const unsigned percent[] = { 0, 80, 90, 97 };
	enum mews_pressure level = MEWS_PRESSURE_CRITICAL;

	if (signs->limit == UINT64_MAX || signs->limit == 0)
		return MEWS_PRESSURE_NONE;
	while (level > MEWS_PRESSURE_NONE &&
	       signs->use < signs->limit / 100 * (percent[level] - (level <= held ? 5 : 0)))
		level--;
	return level;
}

static uint64_t comfort_of(const struct mews_pressure_signs *signs)
{
	return signs->limit / 4 * 3;
}

bool mews_pressure_decide(struct mews_pressure_state *s, const struct mews_pressure_signs *signs,
			  int64_t now)
{
	enum mews_pressure asked = level_of_use(signs, s->level);
	bool near = signs->limit == UINT64_MAX || signs->use >= comfort_of(signs);
	bool max = near && signs->max > s->max, high = near && signs->high > s->high;
	bool event = signs->stalled || high || max;

	if (max)
		asked = MEWS_PRESSURE_CRITICAL;
	else if (high && asked < MEWS_PRESSURE_MEDIUM)
		asked = MEWS_PRESSURE_MEDIUM;
	else if (signs->stalled && asked < MEWS_PRESSURE_LOW)
		asked = MEWS_PRESSURE_LOW;
	s->high = signs->high;
	s->max = signs->max;
	if (asked > s->level)
		event = true;
	if (asked >= s->level) {
		s->level = asked;
		s->since = now;
	} else if (now - s->since >= HOLD_NS) {
		s->level--;
		s->since = now;
	}
	return event;
}

/* RFC 4648. Returns the length, cut at size. */
static size_t decode_base64(const char *text, char *out, size_t size)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *digit;
	uint32_t bits = 0;
	unsigned have = 0;
	size_t length = 0;

	for (; *text && (digit = strchr(digits, *text)) && length < size; text++) {
		bits = bits << 6 | (uint32_t)(digit - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[length++] = (char)(bits >> have);
		}
	}
	return length;
}

/*
 * Programs close descriptors that they know nothing of, as daemons do, and the numbers become others'. So
 * none is used but after a look whether it is the file still that was opened.
 */
static bool is_ours(enum source which)
{
	struct stat now;

	return source[which].fd >= 0 && mews_kernel->fstat(source[which].fd, &now) == 0 &&
	       now.st_dev == file[which].device && now.st_ino == file[which].number;
}

static bool is_lost(enum source which)
{
	return source[which].fd >= 0 && !is_ours(which);
}

/*
 * To a number that is not given out again soon: a poll looks at the numbers anew when it is woken, as by
 * a descriptor that was closed, and would go on to sleep on another's.
 */
static int lift(int fd)
{
	int high = mews_kernel->dup_above(fd, HIGH);

	if (high < 0)
		return fd;
	mews_kernel->close(fd);
	return high;
}

/* Keeps a descriptor; closes it where nobody tells what it is. */
static bool keep_source(enum source which, int fd, short events, struct stat *stat)
{
	fd = lift(fd);
	if (mews_kernel->fstat(fd, stat)) {
		mews_kernel->close(fd);
		return false;
	}
	source[which] = (struct pollfd) { .fd = fd, .events = events };
	file[which].device = stat->st_dev;
	file[which].number = stat->st_ino;
	return true;
}

static void close_source(enum source which)
{
	if (is_ours(which))
		mews_kernel->close(source[which].fd);
	source[which].fd = -1;
}

static uint64_t end_of(int fd, const struct stat *stat)
{
	return (uint64_t)stat->st_ino << 32 | (uint32_t)(fd + 1);
}

/* The descriptor of WAKE's other end; -1 where it is not ours, or not any more. */
static int descriptor_of(uint64_t end)
{
	int fd = (int)(uint32_t)end - 1;
	struct stat stat;

	return end && mews_kernel->fstat(fd, &stat) == 0 && S_ISSOCK(stat.st_mode) &&
	       end_of(fd, &stat) == end ? fd : -1;
}

/*
 * A pair of sockets rather than an eventfd: they are told from others, and who sleeps on one wakes when
 * the other is closed.
 */
static void open_wake(void)
{
	struct stat stat;
	int pair[2], end;

	if (mews_kernel->socketpair(pair))
		return;
	end = lift(pair[1]);
	if (keep_source(WAKE, pair[0], POLLIN, &stat) && mews_kernel->fstat(end, &stat) == 0) {
		atomic_store(&wake_end, end_of(end, &stat));
		return;
	}
	close_source(WAKE);
	mews_kernel->close(end);
}

static void close_sources(void)
{
	int end = descriptor_of(atomic_exchange(&wake_end, 0));
	enum source which;

	if (end >= 0)
		mews_kernel->close(end);
	for (which = 0; which < SOURCES; which++)
		close_source(which);
}

static bool say(enum source which, const struct stat *stat, const char *text, size_t length)
{
	return (S_ISSOCK(stat->st_mode) ? mews_kernel->send : mews_kernel->write)
		(source[which].fd, text, length) == (ssize_t)length;
}

/* A PSI file takes a trigger and then is polled for POLLPRI; a FIFO or a socket, for POLLIN. */
static bool open_stall(const char *path, const char *text, size_t length)
{
	struct stat stat;
	int fd = mews_kernel->open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENXIO)
		fd = mews_kernel->connect_unix(path);
	if (fd < 0 || !keep_source(STALL, fd, POLLIN, &stat))
		return false;
	if (S_ISREG(stat.st_mode))
		source[STALL].events = POLLPRI;
	if (!length || S_ISFIFO(stat.st_mode) || say(STALL, &stat, text, length))
		return true;
	close_source(STALL);
	return false;
}

void mews_pressure_watch(const char *path, const char *encoded)
{
	snprintf(watch, sizeof(watch), "%s", path ? path : "");
	trigger_length = encoded ? decode_base64(encoded, trigger, sizeof(trigger)) : 0;
	atomic_store(&named, true);
}

/* As systemd says where it says, see its Memory Pressure Handling; else the cgroup's; else all. */
static void find_stall(void)
{
	char own[sizeof(limits.v2_directory) + 32];

	if (watch[0]) {
		if (strcmp(watch, "/dev/null") != 0)
			open_stall(watch, trigger, trigger_length);
		return;
	}
	snprintf(own, sizeof(own), "%s/memory.pressure", limits.v2_directory);
	if (!limits.v2_directory[0] || !open_stall(own, TRIGGER, sizeof(TRIGGER)))
		open_stall("/proc/pressure/memory", TRIGGER, sizeof(TRIGGER));
}

static uint64_t counter(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

/* Opened anew each time: what was read through a descriptor is what it is polled for. */
static void read_events(struct mews_pressure_signs *signs)
{
	char path[sizeof(limits.v2_directory) + 32], text[256] = "\n";
	struct stat stat;
	ssize_t length;
	int fd;

	close_source(EVENTS);
	if (!limits.v2_directory[0])
		return;
	snprintf(path, sizeof(path), "%s/memory.events", limits.v2_directory);
	fd = mews_kernel->open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || !keep_source(EVENTS, fd, POLLPRI, &stat))
		return;
	length = mews_kernel->read(source[EVENTS].fd, text + 1, sizeof(text) - 2);
	text[length > 0 ? length + 1 : 1] = 0;
	signs->high = counter(text, "\nhigh ");
	signs->max = counter(text, "\nmax ");
}

/* Reads a file of the cgroup by whose use we judge, by its name in either version. */
static bool read_own(const char *v2, const char *v1, char *text, size_t size)
{
	bool is_v2 = limits.v2_directory[0] && limits.cgroup_version == 2;
	char path[sizeof(limits.v2_directory) + 32];

	snprintf(path, sizeof(path), "%s/%s",
		 is_v2 ? limits.v2_directory : limits.v1_memory_directory, is_v2 ? v2 : v1);
	return path[0] == '/' && mews_kernel_read_text(path, text, size) > 0;
}

/* Of file pages that nobody uses the kernel makes room by itself. Only version 1 has a total. */
static uint64_t unused_files(void)
{
	char text[4096];
	uint64_t bytes;

	if (!read_own("memory.stat", "memory.stat", text, sizeof(text)))
		return 0;
	bytes = counter(text, "\ntotal_inactive_file ");
	return bytes ? bytes : counter(text, "\ninactive_file ");
}

static void read_use(struct mews_pressure_signs *signs)
{
	uint64_t files;
	char text[32];

	signs->limit = UINT64_MAX;
	if (!read_own("memory.current", "memory.usage_in_bytes", text, sizeof(text)))
		return;
	signs->limit = limits.memory < limits.memory_high ? limits.memory : limits.memory_high;
	signs->use = strtoull(text, NULL, 10);
	files = unused_files();
	signs->use -= files < signs->use ? files : signs->use;
}

static bool fired(enum source which)
{
	char ignored[64];

	if (!source[which].revents || !is_ours(which))
		return false;
	if (source[which].events == POLLIN)
		while (mews_kernel->read(source[which].fd, ignored, sizeof(ignored)) ==
		       sizeof(ignored))
			;
	/* Its cgroup is gone, or who listened at the other end. */
	if (which == STALL && source[which].revents & (POLLERR | POLLHUP)) {
		close_source(which);
		return false;
	}
	return true;
}

static bool all_there(void)
{
	uint64_t end = atomic_load(&wake_end);

	return !is_lost(WAKE) && !is_lost(STALL) && !is_lost(EVENTS) &&
	       (!end || descriptor_of(end) >= 0);
}

/* Once; and anew where the program has closed one of them. */
static void open_sources(void)
{
	struct mews_pressure_signs signs = { 0 };

	if (!atomic_load(&named) || (opened && all_there()))
		return;
	close_sources();
	mews_limits_read("", 0, &limits);
	find_stall();
	read_events(&signs); /* what was counted before is no news */
	if (opened)
		watchful = mews_kernel_now() + WATCHFUL_NS;
	else
		state = (struct mews_pressure_state) { .high = signs.high, .max = signs.max };
	opened = true;
	open_wake();
}

static void tell_all(uint64_t bytes)
{
	int i;

	pthread_mutex_lock(&mutex);
	for (i = 0; i < CALLBACKS; i++)
		if (callback[i].tell)
			callback[i].tell(callback[i].context, state.level, bytes);
	pthread_mutex_unlock(&mutex);
}

/* A trigger fires once: whoever polls notes it for the next look. */
static int poll_sources(const struct timespec *step)
{
	int result = mews_kernel->ppoll(source, SOURCES, step);

	if (result > 0) {
		stalled |= fired(STALL);
		fired(WAKE);
	}
	return result;
}

/* Bytes above what is comfortable, three quarters; 0 where there is no limit to tell it by. */
static uint64_t wanted_back(const struct mews_pressure_signs *signs)
{
	uint64_t comfort = comfort_of(signs);

	return signs->limit != UINT64_MAX && signs->use > comfort ? signs->use - comfort : 0;
}

static bool look(void)
{
	struct mews_pressure_signs signs = { .high = state.high, .max = state.max };
	enum mews_pressure before = state.level;
	const struct timespec none = { 0 };
	int64_t now = mews_kernel_now();
	int saved = errno;
	bool news;

	open_sources();
	poll_sources(&none);
	signs.stalled = stalled;
	stalled = false;
	read_events(&signs);
	read_use(&signs);
	news = mews_pressure_decide(&state, &signs, now);
	if (state.level != before || (state.level && news && now - told >= AGAIN_NS)) {
		told = now;
		tell_all(wanted_back(&signs));
	}
	errno = saved;
	return news || state.level >= MEWS_PRESSURE_MEDIUM;
}

bool mews_pressure_look(void)
{
	bool news;

	if (atomic_exchange(&busy, 1))
		return false;
	news = look();
	atomic_store(&busy, 0);
	return news;
}

/*
 * Under pressure, and where use can only be read: once a second. And while what we sleep on may become
 * another's just before we do.
 */
static bool by_clock(void)
{
	return state.level || limits.memory != MEWS_UNLIMITED ||
	       limits.memory_high != MEWS_UNLIMITED || mews_kernel_now() < watchful;
}

static bool sleep_on_word(uint32_t *word, uint32_t seen, const struct timespec *step)
{
	return mews_kernel->futex_wait(word, seen, step) == 0 || errno == EAGAIN ||
	       errno == ETIMEDOUT || errno == EINTR;
}

static bool sleep_on_sources(uint32_t *word, uint32_t seen, const struct timespec *step)
{
	if (source[WAKE].fd < 0)
		return sleep_on_word(word, seen, step);
	if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != seen)
		return true;
	return poll_sources(step) >= 0 || errno == EINTR;
}

bool mews_pressure_sleep(uint32_t *word, uint32_t seen, const struct timespec *step)
{
	const struct timespec longest = { .tv_sec = AGAIN_NS / 1000000000 };
	bool slept, others = atomic_exchange(&busy, 1);

	if (!others)
		open_sources();
	if ((others || by_clock()) && (!step || step->tv_sec >= longest.tv_sec))
		step = &longest;
	slept = (others ? sleep_on_word : sleep_on_sources)(word, seen, step);
	if (!others)
		atomic_store(&busy, 0);
	return slept;
}

void mews_pressure_wake(uint32_t *word)
{
	int saved = errno, fd = descriptor_of(atomic_load(&wake_end));

	if (fd >= 0)
		mews_kernel->send(fd, "", 1);
	mews_kernel->futex_wake(word, INT_MAX); /* who slept before there was a pair */
	errno = saved;
}

void mews_pressure_child(void)
{
	pthread_mutex_init(&mutex, NULL);
	atomic_store(&busy, 0);
	close_sources();
	opened = stalled = false;
}

bool mews_pressure_told(void)
{
	return atomic_load(&callbacks);
}

MEWS_API int mews_on_pressure(void (*tell)(void *context, enum mews_pressure level, uint64_t bytes),
			      void *context)
{
	int i = 0;

	if (!tell)
		return -EINVAL;
	pthread_mutex_lock(&mutex);
	while (i < CALLBACKS && callback[i].tell)
		i++;
	if (i < CALLBACKS) {
		callback[i].context = context;
		callback[i].tell = tell;
		atomic_fetch_add(&callbacks, 1);
	}
	pthread_mutex_unlock(&mutex);
	return i < CALLBACKS ? 0 : -ENOSPC;
}

MEWS_API int mews_off_pressure(void (*tell)(void *context, enum mews_pressure level, uint64_t bytes),
			       void *context)
{
	int i, result = -ENOENT;

	pthread_mutex_lock(&mutex);
	for (i = 0; i < CALLBACKS && result; i++)
		if (tell && callback[i].tell == tell && callback[i].context == context) {
			callback[i].tell = NULL;
			atomic_fetch_sub(&callbacks, 1);
			result = 0;
		}
	pthread_mutex_unlock(&mutex);
	return result;
}
