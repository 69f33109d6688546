/* pdp.h: the SDK for interceptors in C. It hides the pointers of the ABI and reads JSON in place. No libc is needed.
 *
 *     #include "pdp.h"
 *
 *     static pdp_reply judge(pdp_request request) { … return pdp_pass(); }
 *     PDP_ON_REQUEST(judge)
 *
 * PDP_ON_RESPONSE is the same for results; PDP_ON_CONFIGURE takes a function that reads the binding's configuration.
 * Include the file wherever you need it, and use each of the three once.
 *
 * Each call gets a new instance. So memory is only ever taken, with pdp_take, and never given back; and a static
 * variable lasts as long as the call. What cannot go on (no more memory, JSON that ends too soon) ends the call as a
 * trap, which is a failure of the interceptor and with that a denial, unless the binding says otherwise.
 */
#ifndef PDP_H
#define PDP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PDP_INLINE static inline __attribute__((unused))

/* --- memory and text --------------------------------------------------------------------------------------------- */

/* A piece of text: UTF-8, without a NUL at its end. */
typedef struct {
    const char *at;
    size_t len;
} pdp_text;

/* The text of a string literal. */
#define PDP_TEXT(literal) ((pdp_text){"" literal, sizeof(literal) - 1})

extern char __heap_base;               /* the linker puts it behind everything else */
__attribute__((weak)) char *pdp_free_at; /* weak, so that several files may include this one */

enum { PDP_PAGE = 65536, PDP_LARGEST = 1 << 30 };

/* Gives `len` bytes, aligned to 16, or NULL where there are none. */
PDP_INLINE void *pdp_take_or_null(size_t len)
{
    if (pdp_free_at == NULL)
        pdp_free_at = &__heap_base;
    uintptr_t begin = ((uintptr_t)pdp_free_at + 15) & ~(uintptr_t)15;
    uintptr_t have = __builtin_wasm_memory_size(0) * PDP_PAGE;
    if (len > PDP_LARGEST || begin > PDP_LARGEST)
        return NULL;
    if (begin + len > have && __builtin_wasm_memory_grow(0, (begin + len - have + PDP_PAGE - 1) / PDP_PAGE) == (size_t)-1)
        return NULL;
    pdp_free_at = (char *)(begin + len);
    return (void *)begin;
}

/* Gives `len` bytes, or ends the call. */
PDP_INLINE void *pdp_take(size_t len)
{
    void *at = pdp_take_or_null(len);
    if (at == NULL)
        __builtin_trap();
    return at;
}

PDP_INLINE bool pdp_same(pdp_text a, pdp_text b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (a.at[i] != b.at[i])
            return false;
    return true;
}

PDP_INLINE char pdp_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

/* Are they the same but for the case of ASCII letters? */
PDP_INLINE bool pdp_same_nocase(pdp_text a, pdp_text b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (pdp_lower(a.at[i]) != pdp_lower(b.at[i]))
            return false;
    return true;
}

/* Puts texts together: PDP_JOIN(PDP_TEXT("no `"), name, PDP_TEXT("`")). */
#define PDP_JOIN(...) pdp_join((pdp_text[]){__VA_ARGS__}, sizeof((pdp_text[]){__VA_ARGS__}) / sizeof(pdp_text))

PDP_INLINE pdp_text pdp_join(const pdp_text *parts, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        if (__builtin_add_overflow(len, parts[i].len, &len))
            __builtin_trap();
    char *out = pdp_take(len), *to = out;
    for (size_t i = 0; i < count; i++) {
        __builtin_memcpy(to, parts[i].at, parts[i].len);
        to += parts[i].len;
    }
    return (pdp_text){out, len};
}

/* Cuts a text to at most `most` bytes, between two characters. */
PDP_INLINE pdp_text pdp_clip(pdp_text text, size_t most)
{
    if (text.len <= most)
        return text;
    while (most > 0 && (text.at[most] & 0xc0) == 0x80)
        most--;
    return (pdp_text){text.at, most};
}

/* --- JSON values ------------------------------------------------------------------------------------------------- */

