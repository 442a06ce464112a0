/* Where formatted text goes: a buffer, which is drained when it is full or simply ends. */
#ifndef PVKIT_SINK_H
#define PVKIT_SINK_H
#include <stdarg.h>
#include <stddef.h>
struct pvkit_sink {
    char *at, *end;
    size_t total;                             /* letters that came, those without room included */
    void (*drain)(struct pvkit_sink *sink);   /* makes room; NULL where what is over is dropped */
};
void pvkit_sink_put(struct pvkit_sink *sink, char letter);
void pvkit_sink_write(struct pvkit_sink *sink, const char *text, size_t bytes);
void pvkit_format(struct pvkit_sink *sink, const char *format, va_list arguments);
#endif
