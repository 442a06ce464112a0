/* How does a value become text? The conversions of printf(3), but for floating point. C11, 7.21.6.1. */
#include <limits.h>
#include <pvkit/sink.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct conversion {
    bool left, zero, alternative;
    char sign; /* '+' or ' ' before what is not negative, or 0 */
    int width, precision; /* precision -1: none given */
    int bits;             /* of an integer argument */
};

void pvkit_sink_put(struct pvkit_sink *sink, char letter)
{
    sink->total++;
    if (sink->at == sink->end && sink->drain)
        sink->drain(sink);
    if (sink->at < sink->end)
        *sink->at++ = letter;
}

/* The same for a run of letters, which is copied as far as there is room. */
void pvkit_sink_write(struct pvkit_sink *sink, const char *text, size_t bytes)
{
    sink->total += bytes;
    while (bytes) {
        if (sink->at == sink->end && sink->drain)
            sink->drain(sink);
        size_t room = (size_t)(sink->end - sink->at), part = bytes < room ? bytes : room;
        if (!part)
            return;
        memcpy(sink->at, text, part);
        sink->at += part;
        text += part;
        bytes -= part;
    }
}

/* `count` of a letter, which may be far more than there is room for. */
static void put_many(struct pvkit_sink *sink, char letter, long count)
{
    char row[64];
    memset(row, letter, sizeof row);
    for (; count > 0 && (sink->at < sink->end || sink->drain); count -= (long)sizeof row)
        pvkit_sink_write(sink, row, count < (long)sizeof row ? (size_t)count : sizeof row);
    sink->total += count > 0 ? (size_t)count : 0;
}

static void put_text(struct pvkit_sink *sink, const struct conversion *c, const char *text, size_t length)
{
    long padding = c->width - (long)length;
    if (!c->left)
        put_many(sink, ' ', padding);
    pvkit_sink_write(sink, text, length);
    if (c->left)
        put_many(sink, ' ', padding);
}

/* Blanks, prefix ("-", "0x"), zeroes, digits, blanks. */
static void put_number(struct pvkit_sink *sink, const struct conversion *c, uint64_t value, unsigned base, bool capital,
                       const char *prefix)
{
    const char *letters = capital ? "0123456789ABCDEF" : "0123456789abcdef";
    char digits[24], *first = digits + sizeof digits;
    for (; value; value /= base)
        *--first = letters[value % base];
    long count = digits + sizeof digits - first, zeroes = (c->precision < 0 ? 1 : c->precision) - count;
    if (base == 8 && c->alternative && zeroes <= 0 && (!count || *first != '0'))
        zeroes = 1; /* `#` makes the first octal digit a zero */
    if (zeroes < 0)
        zeroes = 0;
    long padding = c->width - count - zeroes - (long)strlen(prefix);
    if (c->zero && !c->left && c->precision < 0 && padding > 0) {
        zeroes += padding;
        padding = 0;
    }
    if (!c->left)
        put_many(sink, ' ', padding);
    while (*prefix)
        pvkit_sink_put(sink, *prefix++);
    put_many(sink, '0', zeroes);
    pvkit_sink_write(sink, first, (size_t)count);
    if (c->left)
        put_many(sink, ' ', padding);
}

static void put_signed(struct pvkit_sink *sink, const struct conversion *c, int64_t value)
{
    char prefix[2] = {value < 0 ? '-' : c->sign, 0};
    put_number(sink, c, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, false, prefix);
}

static void put_unsigned(struct pvkit_sink *sink, const struct conversion *c, uint64_t value, char kind)
{
    unsigned base = kind == 'u' ? 10 : kind == 'o' ? 8 : 16;
    const char *prefix = base == 16 && c->alternative && value ? (kind == 'X' ? "0X" : "0x") : "";
    put_number(sink, c, value, base, kind == 'X', prefix);
}

static const char *read_flags(const char *at, struct conversion *c)
{
    for (;; at++)
        switch (*at) {
        case '-': c->left = true; break;
        case '0': c->zero = true; break;
        case '#': c->alternative = true; break;
        case '+': c->sign = '+'; break;
        case ' ': c->sign = c->sign ? c->sign : ' '; break;
        default: return at;
        }
}