typedef enum { PDP_MISSING, PDP_NULL, PDP_BOOL, PDP_NUMBER, PDP_STRING, PDP_ARRAY, PDP_OBJECT } pdp_kind;

/* A JSON value: a place in the request's text. Nothing is parsed before somebody asks, and numbers stay text. */
typedef struct {
    const char *at;  /* where it begins; NULL: there is no such value */
    const char *end; /* where the document ends, not the value */
} pdp_value;

/* The byte at a place; ends the call where the document is over. The host has checked that the JSON is well-formed, so
 * this costs next to nothing and never happens. */
PDP_INLINE char pdp_byte(const char *at, const char *end)
{
    if (at >= end)
        __builtin_trap();
    return *at;
}

PDP_INLINE const char *pdp_skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

/* Gives the place behind the string that begins at `at`. */
PDP_INLINE const char *pdp_skip_string(const char *at, const char *end)
{
    for (at++; pdp_byte(at, end) != '"'; at++)
        if (*at == '\\')
            at++;
    return at + 1;
}

/* Gives the place behind the value that begins at `at`. There is no recursion, so no nesting ends the stack. */
PDP_INLINE const char *pdp_skip_value(const char *at, const char *end)
{
    size_t depth = 0;
    do {
        switch (pdp_byte(at, end)) {
        case '"':
            at = pdp_skip_string(at, end);
            break;
        case '{':
        case '[':
            depth++;
            at++;
            break;
        case '}':
        case ']':
            depth--;
            at++;
            break;
        default: /* a number, true, false, null; between two values also commas, colons and white space */
            at++;
            while (at < end && *at != ',' && *at != '}' && *at != ']' && *at != '"' && *at != '{' && *at != '[' &&
                   (depth > 0 || (*at != ' ' && *at != '\n' && *at != '\t' && *at != '\r')))
                at++;
        }
    } while (depth > 0);
    return at;
}

PDP_INLINE pdp_kind pdp_kind_of(pdp_value value)
{
    if (value.at == NULL)
        return PDP_MISSING;
    switch (pdp_byte(value.at, value.end)) {
    case '{':
        return PDP_OBJECT;
    case '[':
        return PDP_ARRAY;
    case '"':
        return PDP_STRING;
    case 't':
    case 'f':
        return PDP_BOOL;
    case 'n':
        return PDP_NULL;
    default:
        return PDP_NUMBER;
    }
}

/* The value as it stands in the request. */
PDP_INLINE pdp_text pdp_raw(pdp_value value)
{
    if (value.at == NULL)
        return (pdp_text){"", 0};
    return (pdp_text){value.at, (size_t)(pdp_skip_value(value.at, value.end) - value.at)};
}

PDP_INLINE uint32_t pdp_hex4(const char *at)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = pdp_lower(at[i]);
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

PDP_INLINE char *pdp_put_utf8(char *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (char)c;
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    }
    return to;
}

/* Writes what the escape at `at` means, and gives the place behind it. No escape is shorter than what it means. */
PDP_INLINE const char *pdp_unescape_one(const char *at, char **to)
{
    switch (at[1]) {
    case 'b':
        *(*to)++ = '\b';
        return at + 2;
    case 'f':
        *(*to)++ = '\f';
        return at + 2;
    case 'n':
        *(*to)++ = '\n';
        return at + 2;
    case 'r':
        *(*to)++ = '\r';
        return at + 2;
    case 't':
        *(*to)++ = '\t';
        return at + 2;
    case 'u':
        break;
    default:
        *(*to)++ = at[1];
        return at + 2;
    }
    uint32_t c = pdp_hex4(at + 2);
    at += 6;
    if (c >> 10 == 0xd800 >> 10) { /* the first half of a pair; the host refuses lone halves */
        c = ((c - 0xd800) << 10) + pdp_hex4(at + 2) - 0xdc00 + 0x10000;
        at += 6;
    }
    *to = pdp_put_utf8(*to, c);
    return at;
}

