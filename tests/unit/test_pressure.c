/* SPDX-License-Identifier: MIT */
/* Pressure: levels rise and fall as they should; what systemd names is watched; the user is told. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/pressure.h"
#include "numa/kernel.h"
#include "tests/support/temporary.h"
#include "tests/support/threads.h"

#define SECOND INT64_C(1000000000)

static struct mews_pressure_state state;
static struct mews_pressure_signs signs;

static void start(void)
{
	state = (struct mews_pressure_state) { 0 };
	signs = (struct mews_pressure_signs) { .limit = UINT64_MAX };
}

static enum mews_pressure after(double seconds, bool news)
{
	assert_int_equal(mews_pressure_decide(&state, &signs, (int64_t)(seconds * SECOND)), news);
	return state.level;
}

static void test_stalls(void **unused)
{
	(void)unused;
	start();
	assert_int_equal(after(0, false), MEWS_PRESSURE_NONE);
	signs.stalled = true;
	assert_int_equal(after(1, true), MEWS_PRESSURE_LOW);
	assert_int_equal(after(2, true), MEWS_PRESSURE_LOW);
	signs.stalled = false;
	assert_int_equal(after(3.9, false), MEWS_PRESSURE_LOW);
	assert_int_equal(after(4, false), MEWS_PRESSURE_NONE);
}

static void test_events_of_the_cgroup(void **unused)
{
	(void)unused;
	start();
	signs.high = 7;
	assert_int_equal(after(0, true), MEWS_PRESSURE_MEDIUM);
	assert_int_equal(after(1, false), MEWS_PRESSURE_MEDIUM);
	signs.max = 1;
	assert_int_equal(after(1.5, true), MEWS_PRESSURE_CRITICAL);
	/* Down a step at a time, each after two quiet seconds. */
	assert_int_equal(after(3.4, false), MEWS_PRESSURE_CRITICAL);
	assert_int_equal(after(3.5, false), MEWS_PRESSURE_MEDIUM);
	assert_int_equal(after(5.4, false), MEWS_PRESSURE_MEDIUM);
	assert_int_equal(after(5.5, false), MEWS_PRESSURE_LOW);
	assert_int_equal(after(7.5, false), MEWS_PRESSURE_NONE);
}

/* Use that swings around a threshold does not make the level swing. */
static void test_use(void **unused)
{
	(void)unused;
	start();
	signs.limit = 1000;
	signs.use = 799;
	assert_int_equal(after(0, false), MEWS_PRESSURE_NONE);
	signs.use = 800;
	assert_int_equal(after(1, true), MEWS_PRESSURE_LOW);
	signs.use = 760;
	for (int second = 2; second < 10; second++)
		assert_int_equal(after(second, false), MEWS_PRESSURE_LOW);
	signs.use = 900;
	assert_int_equal(after(10, true), MEWS_PRESSURE_MEDIUM);
	signs.use = 970;
	assert_int_equal(after(11, true), MEWS_PRESSURE_CRITICAL);
	signs.use = 740;
	assert_int_equal(after(13, false), MEWS_PRESSURE_MEDIUM);
	assert_int_equal(after(15, false), MEWS_PRESSURE_LOW);
	assert_int_equal(after(17, false), MEWS_PRESSURE_NONE);
}

/* What a cgroup reads fills any limit, and has it reached: no pressure while little is in use. */
static void test_files(void **unused)
{
	(void)unused;
	start();
	signs.limit = 1000;
	signs.use = 749;
	signs.high = 7;
	signs.max = 5;
	assert_int_equal(after(0, false), MEWS_PRESSURE_NONE);
	signs.use = 750;
	assert_int_equal(after(1, false), MEWS_PRESSURE_NONE);
	signs.high = 8;
	assert_int_equal(after(2, true), MEWS_PRESSURE_MEDIUM);
}

static unsigned told;
static enum mews_pressure level;

static void tell(void *context, enum mews_pressure now, uint64_t bytes)
{
	(void)bytes;
	assert_ptr_equal(context, &told);
	level = now;
	told++;
}

static char directory[64], name[96];

static const char *named(const char *file)
{
	snprintf(name, sizeof(name), "%s/%s", directory, file);
	return name;
}