/* A number, INT_MAX where it is more, or `*`. */
static const char *read_number(const char *at, va_list *arguments, int *number)
{
    if (*at == '*') {
        *number = va_arg(*arguments, int);
        return at + 1;
    }
    for (*number = 0; *at >= '0' && *at <= '9'; at++) {
        int digit = *at - '0';
        *number = *number > (INT_MAX - digit) / 10 ? INT_MAX : *number * 10 + digit;
    }
    return at;
}

static const char *read_length(const char *at, int *bits)
{
    static const struct { char name[3]; int bits; } lengths[] = {
        {"hh", 8}, {"h", 16}, {"ll", 64}, {"l", 64}, {"j", 64}, {"z", 64}, {"t", 64},
    };
    *bits = 32;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t length = strlen(lengths[i].name);
        if (!strncmp(at, lengths[i].name, length)) {
            *bits = lengths[i].bits;
            return at + length;
        }
    }
    return at;
}

static uint64_t take_unsigned(va_list *arguments, int bits)
{
    uint64_t value = bits == 64 ? va_arg(*arguments, uint64_t) : va_arg(*arguments, unsigned);
    return bits < 32 ? value & ((1ull << bits) - 1) : value;
}

static int64_t take_signed(va_list *arguments, int bits)
{
    int64_t value = bits == 64 ? va_arg(*arguments, int64_t) : va_arg(*arguments, int);
    return bits == 8 ? (int8_t)value : bits == 16 ? (int16_t)value : value;
}

/* One conversion, `at` behind its `%`. Where the next text starts. */
static const char *convert(struct pvkit_sink *sink, const char *percent, va_list *arguments)
{
    struct conversion c = {.precision = -1};
    const char *at = read_number(read_flags(percent + 1, &c), arguments, &c.width);
    if (c.width < 0) { /* a negative `*` */
        c.left = true;
        c.width = c.width == INT_MIN ? INT_MAX : -c.width;
    }
    if (*at == '.')
        at = read_number(at + 1, arguments, &c.precision);
    at = read_length(at, &c.bits);
    switch (*at) {
    case 'd':
    case 'i':
        put_signed(sink, &c, take_signed(arguments, c.bits));
        return at + 1;
    case 'u':
    case 'o':
    case 'x':
    case 'X':
        put_unsigned(sink, &c, take_unsigned(arguments, c.bits), *at);
        return at + 1;
    case 'p':
        put_number(sink, &c, (uintptr_t)va_arg(*arguments, void *), 16, false, "0x");
        return at + 1;
    case 'c': {
        char letter = (char)va_arg(*arguments, int);
        put_text(sink, &c, &letter, 1);
        return at + 1;
    }
    case 's': {
        const char *text = va_arg(*arguments, const char *);
        text = text ? text : "(null)";
        put_text(sink, &c, text, c.precision < 0 ? strlen(text) : strnlen(text, (size_t)c.precision));
        return at + 1;
    }
    case '%':
        pvkit_sink_put(sink, '%');
        return at + 1;
    default: /* none that is known: as it stands */
        while (percent < at)
            pvkit_sink_put(sink, *percent++);
        return at;
    }
}

void pvkit_format(struct pvkit_sink *sink, const char *format, va_list arguments)
{
    va_list left;
    va_copy(left, arguments);
    while (*format) {
        const char *percent = strchr(format, '%');
        size_t plain = percent ? (size_t)(percent - format) : strlen(format);
        pvkit_sink_write(sink, format, plain);
        format += plain;
        if (percent)
            format = convert(sink, format, &left);
    }
    va_end(left);
}

int vsnprintf(char *to, size_t size, const char *format, va_list arguments)
{
    char none;
    size_t most = UINTPTR_MAX - (uintptr_t)to; /* a size that goes past the end of memory says: room enough */
    size = size < most ? size : most;
    struct pvkit_sink sink = {.at = size ? to : &none, .end = size ? to + size - 1 : &none};
    pvkit_format(&sink, format, arguments);
    if (size)
        *sink.at = 0;
    return (int)sink.total;
}

int snprintf(char *to, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(to, size, format, arguments);
    va_end(arguments);
    return length;
}