/* Gives the text between two quotes with its escapes resolved. Without any, it copies nothing. */
PDP_INLINE pdp_text pdp_unescape(const char *at, const char *end)
{
    const char *first = at;
    while (first < end && *first != '\\')
        first++;
    if (first == end)
        return (pdp_text){at, (size_t)(end - at)};
    char *out = pdp_take((size_t)(end - at)), *to = out + (first - at);
    __builtin_memcpy(out, at, (size_t)(first - at));
    while (first < end) {
        if (*first == '\\')
            first = pdp_unescape_one(first, &to);
        else
            *to++ = *first++;
    }
    return (pdp_text){out, (size_t)(to - out)};
}

/* Gives the string with its escapes resolved; false where the value is none. */
PDP_INLINE bool pdp_string(pdp_value value, pdp_text *out)
{
    if (pdp_kind_of(value) != PDP_STRING)
        return false;
    *out = pdp_unescape(value.at + 1, pdp_skip_string(value.at, value.end) - 1);
    return true;
}

/* Gives the boolean; false where the value is none. */
PDP_INLINE bool pdp_bool(pdp_value value, bool *out)
{
    if (pdp_kind_of(value) != PDP_BOOL)
        return false;
    *out = *value.at == 't';
    return true;
}

/* Gives the number; false where it is none, or no integer of 64 bits. */
PDP_INLINE bool pdp_int(pdp_value value, int64_t *out)
{
    if (pdp_kind_of(value) != PDP_NUMBER)
        return false;
    pdp_text raw = pdp_raw(value);
    bool negative = raw.at[0] == '-';
    int64_t number = 0;
    for (size_t i = negative; i < raw.len; i++) {
        int digit = raw.at[i] - '0';
        if (digit < 0 || digit > 9 || number < INT64_MIN / 10 ||
            __builtin_sub_overflow(number * 10, digit, &number)) /* below zero there is room for one more */
            return false;
    }
    if (!negative && number == INT64_MIN)
        return false;
    *out = negative ? number : -number;
    return true;
}

/* Goes over the members of an object or the elements of an array:
 *     for (pdp_iterator it = pdp_inside(value); pdp_next(&it);) … it.name … it.value … */
typedef struct {
    pdp_text name; /* of a member, with its escapes resolved; empty for an element */
    pdp_value value;
    const char *at, *end;
    bool is_object;
} pdp_iterator;

PDP_INLINE pdp_iterator pdp_inside(pdp_value value)
{
    pdp_kind kind = pdp_kind_of(value);
    if (kind != PDP_OBJECT && kind != PDP_ARRAY)
        return (pdp_iterator){.at = NULL};
    return (pdp_iterator){.at = value.at + 1, .end = value.end, .is_object = kind == PDP_OBJECT};
}

PDP_INLINE bool pdp_next(pdp_iterator *it)
{
    if (it->at == NULL)
        return false;
    if (it->value.at != NULL)
        it->at = pdp_skip_value(it->value.at, it->end);
    it->at = pdp_skip_space(it->at, it->end);
    char c = pdp_byte(it->at, it->end);
    if (c == '}' || c == ']')
        return false;
    if (c == ',')
        it->at = pdp_skip_space(it->at + 1, it->end);
    if (it->is_object) {
        const char *name = it->at + 1;
        it->at = pdp_skip_string(it->at, it->end);
        it->name = pdp_unescape(name, it->at - 1);
        it->at = pdp_skip_space(pdp_skip_space(it->at, it->end) + 1, it->end); /* past the colon */
    }
    it->value = (pdp_value){it->at, it->end};
    return true;
}

/* Gives the member of that name; a missing value where there is none. */
PDP_INLINE pdp_value pdp_get(pdp_value object, pdp_text name)
{
    if (pdp_kind_of(object) == PDP_OBJECT)
        for (pdp_iterator it = pdp_inside(object); pdp_next(&it);)
            if (pdp_same(it.name, name))
                return it.value;
    return (pdp_value){NULL, NULL};
}

/* Goes over everything inside of a value, at whatever depth, in the order of the text; an object or an array comes
 * before what it holds. One pass, without recursion:
 *     for (pdp_walker walk = pdp_walk(value); pdp_step(&walk);) … walk.name … walk.depth … walk.value … */
