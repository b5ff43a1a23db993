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
#include <sys/eventfd.h>
#include <sys/stat.h>
#include "../numa/kernel.h"
#include "../numa/limits.h"
#include "pressure.h"

#define HOLD_NS INT64_C(2000000000)
#define AGAIN_NS INT64_C(1000000000)    /* between two calls of the callbacks at one level */
#define CALLBACKS 16
#define TRIGGER "some 200000 2000000"   /* stalled for 0.2 s within 2: what systemd asks for as well */

enum source { WAKE, STALL, EVENTS, SOURCES };

static struct pollfd source[SOURCES] = { { .fd = -1 }, { .fd = -1 }, { .fd = -1 } };
static _Atomic uint32_t wake_event;     /* descriptor plus 1 */
static _Atomic uint32_t busy;           /* a thread looks, or sleeps on the sources */
static _Atomic bool named;              /* mews_pressure_watch has said what to watch */
static char watch[PATH_MAX], trigger[256];
static size_t trigger_length;
static bool opened, stalled;            /* stalled: a trigger fired since the last look */
static struct mews_limits limits = { .memory = MEWS_UNLIMITED, .memory_high = MEWS_UNLIMITED };
static struct mews_pressure_state state;
static int64_t told;

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct {
	void (*tell)(void *context, enum mews_pressure level, uint64_t bytes);
	void *context;
} callback[CALLBACKS];

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

bool mews_pressure_decide(struct mews_pressure_state *s, const struct mews_pressure_signs *signs,
			  int64_t now)
{
	enum mews_pressure asked = level_of_use(signs, s->level);
	bool event = signs->stalled || signs->high > s->high || signs->max > s->max;

	if (signs->max > s->max)
		asked = MEWS_PRESSURE_CRITICAL;
	else if (signs->high > s->high && asked < MEWS_PRESSURE_MEDIUM)
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

static void close_source(enum source which)
{
	if (source[which].fd >= 0)
		mews_kernel->close(source[which].fd);
	source[which].fd = -1;
}

/* A PSI file takes a trigger and then is polled for POLLPRI; a FIFO or a socket, for POLLIN. */
static bool open_stall(const char *path, const char *text, size_t length)
{
	struct stat stat;
	int fd = mews_kernel->open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 && errno == ENXIO)
		fd = mews_kernel->connect_unix(path);
	if (fd < 0)
		return false;
	source[STALL].fd = fd;
	if (mews_kernel->fstat(fd, &stat) == 0 &&
	    (!length || S_ISFIFO(stat.st_mode) ||
	     mews_kernel->write(fd, text, length) == (ssize_t)length)) {
		source[STALL].events = S_ISREG(stat.st_mode) ? POLLPRI : POLLIN;
		return true;
	}
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
	ssize_t length;

	close_source(EVENTS);
	if (!limits.v2_directory[0])
		return;
	snprintf(path, sizeof(path), "%s/memory.events", limits.v2_directory);
	source[EVENTS].fd = mews_kernel->open(path, O_RDONLY | O_CLOEXEC);
	source[EVENTS].events = POLLPRI;
	if (source[EVENTS].fd < 0)
		return;
	length = mews_kernel->read(source[EVENTS].fd, text + 1, sizeof(text) - 2);
	text[length > 0 ? length + 1 : 1] = 0;
	signs->high = counter(text, "\nhigh ");
	signs->max = counter(text, "\nmax ");
}

static void read_use(struct mews_pressure_signs *signs)
{
	bool v2 = limits.v2_directory[0] && limits.cgroup_version == 2;
	char path[sizeof(limits.v2_directory) + 32], text[32];

	signs->limit = limits.memory < limits.memory_high ? limits.memory : limits.memory_high;
	snprintf(path, sizeof(path), "%s/%s", v2 ? limits.v2_directory : limits.v1_memory_directory,
		 v2 ? "memory.current" : "memory.usage_in_bytes");
	if (path[0] != '/' || mews_kernel_read_text(path, text, sizeof(text)) <= 0)
		signs->limit = UINT64_MAX;
	else
		signs->use = strtoull(text, NULL, 10);
}

static bool fired(enum source which)
{
	char ignored[64];

	if (source[which].fd < 0 || !source[which].revents)
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

static void open_sources(void)
{
	struct mews_pressure_signs signs = { 0 };

	if (opened || !atomic_load(&named))
		return;
	opened = true;
	mews_limits_read("", 0, &limits);
	find_stall();
	read_events(&signs); /* what was counted before is no news */
	state = (struct mews_pressure_state) { .high = signs.high, .max = signs.max };
	source[WAKE].fd = mews_kernel->eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	source[WAKE].events = POLLIN;
	atomic_store(&wake_event, (uint32_t)(source[WAKE].fd + 1));
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
	uint64_t comfort = signs->limit / 4 * 3;

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

/* Under pressure, and where use can only be read: once a second. */
static bool by_clock(void)
{
	return state.level || limits.memory != MEWS_UNLIMITED || limits.memory_high != MEWS_UNLIMITED;
}

static bool sleep_on_word(uint32_t *word, uint32_t seen, const struct timespec *step)
{
	return mews_kernel->futex_wait(word, seen, step) == 0 || errno == EAGAIN ||
	       errno == ETIMEDOUT || errno == EINTR;
}

static bool sleep_on_sources(uint32_t *word, uint32_t seen, const struct timespec *step)
{
	open_sources();
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

	if ((others || by_clock()) && (!step || step->tv_sec >= longest.tv_sec))
		step = &longest;
	slept = (others ? sleep_on_word : sleep_on_sources)(word, seen, step);
	if (!others)
		atomic_store(&busy, 0);
	return slept;
}

void mews_pressure_wake(uint32_t *word)
{
	uint32_t event = atomic_load(&wake_event);
	uint64_t one = 1;
	int saved = errno;

	if (event)
		mews_kernel->write((int)event - 1, &one, sizeof(one));
	mews_kernel->futex_wake(word, INT_MAX); /* who slept before there was an eventfd */
	errno = saved;
}

void mews_pressure_child(void)
{
	enum source which;

	pthread_mutex_init(&mutex, NULL);
	atomic_store(&busy, 0);
	atomic_store(&wake_event, 0);
	for (which = 0; which < SOURCES; which++)
		close_source(which);
	opened = stalled = false;
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
			result = 0;
		}
	pthread_mutex_unlock(&mutex);
	return result;
}
