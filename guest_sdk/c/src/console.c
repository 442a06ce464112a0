/* How does text reach the console? Collected on the stack and written at once: one exit for up to 1024 bytes. */
#include <pvkit/sink.h>
#include <pvkit_calls.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { CONSOLE_BYTES = 1024 };

struct console {
    struct pvkit_sink sink; /* the first member: what drain() is given */
    bool failed;
    char buffer[CONSOLE_BYTES];
};

/* All of `data`, however little the monitor takes at a time. False where it takes nothing any more. */
static bool write_all(const char *data, size_t bytes)
{
    while (bytes) {
        int64_t written = pvkit_console_write(data, bytes);
        if (written <= 0 || (uint64_t)written > bytes)
            return false;
        data += written;
        bytes -= (uint64_t)written;
    }
    return true;
}

static void drain(struct pvkit_sink *sink)
{
    struct console *console = (struct console *)sink;
    if (!write_all(console->buffer, (size_t)(sink->at - console->buffer)))
        console->failed = true;
    sink->at = console->buffer;
}

static void open_console(struct console *console)
{
    console->sink = (struct pvkit_sink){console->buffer, console->buffer + CONSOLE_BYTES, 0, drain};
    console->failed = false;
}

static int close_console(struct console *console)
{
    drain(&console->sink);
    return console->failed ? -1 : (int)console->sink.total;
}

int vprintf(const char *format, va_list arguments)
{
    struct console console;
    open_console(&console);
    pvkit_format(&console.sink, format, arguments);
    return close_console(&console);
}

int printf(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vprintf(format, arguments);
    va_end(arguments);
    return length;
}

int puts(const char *text)
{
    struct console console;
    open_console(&console);
    pvkit_sink_write(&console.sink, text, strlen(text));
    pvkit_sink_put(&console.sink, '\n');
    return close_console(&console);
}

int putchar(int letter)
{
    char byte = (char)letter;
    return write_all(&byte, 1) ? (unsigned char)letter : -1;
}