typedef struct {
    pdp_text name; /* of a member; empty for an element */
    size_t depth;  /* 1 for the members or elements of the value that is walked */
    pdp_value value;
    const char *at, *end;
    size_t open; /* how many objects and arrays are open at `at` */
} pdp_walker;

PDP_INLINE pdp_walker pdp_walk(pdp_value value)
{
    pdp_kind kind = pdp_kind_of(value);
    if (kind != PDP_OBJECT && kind != PDP_ARRAY)
        return (pdp_walker){.open = 0};
    return (pdp_walker){.at = value.at + 1, .end = value.end, .open = 1};
}

PDP_INLINE bool pdp_step(pdp_walker *walk)
{
    walk->name = (pdp_text){"", 0};
    while (walk->open > 0) {
        walk->at = pdp_skip_space(walk->at, walk->end);
        char c = pdp_byte(walk->at, walk->end);
        if (c == ',') {
            walk->at++;
            continue;
        }
        if (c == '}' || c == ']') {
            walk->open--;
            walk->at++;
            continue;
        }
        walk->value = (pdp_value){walk->at, walk->end};
        walk->depth = walk->open;
        if (c == '{' || c == '[') {
            walk->open++;
            walk->at++;
            return true;
        }
        walk->at = pdp_skip_value(walk->at, walk->end);
        /* A string in front of a colon is a name; nothing else in JSON stands there. */
        const char *next = c == '"' ? pdp_skip_space(walk->at, walk->end) : walk->at;
        if (c != '"' || pdp_byte(next, walk->end) != ':')
            return true;
        walk->name = pdp_unescape(walk->value.at + 1, walk->at - 1);
        walk->at = next + 1;
    }
    return false;
}

/* --- replies ----------------------------------------------------------------------------------------------------- */

/* Where a reply lies and how long it is, as the ABI wants it; 0 is an error, so a hook that forgets to answer fails
 * closed. */
typedef uint64_t pdp_reply;

PDP_INLINE pdp_reply pdp_give(pdp_text text)
{
    return (uint64_t)(uintptr_t)text.at << 32 | text.len;
}

/* Writes a JSON string. */
PDP_INLINE pdp_text pdp_quote(pdp_text text)
{
    if (text.len > PDP_LARGEST / 6)
        __builtin_trap();
    char *out = pdp_take(text.len * 6 + 2), *to = out;
    *to++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c < 0x20) {
            __builtin_memcpy(to, "\\u00", 4);
            to[4] = "0123456789abcdef"[c >> 4];
            to[5] = "0123456789abcdef"[c & 15];
            to += 6;
        } else {
            if (c == '"' || c == '\\')
                *to++ = '\\';
            *to++ = (char)c;
        }
    }
    *to++ = '"';
    return (pdp_text){out, (size_t)(to - out)};
}

/* Lets the payload go on as it is. */
PDP_INLINE pdp_reply pdp_pass(void)
{
    return pdp_give(PDP_TEXT("{\"verdict\":\"pass\"}"));
}

/* Stops the call. The agent may see the message; the reason is for the operator's log. */
PDP_INLINE pdp_reply pdp_deny(pdp_text message, pdp_text reason)
{
    return pdp_give(PDP_JOIN(PDP_TEXT("{\"verdict\":\"deny\",\"message\":"), pdp_quote(pdp_clip(message, 1000)),
                             PDP_TEXT(",\"reason\":"), pdp_quote(pdp_clip(reason, 4000)), PDP_TEXT("}")));
}

/* Lets the call go on with other arguments: the text of a JSON object. */
PDP_INLINE pdp_reply pdp_transform_arguments(pdp_text arguments)
{
    return pdp_give(PDP_JOIN(PDP_TEXT("{\"verdict\":\"transform\",\"arguments\":"), arguments, PDP_TEXT("}")));
}

/* Replaces the result: the text of any JSON value. */
PDP_INLINE pdp_reply pdp_transform_result(pdp_text result)
{
    return pdp_give(PDP_JOIN(PDP_TEXT("{\"verdict\":\"transform\",\"result\":"), result, PDP_TEXT("}")));
}