/* The time stands still, and this machine's own use and limits are not there to be seen. */
static int same_time(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec) { .tv_sec = 1000 };
	return 0;
}

static int open_ours(const char *path, int flags)
{
	if (strncmp(path, directory, strlen(directory)) == 0)
		return mews_kernel_real.open(path, flags);
	errno = ENOENT;
	return -1;
}

static int set_up(void **unused)
{
	static struct mews_kernel table;

	(void)unused;
	told = 0;
	table = mews_kernel_real;
	table.clock_gettime = same_time;
	table.open = open_ours;
	mews_kernel = &table;
	return mkdtemp(temporary_name(directory, sizeof(directory), "pressure")) ? 0 : -1;
}

static int tear_down(void **unused)
{
	(void)unused;
	mews_off_pressure(tell, &told);
	mews_pressure_child();
	mews_kernel = &mews_kernel_real;
	unlink(named("watch"));
	return rmdir(directory);
}

static void watch(const char *path)
{
	mews_pressure_child(); /* all is closed */
	mews_pressure_watch(path, "aGVsbG8K");
}

static void test_fifo(void **unused)
{
	uint32_t word = 0;
	int fd;

	(void)unused;
	assert_int_equal(mkfifo(named("watch"), 0600), 0);
	watch(name);
	mews_pressure_look();
	assert_int_equal(mews_on_pressure(tell, &told), 0);
	fd = open(name, O_WRONLY | O_CLOEXEC);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_true(mews_pressure_sleep(&word, 0, NULL)); /* it ends */
	assert_true(mews_pressure_look());
	assert_int_equal(told, 1);
	assert_true(level >= MEWS_PRESSURE_LOW);
	mews_pressure_look(); /* what was written is gone */
	assert_int_equal(told, 1);
	close(fd);
}

/* systemd's other way: a socket that something else listens at, and the text that it asks for. */
static void test_socket(void **unused)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;
	char text[16] = "";

	(void)unused;
	strcpy(address.sun_path, named("watch"));
	assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener, 1), 0);
	watch(name);
	mews_pressure_look();
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, text, sizeof(text)), 6);
	assert_string_equal(text, "hello\n");
	assert_int_equal(mews_on_pressure(tell, &told), 0);
	assert_int_equal(write(fd, "x", 1), 1);
	assert_true(mews_pressure_look());
	assert_int_equal(told, 1);
	close(fd);
	close(listener);
	assert_false(mews_pressure_look()); /* the other end is gone: no endless news */
	assert_false(mews_pressure_look());
}

static void *wake(void *argument)
{
	struct worker *worker = argument;
	uint32_t *word = worker->shared;

	threads_sleep(0.02);
	__atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
	mews_pressure_wake(word);
	return NULL;
}

static void test_sleep(void **unused)
{
	const struct timespec step = { .tv_nsec = 20000000 };
	struct worker waker;
	uint32_t word = 0;

	(void)unused;
	watch("/dev/null");
	mews_pressure_look();
	assert_true(mews_pressure_sleep(&word, 1, NULL)); /* the word is another already */
	assert_true(mews_pressure_sleep(&word, 0, &step));
	threads_start(&waker, 1, 1, &word, wake);
	while (__atomic_load_n(&word, __ATOMIC_SEQ_CST) == 0)
		assert_true(mews_pressure_sleep(&word, 0, NULL));
	threads_join(&waker, 1);
}

/* The listener is gone before it is told what is wanted: an error, and no signal. */
static int listener_gone;

static int connect_and_lose(const char *path)
{
	int fd = mews_kernel_real.connect_unix(path);

	close(listener_gone);
	return fd;
}

static void test_socket_gone(void **unused)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct mews_kernel table = mews_kernel_real;

	(void)unused;
	listener_gone = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	strcpy(address.sun_path, named("watch"));
	assert_int_equal(bind(listener_gone, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listener_gone, 1), 0);
	table.connect_unix = connect_and_lose;
	mews_kernel = &table;
	watch(name);
	assert_false(mews_pressure_look());
	mews_kernel = &mews_kernel_real;
}

