/*
 * Everything that is asked of the operating system, in one place: files, maps, time, processors. POSIX.
 */
#ifndef LB_OS_H
#define LB_OS_H

#include "lb_base.h"

/* A read-only view of a whole file. */
typedef struct lb_map {
    const unsigned char *data; /* page aligned, but for a range that begins elsewhere; NULL for an empty file */
    size_t bytes;
} lb_map;

lbrt_status lb_map_open(const char *path, lb_map *out, lbrt_error *err);

/*
 * A range of a file. Opening: the descriptor of a path, to be closed with lb_file_close. Range: checks that fd is a regular file and the range lies
 * in it; bytes 0 becomes what is behind offset. Map: offset may be any number. `name` is for messages.
 */
lbrt_status lb_file_open(const char *path, int *fd, lbrt_error *err);
lbrt_status lb_file_range(int fd, const char *name, uint64_t offset, uint64_t *bytes, lbrt_error *err);
lbrt_status lb_file_map(int fd, const char *name, uint64_t offset, size_t bytes, lb_map *out, lbrt_error *err);
int64_t lb_file_read(int fd, uint64_t offset, void *buffer, size_t bytes); /* as lbrt_read_fn */
void lb_file_close(int fd);

/* Address space that is zero and takes memory only where it is written. */
lbrt_status lb_map_reserve(size_t bytes, lb_map *out, lbrt_error *err);
void lb_map_close(lb_map *map);

/* Tells the system that the range will be read soon, or not again for a while. Hints: never fail. */
void lb_map_will_need(const lb_map *map, size_t offset, size_t bytes);
void lb_map_dont_need(const lb_map *map, size_t offset, size_t bytes);

bool lb_path_is_dir(const char *path);
bool lb_path_exists(const char *path);

/* Joins with a slash; false if it does not fit. */
bool lb_path_join(char *out, size_t cap, const char *dir, const char *name);

/*
 * A file being written without a name or, where the system cannot do that, under a temporary one beside its own; commit gives it its
 * name, abort removes it.
 */
typedef struct lb_outfile {
    int fd;
    bool unnamed; /* nothing of it is left if the process ends */
    char *path, *temp;
    size_t path_bytes;
    lbrt_allocator a;
    uint64_t offset;
} lb_outfile;

lbrt_status lb_outfile_open(lb_outfile *f, const char *path, const lbrt_allocator *a, lbrt_error *err);
lbrt_status lb_outfile_write(lb_outfile *f, const void *data, size_t bytes, lbrt_error *err); /* at f->offset */
lbrt_status lb_outfile_write_at(lb_outfile *f, uint64_t offset, const void *data, size_t bytes, lbrt_error *err);
lbrt_status lb_outfile_commit(lb_outfile *f, lbrt_error *err);
void lb_outfile_abort(lb_outfile *f); /* also after a commit: does nothing then */

/* Asks for large pages where the system has them. A hint: never fails. */
void lb_memory_huge(void *p, size_t bytes);

double lb_now(void);         /* seconds, monotonic */
unsigned lb_cpu_count(void); /* processors that this process may run on, >= 1 */

#endif /* LB_OS_H */