/* Says that the interceptor could not judge the call, and why. The binding's `on_error` decides what follows. */
PDP_INLINE pdp_reply pdp_fail(pdp_text why)
{
    return pdp_give(PDP_JOIN(PDP_TEXT("{\"error\":"), pdp_quote(pdp_clip(why, 4000)), PDP_TEXT("}")));
}

/* --- what a binding grants --------------------------------------------------------------------------------------- */

/* A module imports only those of these that it uses, and it is refused where the binding does not grant them. */
#define PDP_IMPORT(name) __attribute__((import_module("pdp"), import_name(name)))

PDP_IMPORT("log") void pdp_host_log(int32_t level, const char *at, size_t len);
PDP_IMPORT("now_ms") int64_t pdp_now_ms(void); /* Unix time in milliseconds; needs the grant `now_ms` */
PDP_IMPORT("random") int32_t pdp_random(void *at, size_t len); /* 64 KiB at most; 0 is good; needs the grant `random` */

typedef enum { PDP_DEBUG, PDP_INFO, PDP_WARNING, PDP_FAILURE } pdp_level;

/* Writes to the service's log; 16 KiB at most in one call. Granted by default. */
PDP_INLINE void pdp_log(pdp_level level, pdp_text text)
{
    pdp_host_log(level, text.at, text.len);
}

/* --- hooks ------------------------------------------------------------------------------------------------------- */

/* A tool call, or the result of one. */
typedef struct {
    pdp_text server, tool;
    pdp_value arguments;  /* an object */
    pdp_value result;     /* any value; missing in the phase request */
    bool result_is_error;
    pdp_value all; /* the whole request, for what is not here */
} pdp_request;

PDP_INLINE pdp_request pdp_read_request(const char *at, size_t len, bool with_result)
{
    pdp_value all = {at, at + len};
    pdp_value call = pdp_get(all, PDP_TEXT("tool_call"));
    pdp_request request = {.all = all, .arguments = pdp_get(call, PDP_TEXT("arguments"))};
    pdp_string(pdp_get(call, PDP_TEXT("server")), &request.server);
    pdp_string(pdp_get(call, PDP_TEXT("tool")), &request.tool);
    if (with_result) {
        request.result = pdp_get(all, PDP_TEXT("result"));
        pdp_bool(pdp_get(all, PDP_TEXT("result_is_error")), &request.result_is_error);
    }
    return request;
}

#define PDP_EXPORT(name) __attribute__((export_name(name), used))

/* The hook takes a pdp_request and gives a pdp_reply. */
#define PDP_ON_REQUEST(hook)                                                                                           \
    PDP_EXPORT("pdp_on_request") pdp_reply pdp_export_on_request(const char *at, size_t len)                           \
    {                                                                                                                  \
        return hook(pdp_read_request(at, len, false));                                                                 \
    }

#define PDP_ON_RESPONSE(hook)                                                                                          \
    PDP_EXPORT("pdp_on_response") pdp_reply pdp_export_on_response(const char *at, size_t len)                         \
    {                                                                                                                  \
        return hook(pdp_read_request(at, len, true));                                                                  \
    }

/* The hook takes the configuration, a pdp_value, and gives a pdp_text that says what is wrong with it: an empty one
 * where nothing is. It runs before each call and when the interceptor is loaded. */
#define PDP_ON_CONFIGURE(hook)                                                                                         \
    PDP_EXPORT("pdp_configure") pdp_reply pdp_export_configure(const char *at, size_t len)                             \
    {                                                                                                                  \
        pdp_text wrong = hook((pdp_value){at, at + len});                                                              \
        return wrong.len > 0 ? pdp_fail(wrong) : pdp_give(PDP_TEXT("{\"ok\":true}"));                                  \
    }

PDP_EXPORT("pdp_abi_v1") __attribute__((weak)) void pdp_export_abi(void) {}

PDP_EXPORT("pdp_alloc") __attribute__((weak)) void *pdp_export_alloc(size_t len)
{
    return pdp_take_or_null(len);
}

#endif