/* A cgroup with a limit, and a page cache that fills it. */
static const char *const canned[][2] = {
	{ "/proc/self/cgroup", "0::/\n" },
	{ "/proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n" },
	{ "/sys/fs/cgroup/memory.max", "1000000\n" },
	{ "/sys/fs/cgroup/memory.current", "990000\n" },
	{ "/sys/fs/cgroup/memory.stat", "anon 90000\nfile 900000\ninactive_file 890000\n" },
};

static int open_canned(const char *path, int flags)
{
	(void)flags;
	for (size_t i = 0; i < sizeof(canned) / sizeof(canned[0]); i++)
		if (strcmp(path, canned[i][0]) == 0) {
			int fd = memfd_create("canned", MFD_CLOEXEC);

			assert_true(write(fd, canned[i][1], strlen(canned[i][1])) > 0);
			lseek(fd, 0, SEEK_SET);
			return fd;
		}
	errno = ENOENT;
	return -1;
}

static void test_page_cache(void **unused)
{
	struct mews_kernel table = mews_kernel_real;

	(void)unused;
	table.open = open_canned;
	mews_kernel = &table;
	watch("/dev/null");
	assert_int_equal(mews_on_pressure(tell, &told), 0);
	assert_false(mews_pressure_look());
	assert_int_equal(told, 0);
	mews_kernel = &mews_kernel_real;
}

#define NUMBERS 1024

/* Puts a file of ours at each number that the library has opened since. */
static int take_numbers(const bool *before)
{
	int host = memfd_create("host", MFD_CLOEXEC), taken = 0;

	for (int fd = 0; fd < NUMBERS; fd++)
		if (!before[fd] && fd != host && fcntl(fd, F_GETFD) >= 0) {
			assert_int_equal(dup2(host, fd), fd);
			taken++;
		}
	assert_true(taken >= 2);
	assert_int_equal(lseek(host, taken, SEEK_SET), taken); /* all of them share it */
	return host;
}

/* None was read, written, or closed. Closes them. */
static void check_numbers(const bool *before, int host)
{
	struct stat stat, other;
	int left = 0;

	assert_int_equal(fstat(host, &stat), 0);
	assert_int_equal(stat.st_size, 0);
	for (int fd = 0; fd < NUMBERS; fd++)
		if (!before[fd] && fd != host && fstat(fd, &other) == 0 &&
		    other.st_ino == stat.st_ino) {
			close(fd);
			left++;
		}
	assert_int_equal(lseek(host, 0, SEEK_CUR), left);
	close(host);
}

/* Who became a daemon has closed what it did not know, and the numbers are its own now. */
static void test_numbers_of_others(void **unused)
{
	const struct timespec step = { .tv_nsec = 1000000 };
	bool before[NUMBERS];
	uint32_t word = 0;
	int host;

	(void)unused;
	watch(NULL);
	for (int fd = 0; fd < NUMBERS; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0;
	for (int turn = 0; turn < 3; turn++) {
		mews_pressure_look();
		host = take_numbers(before);
		mews_pressure_wake(&word);
		if (turn == 0)
			mews_pressure_look();
		else if (turn == 1)
			assert_true(mews_pressure_sleep(&word, 0, &step));
		else
			mews_pressure_child();
		check_numbers(before, host);
	}
}

static void test_callbacks(void **unused)
{
	(void)unused;
	assert_int_equal(mews_on_pressure(NULL, NULL), -EINVAL);
	assert_int_equal(mews_off_pressure(tell, &told), -ENOENT);
	for (int i = 0; i < 16; i++)
		assert_int_equal(mews_on_pressure(tell, &told), 0);
	assert_int_equal(mews_on_pressure(tell, &told), -ENOSPC);
	for (int i = 0; i < 16; i++)
		assert_int_equal(mews_off_pressure(tell, &told), 0);
	assert_int_equal(mews_off_pressure(tell, &told), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stalls), cmocka_unit_test(test_events_of_the_cgroup),
		cmocka_unit_test(test_use), TEST(test_fifo), TEST(test_socket), TEST(test_sleep),
		cmocka_unit_test(test_files), TEST(test_socket_gone), TEST(test_page_cache),
		TEST(test_numbers_of_others),
		cmocka_unit_test(test_callbacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
